// An overloaded endpoint says when it wants to be asked again (RFC 9110 section 10.2.3): until then the balancer prefers
// the others.

import type { Endpoint } from '../mesh/endpoint.ts'

/** A longer wish is cut to this: a wrong header must not take an endpoint out for a day. */
const maxCoolMs = 300_000

/**
 * Reads a Retry-After: seconds, or a date.
 * @param wall ms since the epoch
 * @returns ms from now, at most 5 minutes; 0 if it says nothing understandable
 */
export function retryAfterMs(value: string, wall: number): number {
  const text = value.trim()
  const ms = /^\d{1,10}$/.test(text) ? Number(text) * 1_000 : /^[A-Z]/.test(text) ? Date.parse(text) - wall : 0
  return ms > 0 ? Math.min(ms, maxCoolMs) : 0
}

/**
 * Leaves an endpoint alone that answered 429 or 503 with Retry-After.
 * @param now clock's ms
 * @param wall ms since the epoch
 */
export function cool(endpoint: Endpoint, status: number, retryAfter: string | null, now: number, wall: number): void {
  if (retryAfter === null || (status !== 429 && status !== 503)) return
  const ms = retryAfterMs(retryAfter, wall)
  if (ms > 0) endpoint.coolUntil = now + ms
}
