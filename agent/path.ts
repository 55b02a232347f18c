// How the steps of a path are put together: what the relay needs of the others, so that worker.ts can assemble them in
// order and tests can replace one.

import type { Clock } from './clock.ts'
import type { MeshError } from './errors.ts'
import type { Caller, Exchange } from './exchange.ts'
import type { Deadlines } from './http1/deadline.ts'
import type { HeadLimits } from './http1/head.ts'
import type { ResponseHead } from './http1/status.ts'
import type { Upstream } from './http1/upstream.ts'
import type { Endpoint } from './mesh/endpoint.ts'
import type { Snapshot } from './mesh/snapshot.ts'

/** How an attempt failed: the mesh's error, or a status of 500 and above that the endpoint answered with. */
export interface AttemptFailure {
  readonly error: MeshError | null
  readonly status: number
  /** A byte of the request may have reached the endpoint. */
  readonly isSent: boolean
}

/** The steps before and after this one, as worker.ts assembles them. */
export interface OutboundPath {
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly limits: HeadLimits & { readonly bodyBufferBytes: number }
  readonly timeouts: { requestHeadMs: number; firstByteMs: number; idleMs: number; keepAliveMs: number }
  snapshot(): Snapshot
  isDraining(): boolean
  /** Whether the attribution of a connection has gone out of date. */
  hasMoved(caller: Caller): boolean
  /** Sets the exchange's port, or tells why there is none. */
  destination(exchange: Exchange, meshPort: number): MeshError | null
  /** Sets the backend. */
  divide(exchange: Exchange): MeshError | null
  /** Sets the endpoint of the next attempt, if possible another than those that were tried. */
  endpoint(exchange: Exchange, tried: readonly Endpoint[] | null): MeshError | null
  readonly fuse: {
    begin(exchange: Exchange): number
    succeed(exchange: Exchange, token: number): void
    fail(exchange: Exchange, token: number): void
    abandon(exchange: Exchange, token: number): void
  }
  readonly hop: {
    acquire(
      exchange: Exchange,
      isFresh: boolean,
      done: (error: MeshError | null, upstream: Upstream | null) => void,
    ): () => void
    release(endpoint: Endpoint, upstream: Upstream): void
  }
  /** The head of a response is there: for balancing. */
  observe(exchange: Exchange, head: ResponseHead, now: number): void
  /** Whether the request could ever be sent again once a byte of it was: else its body need not be kept. */
  isRepeatable(exchange: Exchange): boolean
  /** Ms to wait before a further attempt; -1: none. Takes it from the retry budget. */
  retry(exchange: Exchange, failure: AttemptFailure): number
  settle(exchange: Exchange, now: number): void
}
