// Data thread: what settle tells of an exchange goes into the counters.

import { reasonNumber } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { Counters } from './counters.ts'

/** Counts exchanges; fits the Recorder of outbound/settle.ts. */
export class CountingRecorder {
  readonly #counters: Counters

  constructor(counters: Counters) {
    this.#counters = counters
  }

  /** Counts an exchange that has ended, after `durationMs`. */
  record(exchange: Exchange, durationMs: number): void {
    // Opaque connections are counted while they live: streams.ts.
    if (exchange.request === null) return
    const { direction, port, backend, status, reason, bytesUp, bytesDown } = exchange
    const service = port === null ? '' : port.service.key
    const number = port === null ? 0 : port.number
    const key = backend === null ? '' : backend.key
    const why = reason === null ? -1 : reasonNumber(reason)
    this.#counters.route(direction, service, number, key).settle(status, why, durationMs, bytesUp, bytesDown)
  }

  recordTwice(): void {
    this.#counters.add('settledTwice')
  }
}
