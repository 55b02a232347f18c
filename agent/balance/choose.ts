// Ways to choose one of several endpoints: the better of two drawn ones, and round robin. All of them pass over endpoints
// that asked to be left alone for a while (Retry-After) as long as there is another.

import type { Endpoint } from '../mesh/endpoint.ts'
import { type Score, warmth } from './load.ts'

/**
 * Power of two choices: draws two different endpoints and takes the one with the lower score.
 * @param endpoints at least one
 * @param random numbers in [0, 1)
 */
export function twoChoices(
  endpoints: readonly Endpoint[],
  score: Score,
  now: number,
  slowStartMs: number,
  random: () => number,
): Endpoint {
  const count = endpoints.length
  if (count === 1) return endpoints[0]!
  const first = (random() * count) | 0
  let second = (random() * (count - 1)) | 0
  if (second >= first) second++
  const a = endpoints[first]!
  const b = endpoints[second]!
  if (a.coolUntil > now || b.coolUntil > now) {
    if (a.coolUntil <= now) return a
    if (b.coolUntil <= now) return b
    const other = firstWarm(endpoints, first, now)
    if (other !== null) return other
  }
  return score(a, now, slowStartMs) <= score(b, now, slowStartMs) ? a : b
}

/**
 * Round robin. An endpoint in slow start lets its turn pass more often the newer it is.
 * @param endpoints at least one
 * @param turn a counter that goes up by one each time
 */
export function roundRobin(
  endpoints: readonly Endpoint[],
  turn: number,
  now: number,
  slowStartMs: number,
  random: () => number,
): Endpoint {
  const count = endpoints.length
  for (let i = 0; i < count; i++) {
    const endpoint = endpoints[(turn + i) % count]!
    if (endpoint.coolUntil > now) continue
    const share = warmth(endpoint, now, slowStartMs)
    if (share === 1 || random() < share) return endpoint
  }
  return firstWarm(endpoints, turn % count, now) ?? endpoints[turn % count]!
}

/** The first endpoint from a position on that doesn't cool down. */
function firstWarm(endpoints: readonly Endpoint[], from: number, now: number): Endpoint | null {
  const count = endpoints.length
  for (let i = 0; i < count; i++) {
    const endpoint = endpoints[(from + i) % count]!
    if (endpoint.coolUntil <= now) return endpoint
  }
  return null
}
