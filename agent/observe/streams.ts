// Data thread: opaque connections live long, so that they are counted while they do: looked at about once a second, and
// when they end.

import { reasonNumber } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { Counters, StreamSeries } from './counters.ts'

interface Told {
  readonly series: StreamSeries
  up: number
  down: number
}

/** Counts opaque connections; fits the Recorder of outbound/settle.ts. */
export class StreamRecorder {
  readonly #counters: Counters
  /** What was counted of those that are open. */
  readonly #open = new Map<Exchange, Told>()

  constructor(counters: Counters) {
    this.#counters = counters
  }

  /** Looks at an exchange in flight; about once a second. */
  look(exchange: Exchange): void {
    // Before its endpoint is chosen, nobody knows what to count it under.
    if (exchange.request === null && exchange.endpoint !== null && !exchange.isSettled) this.#tell(exchange)
  }

  record(exchange: Exchange): void {
    if (exchange.request !== null) return
    this.#tell(exchange).series.settle(exchange.reason === null ? -1 : reasonNumber(exchange.reason))
    this.#open.delete(exchange)
  }

  recordTwice(): void {}

  #tell(exchange: Exchange): Told {
    const { bytesUp, bytesDown } = exchange
    let told = this.#open.get(exchange)
    if (told === undefined) {
      told = { series: this.#seriesOf(exchange), up: 0, down: 0 }
      told.series.open()
      this.#open.set(exchange, told)
    }
    told.series.bytes(bytesUp - told.up, bytesDown - told.down)
    told.up = bytesUp
    told.down = bytesDown
    return told
  }

  #seriesOf({ direction, port, backend }: Exchange): StreamSeries {
    return this.#counters.stream(direction, port?.service.key ?? '', port?.number ?? 0, backend?.key ?? '')
  }
}
