// Rate limits of a service: so many requests a second altogether, so many from each caller. Token buckets, for the agent
// as a whole.

import type { ServicePolicy } from '../../controller/contract/resources.ts'
import { MeshError } from '../errors.ts'
import type { SharedLimits } from './shared.ts'

/**
 * Takes a request's tokens.
 * @param service `namespace/name`
 * @param caller its identity, see `callerKey`
 * @param wall ms since the epoch
 * @returns null if it may pass, else `rate_limited` with Retry-After in whole seconds
 */
export function limitRate(
  shared: SharedLimits,
  limits: ServicePolicy['limits'],
  service: string,
  caller: string,
  wall: number,
): MeshError | null {
  if (limits === undefined) return null
  const { rate, ratePerCaller } = limits
  if (rate === undefined && ratePerCaller === undefined) return null
  const own = ratePerCaller === undefined ? 0 : shared.slot(`rate ${service} ${caller}`, wall)
  if (ratePerCaller !== undefined) {
    const ms = shared.take(own, ratePerCaller, wall)
    if (ms > 0) return refuse(`${service} takes ${ratePerCaller.perSecond} requests a second from one caller`, ms)
  }
  if (rate === undefined) return null
  const ms = shared.take(shared.slot(`rate ${service}`, wall), rate, wall)
  if (ms === 0) return null
  // What the service has no room for was not the caller's use of its own share.
  if (ratePerCaller !== undefined) shared.giveBack(own, ratePerCaller)
  return refuse(`${service} takes ${rate.perSecond} requests a second`, ms)
}

function refuse(detail: string, ms: number): MeshError {
  return new MeshError('rate_limited', detail, { retryAfter: Math.ceil(ms / 1_000) })
}
