// Data thread: what settle tells of an exchange goes into the counters.

import { type Reason, reasonNumber } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { Counters } from './counters.ts'

/** What callers send that is no message of HTTP as it is spoken here. */
const callerFlaws: ReadonlySet<Reason> = new Set([
  'bad_request',
  'head_too_large',
  'not_implemented',
  'version_refused',
])

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
    if (reason !== null && callerFlaws.has(reason)) this.#counters.add('callerErrors')
    if (reason === 'upstream_invalid') this.#counters.add('endpointErrors')
    this.#counters.route(direction, service, number, key).settle(status, why, durationMs, bytesUp, bytesDown)
  }

  /** Counts another attempt. @param reason what the last one failed with: a reason or a status */
  retried({ port }: Exchange, reason: string): void {
    this.#counters.retried(port!.service.key, port!.number, reason)
    if (reason === 'upstream_invalid') this.#counters.add('endpointErrors')
  }

  recordTwice(): void {
    this.#counters.add('settledTwice')
  }
}
