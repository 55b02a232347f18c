// One pod address of a backend, as a data thread knows it: where it is, how loaded, whether its breaker lets through.
// It lives as long as snapshots list it; `retire` is called when the last one that did is replaced.

import type { EndpointSpec } from '../../controller/contract/resources.ts'
import { joinPort } from '../address.ts'

/** State that a later step of the path hangs on an endpoint and that must end with it. */
export interface EndpointPart {
  /** Called once, when the endpoint has left the configuration; exchanges in flight may still use it. */
  retire(): void
}

export class Endpoint {
  /** `address:port`, with brackets around IPv6. */
  readonly key: string
  /** `namespace/name:port` of the backend that it belongs to. */
  readonly backend: string
  readonly spec: EndpointSpec
  /** Whether its pod runs on this agent's node: no tunnel then. */
  readonly isLocal: boolean
  /** Requests in flight from this data thread. */
  inFlight = 0
  /** Peak EWMA of the response time in ms, and when it was last updated (clock's ms). */
  ewmaMs = 0
  ewmaAt = 0
  /** When it joined (clock's ms), for slow start. */
  readonly since: number
  /** Not chosen before this time (clock's ms) while others can be: Retry-After. */
  coolUntil = 0
  isRetired = false
  /** Its circuit breaker; made by outbound/fuse.ts at first use. */
  fuse: EndpointPart | null = null
  /** Its pooled connections; made by outbound/hop.ts at first use. */
  pool: EndpointPart | null = null

  constructor(backend: string, spec: EndpointSpec, isLocal: boolean, since: number) {
    this.key = joinPort(spec.address, spec.port)
    this.backend = backend
    this.spec = spec
    this.isLocal = isLocal
    this.since = since
  }

  retire(): void {
    this.isRetired = true
    this.fuse?.retire()
    this.pool?.retire()
  }
}
