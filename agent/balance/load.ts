// How loaded an endpoint looks from this data thread: peak EWMA of its response time, times the requests in flight.
// Idea: https://linkerd.io/2016/03/16/beyond-round-robin-load-balancing-for-latency/

import type { Endpoint } from '../mesh/endpoint.ts'

/** Assumed of an endpoint that was never asked. */
const defaultRttMs = 30
/** Time in which an old response time loses 63 % of its weight. */
const decayMs = 10_000
/**
 * Below this all are equally quick: an endpoint idle for long must not look so light that a burst all goes to it, and of two
 * quick ones neither should get everything that a quiet caller sends.
 */
const floorMs = 1
/** What a failed attempt counts as at least: an endpoint that refuses at once is not a quick one. */
const failedMs = 1_000
/** Who lost every comparison for so long is tried once: without it, one slow answer would keep an endpoint away for a minute. */
const forgottenMs = 1_000
/** The share of its traffic that a new endpoint gets at once in slow start. */
const coldShare = 0.1

/**
 * Takes a response time into an endpoint's average: up at once, down slowly.
 * @param rttMs from the sent head to the response's first byte
 * @param now clock's ms
 */
export function observe(endpoint: Endpoint, rttMs: number, now: number): void {
  const weight = endpoint.ewmaAt === 0 ? 0 : Math.exp((endpoint.ewmaAt - now) / decayMs)
  const decayed = endpoint.ewmaMs * weight
  endpoint.ewmaMs = rttMs > decayed ? rttMs : decayed + rttMs * (1 - weight)
  endpoint.ewmaAt = now
}

/**
 * Takes an attempt that got no response into the average.
 * @param spentMs from the attempt's begin
 * @param now clock's ms
 */
export function observeFailure(endpoint: Endpoint, spentMs: number, now: number): void {
  observe(endpoint, Math.max(spentMs, failedMs), now)
}

/** The response time to expect, in ms; it fades while nothing is sent, so that a slow endpoint gets another chance. */
export function expectedMs(endpoint: Endpoint, now: number): number {
  const isNew = endpoint.ewmaAt === 0
  const rtt = isNew ? defaultRttMs : endpoint.ewmaMs
  const faded = rtt * Math.exp(((isNew ? endpoint.since : endpoint.ewmaAt) - now) / decayMs)
  return Math.max(faded, floorMs)
}

/** The share of its traffic, in (0, 1], that an endpoint is given this long after it joined. */
export function warmth(endpoint: Endpoint, now: number, slowStartMs: number): number {
  const age = now - endpoint.since
  return age >= slowStartMs ? 1 : Math.max(coldShare, age / slowStartMs)
}

/** Compares endpoints: the lower the better. */
export type Score = (endpoint: Endpoint, now: number, slowStartMs: number) => number

/** One that was never asked, or not for long, and is idle comes first: there is no other way to learn how quick it is. */
export const ewmaScore: Score = (endpoint, now, slowStartMs) => {
  const isForgotten = endpoint.inFlight === 0 && (endpoint.ewmaAt === 0 || now - endpoint.ewmaAt >= forgottenMs)
  if (isForgotten && slowStartMs === 0) return 0
  return (expectedMs(endpoint, now) * (endpoint.inFlight + 1)) / warmth(endpoint, now, slowStartMs)
}

export const leastScore: Score = (endpoint, now, slowStartMs) =>
  (endpoint.inFlight + 1) / warmth(endpoint, now, slowStartMs)
