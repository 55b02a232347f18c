// What a disturbance costs callers: loads from every node while it lasts, and afterwards the requests that failed, by node,
// with the time between the first and the last of them.

import type { ClientOptions, ClientResult } from './client.ts'
import { callers, echo } from './fleet.ts'
import { figure } from './mesh.ts'
import { detachLoad, type Load } from './pod.ts'

/** What the callers of one node lost. */
export interface Loss {
  node: string
  requests: number
  failed: number
  /** From the disturbance's start to the sending of the last request that failed; 0 if none did. */
  untilMs: number
  /** Failures by what they were. */
  kinds: Record<string, number>
  maxMs: number
  result: ClientResult
}

/** Loads from the callers of all nodes. */
export interface Crowd {
  /** Ends them all. @param since when the disturbance began, ms since the epoch */
  stop(since: number): Promise<Loss[]>
}

/** Starts a load on every node; resolves when all have begun. */
export async function startCrowd(options: Partial<ClientOptions> = {}): Promise<Crowd> {
  const places = await callers()
  const loads: Load[] = []
  for (const place of places) loads.push(await detachLoad(place, { url: echo, callers: 4, pauseMs: 20, ...options }))
  await new Promise((resolve) => setTimeout(resolve, 1000))
  return {
    async stop(since) {
      const results = await Promise.all(loads.map((load) => load.stop()))
      return results.map((result, at) => lossOf(places[at]?.node ?? '', result, since))
    },
  }
}

/** Sums up what a load saw. */
export function lossOf(node: string, result: ClientResult, since: number): Loss {
  const kinds: Record<string, number> = {}
  for (const { what } of result.failures) kinds[what] = (kinds[what] ?? 0) + 1
  return {
    node,
    requests: result.requests,
    failed: result.failed,
    untilMs: Math.max(0, result.lastFailed - since),
    kinds,
    maxMs: result.maxMs,
    result,
  }
}

/** Prints losses as figures. */
export function tellLosses(what: string, losses: Loss[]): void {
  for (const { node, requests, failed, untilMs, kinds, maxMs } of losses) {
    const lost =
      failed === 0 ? 'none lost' : `${failed} lost, the last one sent after ${untilMs} ms: ${JSON.stringify(kinds)}`
    figure(`${what}, from ${node}`, `${requests} requests, ${lost}; the longest took ${Math.round(maxMs)} ms`)
  }
}

/** All failures as one text, for messages of assertions. */
export function textOf(losses: Loss[], since: number): string {
  return losses
    .flatMap(({ node, result }) =>
      result.failures.slice(0, 20).map(({ start, at, what }) => `${node} +${start - since}..${at - since} ms: ${what}`),
    )
    .join('\n')
}
