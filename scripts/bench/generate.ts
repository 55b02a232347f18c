// A load generator of our own, for what wrk can't do (a fixed rate, idle connections) and where wrk is missing. Run by
// load.ts as a process with its plan as JSON argument; prints its findings as JSON.

import { connect, type Socket } from 'node:net'
import type { Findings, Plan } from './load.ts'

const plan = JSON.parse(process.argv[2]!) as Plan
const requests = plan.hosts.map((host) => request(plan, host))
const shared = Buffer.allocUnsafe(65_536)
let turn = 0
/** Length of the last response that came in one piece. */
let usual = 0
const latencies: number[] = []
let errors = 0

function request({ method, path, bodyBytes }: Plan, host: string): Buffer {
  const length = bodyBytes > 0 ? `Content-Length: ${bodyBytes}\r\n` : ''
  return Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${length}\r\n${'x'.repeat(bodyBytes)}`, 'latin1')
}

/** One keep-alive connection with at most one request on it; calls `done` whenever a response is complete. */
class Connection {
  readonly socket: Socket
  private startedAt = 0
  private head = ''
  /** Body bytes still to come; -1: the head has not ended. */
  private left = -1
  private readonly done: (connection: Connection) => void

  constructor(done: (connection: Connection) => void) {
    this.done = done
    const onread = {
      buffer: shared,
      callback: (size: number) => {
        this.read(shared.subarray(0, size))
        return true
      },
    }
    this.socket = connect({ port: plan.port, host: plan.address, noDelay: true, onread })
    this.socket.on('error', () => this.fail())
    this.socket.on('close', () => this.fail())
  }

  /** @param startedAt when the request was meant to be sent: waiting for a free connection counts */
  send(startedAt: number): void {
    this.startedAt = startedAt
    this.socket.write(requests[turn++ % requests.length]!)
  }

  private read(chunk: Buffer): void {
    // Most responses come whole and are as long as the last one was: nothing to parse then.
    if (this.left === -1 && this.head === '' && chunk.length === usual && chunk[9] === 0x32) {
      this.finish()
      return
    }
    const whole = this.left === -1 && this.head === '' ? chunk.length : 0
    let length = chunk.length
    if (this.left === -1) {
      this.head += chunk.toString('latin1')
      const end = this.head.indexOf('\r\n\r\n')
      if (end === -1) return
      if (!this.head.startsWith('HTTP/1.1 2')) errors++
      const announced = /\r\ncontent-length: *(\d+)/i.exec(this.head)
      this.left = announced === null ? Number.POSITIVE_INFINITY : Number(announced[1])
      length = this.head.length - end - 4
      if (announced === null && this.head.endsWith('\r\n0\r\n\r\n')) this.left = length
      this.head = ''
    } else if (this.left === Number.POSITIVE_INFINITY && chunk.subarray(-5).equals(lastChunk)) {
      this.left = length
    }
    this.left -= length
    if (this.left > 0) return
    if (whole > 0) usual = whole
    this.finish()
  }

  private finish(): void {
    this.left = -1
    latencies.push(performance.now() - this.startedAt)
    this.done(this)
  }

  private fail(): void {
    if (!ended) errors++
    this.socket.destroy()
  }
}

const never = new Int32Array(new SharedArrayBuffer(4))
const lastChunk = Buffer.from('0\r\n\r\n')
let ended = false

function connections(count: number, done: (connection: Connection) => void): Promise<Connection[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const connection = new Connection(done)
      await new Promise((resolve) => connection.socket.once('connect', resolve).once('close', resolve))
      return connection
    }),
  )
}

/** Each connection sends its next request when it has the response to the last one. */
async function closedLoop(): Promise<Findings> {
  const all = await connections(plan.connections, (connection) => connection.send(performance.now()))
  const startedAt = performance.now()
  for (const connection of all) connection.send(performance.now())
  await new Promise((resolve) => setTimeout(resolve, plan.seconds * 1000))
  return finish(all, startedAt)
}

/**
 * Requests arrive at random (Poisson) at a fixed mean rate, whatever becomes of the earlier ones; latency counts from the
 * time a request was meant to be sent, so that a proxy that stalls can't hide the requests that it kept from being sent.
 */
async function openLoop(): Promise<Findings> {
  const idle: Connection[] = []
  const backlog: number[] = []
  let first = 0
  const all = await connections(plan.connections, (connection) => {
    if (first < backlog.length) connection.send(backlog[first++]!)
    else idle.push(connection)
  })
  idle.push(...all)
  const startedAt = performance.now()
  const endsAt = startedAt + plan.seconds * 1000
  let next = startedAt
  await new Promise<void>((resolve) => {
    const arrive = () => {
      const now = performance.now()
      for (; next <= now; next += (-Math.log(1 - Math.random()) / plan.rate) * 1000) {
        const connection = idle.pop()
        if (connection === undefined) backlog.push(next)
        else connection.send(next)
      }
      if (now >= endsAt) return resolve()
      // The shortest sleep there is (some 60 µs): the origin shares this core and must find it free.
      Atomics.wait(never, 0, 0, 0.001)
      setImmediate(arrive)
    }
    arrive()
  })
  return finish(all, startedAt)
}

/** Opens connections, sends one request on each, then keeps them open until it is ended. */
async function holdIdle(): Promise<void> {
  for (let opened = 0; opened < plan.connections; ) {
    const batch = Math.min(16, plan.connections - opened)
    let answered = 0
    await new Promise<void>((resolve) => {
      const done = () => {
        if (++answered === batch) resolve()
      }
      void connections(batch, done).then((all) => {
        for (const connection of all) connection.send(performance.now())
      })
    })
    opened += batch
  }
  process.stdout.write(`${JSON.stringify({ requests: latencies.length, seconds: 0, p50Ms: 0, p99Ms: 0, errors })}\n`)
  setInterval(() => {
    if (errors > 0) process.exit(1)
  }, 100)
}

function finish(all: readonly Connection[], startedAt: number): Findings {
  const seconds = (performance.now() - startedAt) / 1000
  ended = true
  for (const connection of all) connection.socket.destroy()
  const sorted = Float64Array.from(latencies).sort()
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? 0
  return { requests: sorted.length, seconds, p50Ms: at(0.5), p99Ms: at(0.99), errors }
}

process.once('SIGTERM', () => process.exit(0))
if (plan.mode === 'idle') await holdIdle()
else process.stdout.write(`${JSON.stringify(await (plan.mode === 'open' ? openLoop() : closedLoop()))}\n`)
