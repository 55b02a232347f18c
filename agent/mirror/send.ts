// Sends copies of requests, by undici over wires of our own, so that they go through the tunnel where their endpoint is
// on another node. Loaded with the first copy.

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Dispatcher, Pool } from 'undici'
import type { Key } from '../../controller/contract/resources.ts'
import { Chunked } from '../http1/chunked.ts'
import type { Wire } from '../http1/wire.ts'
import type { Endpoint } from '../mesh/endpoint.ts'
import type { Port } from '../mesh/snapshot.ts'
import { WireDuplex } from '../upgrade/duplex.ts'

/** A request's copy. */
export interface Copy {
  /** The port whose request it was. */
  readonly port: Port
  /** The Service that gets it. */
  readonly target: Key
  readonly endpoint: Endpoint
  /** In whose name it is sent. */
  readonly source: string
  /** Without the empty line. */
  readonly head: string
  /** The body's pieces are with their framing. */
  readonly isChunked: boolean
  readonly pieces: Buffer[]
  bytes: number
}

/** Opens a wire to an endpoint in the name of a source; gives up by what it returns. */
export type Dial = (
  endpoint: Endpoint,
  source: string,
  done: (error: Error | null, wire: Wire | null) => void,
) => () => void

export interface Sender {
  /** @param done called once: whether an answer has come */
  send(copy: Copy, done: (isAnswered: boolean) => void): void
  close(): void
}

/** Connections to one endpoint, and how long they are kept. */
const connectionsEach = 32
const keepMs = 4_000
/** Pools at a time: the one that was used longest ago gives way. */
const poolsMost = 256
/** A longer answer is not read to its end. */
const answerMostBytes = 1024 * 1024
const bodyMs = 5_000

/** What undici sets itself, or refuses. */
const skipped: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'keep-alive',
  'expect',
])

/**
 * The Host of a copy, by which its receiver can tell it from a request that counts: as Envoy's, with -shadow behind the
 * name.
 * @param authority `host` or `host:port`
 */
export function shadowHost(authority: string): string {
  // An IPv6 address has no name to add to, and must stay a Host that servers take.
  if (authority.startsWith('[')) return authority
  const [, host = '', port = ''] = /^([^:]*)(:\d+)?$/.exec(authority) ?? []
  return `${host}-shadow${port}`
}

/** Makes a sender; one for each data thread. */
export function makeSender(dial: Dial, headMs: number): Sender {
  const pools = new Map<string, Pool>()

  function poolOf({ endpoint, source }: Copy): Pool {
    // An address may come to be another pod's.
    const key = `${source} ${endpoint.key} ${endpoint.spec.podUid}`
    const pool = pools.get(key) ?? makePool(dial, endpoint, source, headMs)
    // The order is that of the last use.
    pools.delete(key)
    pools.set(key, pool)
    if (pools.size > poolsMost) {
      const [oldest, least] = pools.entries().next().value!
      pools.delete(oldest)
      void least.close()
    }
    return pool
  }

  return {
    send(copy, done) {
      try {
        poolOf(copy).dispatch(requestOf(copy), answerOf(done))
      } catch {
        // undici speaks less than a caller may ask for, e.g. OPTIONS *.
        done(false)
      }
    },
    close() {
      for (const pool of pools.values()) void pool.destroy()
      pools.clear()
    },
  }
}

function makePool(dial: Dial, endpoint: Endpoint, source: string, headMs: number): Pool {
  return new Pool(`http://${endpoint.key}`, {
    connections: connectionsEach,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: keepMs,
    keepAliveMaxTimeout: keepMs,
    headersTimeout: headMs,
    bodyTimeout: bodyMs,
    connect: (_options, done) => {
      dial(endpoint, source, (error, wire) => {
        // Typed as a TCP socket; undici asks no more of it than a Duplex has.
        if (error === null) done(null, new WireDuplex(wire!, () => {}).open() as Duplex as Socket)
        else done(error, null)
      })
    },
  } as Pool.Options)
}

function requestOf(copy: Copy): Dispatcher.DispatchOptions {
  const [first = '', ...lines] = copy.head.split('\r\n')
  const [method = '', path = ''] = first.split(' ')
  const headers: string[] = []
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(0, colon))
    const value = line.slice(colon + 1).trim()
    if (name.toLowerCase() === 'host') headers.push('host', shadowHost(value))
    else if (colon > 0 && !skipped.has(name.toLowerCase())) headers.push(name, value)
  }
  return { method, path, headers, body: bodyOf(copy) } as Dispatcher.DispatchOptions
}

function bodyOf({ pieces, isChunked }: Copy): Buffer | null {
  if (!isChunked) return pieces.length === 0 ? null : Buffer.concat(pieces)
  const chunked = new Chunked()
  chunked.start(true)
  const content: Buffer[] = []
  const sink = {
    onBody: (chunk: Buffer, start: number, end: number) => void content.push(chunk.subarray(start, end)),
    onBodyText: () => {},
  }
  for (const piece of pieces) chunked.feed(piece, 0, piece.length, sink)
  return Buffer.concat(content)
}

/** Drops the answer. */
function answerOf(done: (isAnswered: boolean) => void): Dispatcher.DispatchHandler {
  let bytes = 0
  let isAnswered = false
  return {
    onRequestStart: () => {},
    onResponseStart: (_controller, status) => {
      if (status >= 200) isAnswered = true
    },
    onResponseData: (controller, chunk) => {
      bytes += chunk.length
      if (bytes > answerMostBytes) controller.abort(new Error('the answer is longer than anybody needs'))
    },
    onResponseEnd: () => done(true),
    onResponseError: () => done(isAnswered),
  }
}
