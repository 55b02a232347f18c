// Last step of the outbound path, the one place that ends an exchange: counters, access log. Every exchange that accept
// let in comes here, once.

import type { Exchange } from '../exchange.ts'

/** What is told of each exchange that has ended. */
export interface Recorder {
  /** @param durationMs from the request's complete head to the end of the response */
  record(exchange: Exchange, durationMs: number): void
  /** An exchange was settled twice: a bug of the agent, counted and never silent. */
  recordTwice(exchange: Exchange): void
}

/**
 * Ends an exchange. Its status, reason and bytes must be set.
 * @param now clock's ms
 */
export function settle(exchange: Exchange, now: number, recorders: readonly Recorder[]): void {
  for (const recorder of recorders) {
    if (exchange.isSettled) recorder.recordTwice(exchange)
    else recorder.record(exchange, now - exchange.startedAt)
  }
  exchange.isSettled = true
}
