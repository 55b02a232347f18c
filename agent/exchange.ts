// One request in flight, from accept to settle: what every step of the path reads and writes. All fields are set in the
// constructor so that the objects keep one shape; settle ends each exactly once.

import type { WorkloadResource } from '../controller/contract/resources.ts'
import type { Reason } from './errors.ts'
import type { RequestHead } from './http1/head.ts'
import type { Verdict } from './inbound/permit.ts'
import type { Endpoint } from './mesh/endpoint.ts'
import type { Backend, Port, Snapshot } from './mesh/snapshot.ts'

/** Who a connection comes from. Without a workload there is no identity, and no rule with a source matches. */
export interface Caller {
  readonly address: string
  readonly workload: WorkloadResource | null
}

export type Direction = 'outbound' | 'inbound'

export class Exchange {
  readonly direction: Direction
  /** The snapshot in force when the request came: all its decisions are made on this one. */
  readonly snapshot: Snapshot
  readonly caller: Caller
  /** Clock's ms when its head was complete. */
  readonly startedAt: number
  /** null for opaque TCP. Valid until the exchange settles. */
  readonly request: RequestHead | null
  /** Set by destination. */
  port: Port | null = null
  /** Set by divide. */
  backend: Backend | null = null
  /** Set by endpoint, anew for each attempt. */
  endpoint: Endpoint | null = null
  /** Clock's ms when the current attempt began. */
  attemptAt = 0
  attempts = 0
  /** Clock's ms at which it is given up as a whole; Infinity: never. */
  limitAt = Number.POSITIVE_INFINITY
  /** Status sent to the caller; 0 before. */
  status = 0
  /** Why the mesh ended it; null if it did not. */
  reason: Reason | null = null
  bytesUp = 0
  bytesDown = 0
  /** What admission counts it in; -1: nothing. */
  admitted = -1
  /** What inbound/permit.ts decided; null before, and for what was not asked. */
  verdict: Verdict | null = null
  isSettled = false

  constructor(
    direction: Direction,
    snapshot: Snapshot,
    caller: Caller,
    request: RequestHead | null,
    startedAt: number,
  ) {
    this.direction = direction
    this.snapshot = snapshot
    this.caller = caller
    this.request = request
    this.startedAt = startedAt
  }
}

/**
 * Whether the head of a response came so late that the endpoint's breaker counts it as a failure.
 * @param now clock's ms
 */
export function isSlow({ backend, attemptAt }: Exchange, now: number): boolean {
  return now - attemptAt > (backend?.policy.breaker?.slowMs ?? Number.POSITIVE_INFINITY)
}
