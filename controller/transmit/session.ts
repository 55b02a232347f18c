// One agent's stream of snapshots. At most one transaction is under way; when it has left, the next one leads from there
// to whatever is newest by then. So a slow agent skips states, one that has missed too many gets a fresh full snapshot, and no
// queue grows.

import type { ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import type { Begin, Commit, Hello } from '../contract/messages.ts'
import { gzipMember } from './member.ts'
import { joinVersions, type Position, type Track } from './track.ts'
import { openUnacked } from './unacked.ts'

/** Who is at the other end, as authenticated. */
export interface Agent {
  node: string
  /** Name of its pod. */
  pod: string
  podUid: string
}

/** What an agent is to have. */
export interface Target {
  common: Track
  node: Track
}

export interface SessionOptions {
  agent: Agent
  contract: number
  /** Name of this replica. */
  controller: string
  /** `address:port` at which the agent has reached this replica; empty if that is not known. */
  address: string
  response: ServerResponse
  isGzip: boolean
  clock: Clock
  log: Logger
  /** The newest state. */
  target(): Target
}

export interface Session {
  readonly agent: Agent
  readonly contract: number
  /** Milliseconds since the epoch. */
  readonly since: number
  /** Version of the last transaction sent; empty before the first. */
  readonly version: string
  readonly transactions: number
  /** Of these, those that were full snapshots. */
  readonly fulls: number
  readonly bytes: number
  /** For how long it has not had the newest state in force; 0: it has. */
  readonly lagMs: number
  /** The newest state has changed. */
  wake(): void
  /** The agent says which version it has in force. */
  acknowledge(version: string): void
  /** Ends the stream after the transaction under way. */
  end(): void
  /** Resolves when the stream has ended, by whoever. */
  readonly ended: Promise<void>
}

const pingMs = 10_000
/** An agent that takes nothing for so long is gone, or would better start anew. */
const stallMs = 30_000
/** Up to here one write is cheaper than three. */
const joinedBytes = 64 << 10
/** Nobody reads it; without one, each call makes an error with a stack, for every agent at every change. */
const woken = 'woken'
const ping = Buffer.from('{"type":"ping"}\n')

/** Starts a session on a response whose head was not sent yet. */
export function startSession(options: SessionOptions): Session {
  const { agent, contract, response, isGzip, clock, log } = options
  const closing = new AbortController()
  const since = clock.wall()
  const unacked = openUnacked(clock)
  let sent: { common: Position; node: Position } | null = null
  let version = ''
  let transactions = 0
  let fulls = 0
  let bytes = 0
  let isEnding = false
  let waking = new AbortController()

  const onClose = () => {
    closing.abort(woken)
    waking.abort(woken)
  }
  response.on('close', onClose)
  response.on('error', onClose)
  response.writeHead(200, {
    'content-type': 'application/x-ndjson',
    'cache-control': 'no-store',
    // The next session may be another replica's: it takes a new connection to get there.
    connection: 'close',
    ...(isGzip ? { 'content-encoding': 'gzip' } : {}),
  })

  /** Writes bytes of complete lines, already in the form for the wire, and waits until the socket takes more. */
  async function write(...parts: Buffer[]): Promise<void> {
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    if (length === 0 || closing.signal.aborted) return
    bytes += length
    if (hasTaken(parts, length)) return
    const drained = new AbortController()
    const onDrain = () => drained.abort(woken)
    response.once('drain', onDrain)
    await clock.sleep(stallMs, AbortSignal.any([drained.signal, closing.signal]))
    response.off('drain', onDrain)
    if (drained.signal.aborted || closing.signal.aborted) return
    log.warn({ stallMs }, 'agent takes nothing, closing its session')
    response.destroy()
    onClose()
  }

  /** @returns whether the socket takes more */
  function hasTaken(parts: Buffer[], length: number): boolean {
    if (length <= joinedBytes) return response.write(Buffer.concat(parts))
    // What all agents get is not copied for each of them.
    const taken = parts.map((part) => part.length === 0 || response.write(part))
    return taken.every(Boolean)
  }

  function pack(lines: Buffer): Buffer {
    return isGzip ? gzipMember(lines) : lines
  }

  async function send(target: Target): Promise<void> {
    let common = target.common.since(sent?.common ?? null, contract)
    let node = target.node.since(sent?.node ?? null, contract)
    if (common.isFull !== node.isFull) {
      common = target.common.since(null, contract)
      node = target.node.since(null, contract)
    }
    const next = joinVersions(target.common, target.node)
    const begin: Begin = { type: 'begin', version: next, full: common.isFull }
    const commit: Commit = { type: 'commit', version: next, count: common.count + node.count }
    unacked.sent(next)
    sent = { common: common.to, node: node.to }
    version = next
    const first = Buffer.concat([encode(begin), node.plain])
    await write(pack(first), isGzip ? await common.gzip : common.plain, pack(encode(commit)))
    transactions++
    if (common.isFull) fulls++
  }

  /** Whether an agent has been sent the newest state. */
  function isCurrent({ common, node }: Target): boolean {
    return sent !== null && isAt(sent.common, common) && isAt(sent.node, node)
  }

  async function run(): Promise<void> {
    const { controller, address } = options
    const hello: Hello = { type: 'hello', contract, controller }
    if (contract >= 2 && address !== '') hello.address = address
    await write(pack(encode(hello)))
    while (!closing.signal.aborted && !isEnding) {
      waking = new AbortController()
      const target = options.target()
      if (!isCurrent(target)) {
        await send(target)
        continue
      }
      await clock.sleep(pingMs, waking.signal)
      if (!waking.signal.aborted) await write(pack(ping))
    }
    if (!closing.signal.aborted) response.end()
  }

  const ended = run()
    .catch((thrown) => {
      log.error({ error: thrown }, 'session failed')
      response.destroy()
    })
    .then(() => {})

  return {
    agent,
    contract,
    since,
    ended,
    get version() {
      return version
    },
    get transactions() {
      return transactions
    },
    get fulls() {
      return fulls
    },
    get bytes() {
      return bytes
    },
    get lagMs() {
      return unacked.lagMs()
    },
    wake() {
      if (!isCurrent(options.target())) unacked.published()
      waking.abort(woken)
    },
    acknowledge: (acknowledged) => unacked.acknowledged(acknowledged),
    end() {
      isEnding = true
      waking.abort(woken)
    },
  }
}

function isAt(position: Position, track: Track): boolean {
  return position.track === track && position.serial === track.serial
}

function encode(message: Hello | Begin | Commit): Buffer {
  return Buffer.from(`${JSON.stringify(message)}\n`)
}
