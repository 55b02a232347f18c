// Data thread: all that watches it, in one place for the worker: counters, access log, log, and the event loop's health.

import type { Clock, Timer } from '../clock.ts'
import type { Exchange } from '../exchange.ts'
import type { Snapshot } from '../mesh/snapshot.ts'
import type { Post, ThreadStart } from '../mesh/thread.ts'
import { AccessRecorder } from './accesslog.ts'
import { Counters } from './counters.ts'
import { threadLog } from './log.ts'
import { CountingRecorder } from './record.ts'

interface ExchangeRecorder {
  record(exchange: Exchange, durationMs: number): void
  recordTwice(exchange: Exchange): void
}

/** Often enough to see a lag of a tenth of a second, rarely enough to cost nothing. */
const pulseMs = 100

export class Observer {
  readonly counters: Counters
  readonly log: ReturnType<typeof threadLog>
  /** For settle, in this order. */
  readonly recorders: readonly ExchangeRecorder[]
  readonly #clock: Clock
  readonly #access: AccessRecorder | null
  #pulse: Timer
  #pulseAt: number
  #lagMs = 0
  #loop = performance.eventLoopUtilization()

  constructor({ config }: ThreadStart, post: Post, clock: Clock) {
    this.#clock = clock
    this.counters = new Counters(post, config.limits.series)
    this.log = threadLog(post, config.logLevel)
    this.#access = config.accessLog ? new AccessRecorder(post, clock) : null
    const counting = new CountingRecorder(this.counters)
    this.recorders = this.#access === null ? [counting] : [counting, this.#access]
    this.#pulseAt = clock.now()
    this.#pulse = this.#beat()
  }

  /** Another snapshot is in force: series of Services that it lacks will expire. */
  update(snapshot: Snapshot): void {
    this.counters.retain(snapshot.services)
  }

  /** Called with each heartbeat, about once a second, after the worker has set the gauges that it samples. */
  tick(): void {
    const loop = performance.eventLoopUtilization()
    this.counters.add('loopBusyMs', loop.active - this.#loop.active)
    this.#loop = loop
    this.counters.set('loopLagMs', this.#lagMs)
    this.#lagMs = 0
    this.counters.tick(this.#clock.now())
  }

  /** The thread ends: nothing gathered stays behind. */
  close(): void {
    this.#clock.clearTimeout(this.#pulse)
    this.#access?.flush()
  }

  #beat(): Timer {
    const timer = this.#clock.setTimeout(() => {
      const now = this.#clock.now()
      this.#lagMs = Math.max(this.#lagMs, now - this.#pulseAt - pulseMs)
      this.#pulseAt = now
      this.#pulse = this.#beat()
    }, pulseMs)
    timer.unref()
    return timer
  }
}
