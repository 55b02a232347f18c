// Runs in a pod, where the tests send it: calls a URL over several connections, half of them kept and half new for each
// request, until its standard input ends or its stop file appears; then prints what happened as one line of JSON, or writes it
// to a file. It repeats nothing: what a client's own retry would hide is counted. Only Node's own modules.

import { lookup } from 'node:dns'
import { existsSync, renameSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { LookupFunction } from 'node:net'

export interface ClientOptions {
  url: string
  /** Callers at work at the same time. */
  callers: number
  /** Each caller rests so long between two requests. */
  pauseMs: number
  /** Instead: all callers together, as long as answers come in time. */
  perSecond?: number
  /** Ends by itself after so many requests. */
  most?: number
  /** Only kept connections. */
  keptOnly?: boolean
  /** Asks the cluster's DNS once, at the start: a test of the mesh alone. */
  isPinned?: boolean
  /** Sent with each request. */
  headers?: Record<string, string>
  method?: string
  /** Ends the client when it appears, instead of the end of its input. */
  stopFile?: string
  /** Where the result goes, instead of standard output. */
  resultFile?: string
}

/** A request that failed; `start` is when it was sent, `at` when it had failed. */
export interface Failure {
  start: number
  at: number
  what: string
}

/** When a service that names itself in `x-shop-service` answered, in ms since the epoch. */
export interface Seen {
  count: number
  first: number
  last: number
}

export interface ClientResult {
  requests: number
  /** What failed, each with the time; the first hundred. */
  failures: Failure[]
  failed: number
  /** When the last one that failed was sent; 0: none. */
  lastFailed: number
  services: Record<string, Seen>
  pods: Record<string, Seen>
  /** Addresses that the connections had as their local end. */
  addresses: string[]
  p50Ms: number
  p99Ms: number
  maxMs: number
}

const options = JSON.parse(process.argv.at(-1) ?? '') as ClientOptions
const result: ClientResult = {
  requests: 0,
  failures: [],
  failed: 0,
  lastFailed: 0,
  services: {},
  pods: {},
  addresses: [],
  p50Ms: 0,
  p99Ms: 0,
  maxMs: 0,
}
const durations: number[] = []
const addresses = new Set<string>()
let isStopping = false

if (options.stopFile === undefined) {
  process.stdin.on('end', () => {
    isStopping = true
  })
  process.stdin.resume()
} else {
  const { stopFile } = options
  setInterval(() => {
    if (existsSync(stopFile)) isStopping = true
  }, 100).unref()
}

/** Addresses of the names that were asked for, when they are asked for once. */
const found = new Map<string, { address: string; family: number }>()
const lookupOnce: LookupFunction = (name, settings, done) => {
  const known = found.get(name)
  const give = (at: { address: string; family: number }) => {
    if (settings.all) done(null, [at])
    else done(null, at.address, at.family)
  }
  if (known !== undefined) return give(known)
  lookup(name, { family: 4 }, (error, address, family) => {
    if (error) return done(error, '')
    found.set(name, { address, family })
    give({ address, family })
  })
}

function note(table: Record<string, Seen>, name: string): void {
  const now = Date.now()
  table[name] ??= { count: 0, first: now, last: now }
  table[name].count++
  table[name].last = now
}

function once(agent: http.Agent | false): Promise<void> {
  return new Promise((resolve) => {
    const start = performance.now()
    const startAt = Date.now()
    let isOver = false
    const over = (failure: string | null) => {
      if (isOver) return
      isOver = true
      result.requests++
      durations.push(performance.now() - start)
      if (failure !== null) {
        result.failed++
        result.lastFailed = Math.max(result.lastFailed, startAt)
        if (result.failures.length < 100) result.failures.push({ start: startAt, at: Date.now(), what: failure })
      }
      resolve()
    }
    const { headers: sent = {}, method = 'GET', isPinned = false } = options
    const settings = { agent, timeout: 20_000, headers: sent, method, ...(isPinned ? { lookup: lookupOnce } : {}) }
    const request = http.request(options.url, settings, (response) => {
      const { statusCode = 0, headers } = response
      response.resume()
      response.on('error', (error) => over(`response: ${error.message}`))
      response.on('close', () => over(response.complete ? null : 'response: cut off'))
      response.on('end', () => {
        if (statusCode !== 200) return over(`${statusCode} ${headers['x-weft-error'] ?? ''}`)
        note(result.services, String(headers['x-shop-service']))
        note(result.pods, String(headers['x-shop-pod']))
        if (result.requests === 0) process.stderr.write('began\n')
        over(null)
      })
    })
    request.on('socket', (socket) => {
      const keep = () => addresses.add(socket.localAddress ?? '')
      if (socket.connecting) socket.once('connect', keep)
      else keep()
    })
    request.on('timeout', () => request.destroy(new Error('no answer within 20 s')))
    request.on('error', (error: NodeJS.ErrnoException) => {
      over(`${request.reusedSocket ? 'kept' : 'new'} connection: ${error.code ?? error.message}`)
    })
    request.end()
  })
}

async function call(isKept: boolean): Promise<void> {
  const agent = isKept ? new http.Agent({ keepAlive: true, maxSockets: 1 }) : false
  const { most = Number.POSITIVE_INFINITY, pauseMs, perSecond = 0, callers } = options
  let next = performance.now() + Math.random() * pauseMs
  while (!isStopping && result.requests < most) {
    await once(agent)
    next = perSecond > 0 ? next + (1000 * callers) / perSecond : performance.now() + pauseMs
    const rest = next - performance.now()
    if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest))
  }
  if (agent) agent.destroy()
}

await Promise.all(Array.from({ length: options.callers }, (_, at) => call(options.keptOnly === true || at % 2 === 0)))
durations.sort((a, b) => a - b)
const quantile = (share: number) => Math.round((durations[Math.floor(durations.length * share)] ?? 0) * 10) / 10
result.addresses = [...addresses]
result.p50Ms = quantile(0.5)
result.p99Ms = quantile(0.99)
result.maxMs = quantile(0.9999)
if (options.resultFile === undefined) process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0))
else {
  // Whoever waits for it finds it whole.
  writeFileSync(`${options.resultFile}.new`, JSON.stringify(result))
  renameSync(`${options.resultFile}.new`, options.resultFile)
  process.exit(0)
}
