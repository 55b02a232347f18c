// How the steps of a path are put together: what a relay needs of the others, so that worker.ts can assemble each path
// in its order, and tests can replace a step.

import type { Clock } from './clock.ts'
import type { MeshError } from './errors.ts'
import type { Caller, Direction, Exchange } from './exchange.ts'
import type { Deadlines } from './http1/deadline.ts'
import type { HeadLimits } from './http1/head.ts'
import type { ResponseHead } from './http1/status.ts'
import type { Upstream } from './http1/upstream.ts'
import type { Wire } from './http1/wire.ts'
import type { Endpoint } from './mesh/endpoint.ts'
import type { Snapshot } from './mesh/snapshot.ts'

/** How an attempt failed: by the mesh's error, or with a status of 400 and above that the endpoint answered with. */
export interface AttemptFailure {
  readonly error: MeshError | null
  readonly status: number
  /** A byte of the request may have reached the endpoint. */
  readonly isSent: boolean
}

/** A response that the mesh gives by a service's policy, not by a failure: a redirect. */
export interface Answer {
  readonly status: number
  readonly phrase: string
  /** Header lines, each with its CRLF. */
  readonly lines: string
}

/** What a path decides before the first attempt: null means go on. */
export type Verdict = MeshError | Answer | null

/** A caller's connection, as accept goes on keeping track of it. */
export interface Connection {
  /** The exchange in flight, if there is one. */
  readonly current: Exchange | null
  /** Closes it if nothing is in flight. */
  closeIdle(): void
  /** Breaks off whatever is in flight. */
  abort(): void
  /** The configuration has changed: what is not permitted any more must end. */
  recheck(): void
}

/** What both paths give to what they share: clocks, limits, the end of an exchange. */
export interface PathBase {
  readonly direction: Direction
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly limits: HeadLimits & { readonly bodyBufferBytes: number }
  readonly timeouts: { requestHeadMs: number; firstByteMs: number; idleMs: number; keepAliveMs: number }
  snapshot(): Snapshot
  isDraining(): boolean
  /** Whether a connection's attribution has gone out of date: it must be closed. */
  isStale(caller: Caller): boolean
  /**
   * All that is decided before the first attempt: sets the exchange's port and backend, admits it, delays it.
   * @param meshPort the mesh port of the connection
   * @param done called once, now or later
   * @returns cancels the wait; harmless after `done`
   */
  route(exchange: Exchange, meshPort: number, done: (verdict: Verdict) => void): () => void
  /** Whether the exchange is permitted now, by the snapshot in force; null where another agent decides that. */
  permitted(exchange: Exchange): MeshError | null
  /** Sets the endpoint of the next attempt, if possible another than those that were tried. */
  endpoint(exchange: Exchange, tried: readonly Endpoint[] | null): MeshError | null
  readonly fuse: {
    begin(exchange: Exchange): number
    succeed(exchange: Exchange, token: number): void
    fail(exchange: Exchange, token: number): void
    abandon(exchange: Exchange, token: number): void
  }
  /** The endpoint has failed an attempt without any response: for balancing. */
  unanswered(exchange: Exchange): void
  /** Lines of the request's head that depend on the endpoint of this attempt, each with its CRLF. */
  hopText(exchange: Exchange): string
  /** Ms to wait before a further attempt; -1: none. Takes it from the retry budget. */
  retry(exchange: Exchange, failure: AttemptFailure): number
  /** Ends the exchange: counters, log, and what `route` had taken for it. */
  settle(exchange: Exchange, now: number): void
}

/** The steps as a relay of HTTP needs them. */
export interface HttpPath extends PathBase {
  readonly hop: {
    acquire(
      exchange: Exchange,
      isFresh: boolean,
      done: (error: MeshError | null, upstream: Upstream | null) => void,
    ): () => void
    release(exchange: Exchange, upstream: Upstream): void
  }
  /** Ms that the whole exchange may take, with all its attempts; Infinity: any time. */
  requestMs(exchange: Exchange): number
  /** The request's head as it goes to the endpoint, without its empty line. Called once, after `route`. */
  requestText(exchange: Exchange): string
  /** The response's head as it goes to the caller. */
  responseText(exchange: Exchange, head: ResponseHead, isLast: boolean): string
  /** A piece of the request's body goes up, with its framing; null: it was the last. For mirrors. */
  onRequestBody: ((exchange: Exchange, chunk: Buffer | null, start: number, end: number) => void) | null
  /**
   * The head of a response is there: for balancing.
   * @returns whether its breaker counts it as a success
   */
  observe(exchange: Exchange, head: ResponseHead, now: number): boolean
  /** Whether the request could ever be sent again once a byte of it was: else its body need not be kept. */
  isRepeatable(exchange: Exchange): boolean
  /**
   * Takes a connection over that asks for an Upgrade and was let through by `route`.
   * @param head the request's head as it goes to the endpoint, without its empty line
   * @param done called once, when the connection is closed; the exchange is settled by then
   */
  upgrade(exchange: Exchange, wire: Wire, head: string, done: () => void): Connection
  /**
   * The first bytes of a connection are not HTTP/1.
   * @returns what goes on with it; null if it is to be refused
   */
  opening(kind: 'h2' | 'tls', wire: Wire, caller: Caller, meshPort: number, onClosed: () => void): Connection | null
}
