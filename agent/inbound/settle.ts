// Last step of the inbound path: ends an exchange as the outbound path does, and says aloud who was refused.

import type { Exchange } from '../exchange.ts'
import { type Recorder, settle } from '../outbound/settle.ts'

/** What is told of a refused caller. */
export type OnDenied = (exchange: Exchange) => void

/**
 * Ends an exchange of the inbound path.
 * @param now clock's ms
 */
export function settleInbound(
  exchange: Exchange,
  now: number,
  recorders: readonly Recorder[],
  onDenied: OnDenied,
): void {
  if (exchange.reason === 'denied' && !exchange.isSettled) onDenied(exchange)
  settle(exchange, now, recorders)
}
