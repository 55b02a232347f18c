// Simulated agents: the agents' end of the link over real connections and real TLS, without what an agent does with it.
// Of transactions above 256 KiB, as full ones are, only every tenth agent reads all; the others look for the end.

import type { ClientRequest, IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request } from 'node:https'
import { gunzipSync } from 'node:zlib'
import { gatherMs, reconnectDelay } from '../../agent/mesh/link.ts'
import { tokenOf } from './discovery.ts'
import { agentPod } from './world.ts'

/** Where the controller is, and whom to trust. */
export interface LinkPlace {
  port: number
  ca: string
}

/** A transaction as an agent got it. */
export interface Received {
  agent: number
  version: string
  isFull: boolean
  /** Its lines; empty for a large one that was not read. */
  text: string
  /** On the wire, compressed. */
  bytes: number
  /** Milliseconds since the epoch when it was complete. */
  at: number
}

export interface Fleet {
  /** Connects all of them, each for ever: with an agent's back-off after a break. */
  start(): void
  /** Calls back for each transaction. Returns the way to stop it. */
  onReceived(listener: (received: Received) => void): () => void
  /** Version that each has; '' before the first. */
  versions(): string[]
  /** Connections attempted so far, by all. */
  readonly attempts: number
  stop(): void
}

/** Of so many agents one reads large transactions, too: the machine has not as many cores as a cluster. */
const thoroughEvery = 10
const largeBytes = 256 << 10

/** A member that is stored rather than compressed, as the controller's ends of transactions are, shows its text. */
const commitMark = Buffer.from('{"type":"commit","version":"')
const pingMark = Buffer.from('{"type":"ping"}\n')
/** CRC and length behind the text. */
const trailerBytes = 8

const now = () => performance.timeOrigin + performance.now()

/** Prepares agents of the nodes from 1 on. */
export function makeFleet(count: number, place: LinkPlace): Fleet {
  const listeners = new Set<(received: Received) => void>()
  const tell = (received: Received) => {
    for (const listener of listeners) listener(received)
  }
  const agents = Array.from({ length: count }, (_, index) => new SimulatedAgent(index + 1, place, tell))
  return {
    start() {
      for (const agent of agents) void agent.run()
    },
    onReceived(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    versions: () => agents.map(({ version }) => version),
    get attempts() {
      return agents.reduce((sum, { attempts }) => sum + attempts, 0)
    },
    stop() {
      for (const agent of agents) agent.stop()
    },
  }
}

class SimulatedAgent {
  version = ''
  attempts = 0
  private readonly node: number
  private readonly place: LinkPlace
  private readonly tell: (received: Received) => void
  /** Reports go over a connection that is kept, as an agent's do. */
  private readonly reports = new HttpsAgent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0 })
  private chunks: Buffer[] = []
  private bytes = 0
  private isFirst = true
  private isStopped = false
  private isReporting = false
  private gathering: NodeJS.Timeout | undefined
  private open: ClientRequest | null = null

  constructor(node: number, place: LinkPlace, tell: (received: Received) => void) {
    this.node = node
    this.place = place
    this.tell = tell
  }

  async run(): Promise<void> {
    for (let failures = 0; !this.isStopped; failures++) {
      await this.session().catch(() => {})
      if (this.version !== '') failures = 0
      this.version = ''
      await new Promise((resolve) => setTimeout(resolve, reconnectDelay(failures, Math.random)))
    }
  }

  stop(): void {
    this.isStopped = true
    clearTimeout(this.gathering)
    this.open?.destroy()
    this.reports.destroy()
  }

  private options(path: string, method: string, agent: HttpsAgent | false) {
    const { port, ca } = this.place
    const authorization = `Bearer ${tokenOf(agentPod(this.node))}`
    const headers = { authorization, 'accept-encoding': 'gzip', accept: 'application/x-ndjson' }
    // Whose certificate it is, the agent's own tests look at.
    const checkServerIdentity = () => undefined
    return {
      host: '127.0.0.1',
      port,
      ca,
      path,
      method,
      agent,
      headers,
      checkServerIdentity,
      minVersion: 'TLSv1.3' as const,
    }
  }

  /** One connection, from its request to its end. */
  private session(): Promise<void> {
    this.attempts++
    this.chunks = []
    this.bytes = 0
    this.isFirst = true
    const path = `/v1/snapshot?node=node-${this.node}&pod=${agentPod(this.node)}&oldest=1&newest=1`
    return new Promise((resolve, reject) => {
      this.open = request(this.options(path, 'GET', false))
      this.open.on('error', reject)
      this.open.on('response', (response: IncomingMessage) => {
        response.on('error', reject)
        response.on('close', resolve)
        if (response.statusCode === 200) response.on('data', (chunk: Buffer) => this.take(chunk))
        else response.resume()
      })
      this.open.end()
    })
  }

  private take(chunk: Buffer): void {
    this.chunks.push(chunk)
    this.bytes += chunk.length
    // The end of a transaction is small and comes in one write; a chunk may hold only its rest.
    const tail = chunk.length >= 256 || this.chunks.length === 1 ? chunk : Buffer.concat(this.chunks.slice(-2))
    const commit = tail.lastIndexOf(commitMark)
    const isEnd = commit >= 0 && tail.indexOf(10, commit) === tail.length - trailerBytes - 1
    if (isEnd) this.finish(tail.subarray(commit, -trailerBytes).toString())
    else if (this.bytes < 64 && tail.includes(pingMark)) this.forget()
  }

  private forget(): void {
    this.chunks = []
    this.bytes = 0
  }

  private finish(commit: string): void {
    const { chunks, bytes, isFirst } = this
    this.forget()
    this.isFirst = false
    const { version, count } = JSON.parse(commit) as { version: string; count: number }
    const isRead = bytes < largeBytes || this.node % thoroughEvery === 1
    const text = isRead ? gunzipSync(Buffer.concat(chunks)).toString('latin1') : ''
    if (isRead) check(text, count, isFirst, this.node)
    this.version = version
    this.tell({ agent: this.node, version, isFull: isFirst, text, bytes, at: now() })
    if (isFirst) this.report()
    else this.gathering ??= setTimeout(() => this.report(), gatherMs * (1 + 2 * Math.random()))
  }

  /** As an agent's link does: the newest only, one at a time. */
  private report(): void {
    clearTimeout(this.gathering)
    this.gathering = undefined
    if (this.isReporting) return
    this.isReporting = true
    const body = JSON.stringify({
      node: `node-${this.node}`,
      pod: agentPod(this.node),
      version: this.version,
      error: null,
    })
    const sent = request(this.options('/v1/report', 'POST', this.reports), (response) => {
      response.resume()
      response.on('end', () => {
        this.isReporting = false
      })
    })
    sent.on('error', () => {
      this.isReporting = false
    })
    sent.end(body)
  }
}

/** @throws Error if lines are missing: figures of a stream with gaps are worth nothing */
function check(text: string, count: number, isFirst: boolean, node: number): void {
  let lines = 0
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines++
  // Beside the changes: begin and commit, and hello before the first; pings in between are not counted.
  const pings = text.split(pingMark.toString('latin1')).length - 1
  const wanted = count + 2 + (isFirst ? 1 : 0)
  if (lines - pings !== wanted) throw new Error(`agent ${node}: ${lines - pings} lines instead of ${wanted}`)
}
