// Load shedding: a data thread that comes late to its own timer time after time is given more than it can do. It then
// refuses a growing part of new requests at once, so that the others are still answered in time. As in CoDel (RFC 8289)
// the least lag of a while counts: a pause that is over, of this thread or of the whole machine, is no overload.

import type { Clock, Timer } from '../clock.ts'
import { MeshError } from '../errors.ts'

/** How often the lag is measured, and how many measurements must all be late. */
const everyMs = 50
const measurements = 10
/** A standing lag up to this is a busy thread; at the second figure everything new is refused. */
const calmMs = 100
const fullMs = 1_000

export class LagGate {
  private readonly clock: Clock
  private readonly random: () => number
  private timer: Timer | null = null
  private expectedAt = 0
  private readonly recent = new Float64Array(measurements)
  private turn = 0
  private lag = 0

  /** @param random numbers in [0, 1) */
  constructor(clock: Clock, random: () => number) {
    this.clock = clock
    this.random = random
  }

  /** How late the thread comes at the least, in ms, over the last measurements. */
  get lagMs(): number {
    return this.lag
  }

  start(): void {
    if (this.timer === null) this.measureLater()
  }

  stop(): void {
    if (this.timer !== null) this.clock.clearTimeout(this.timer)
    this.timer = null
    this.lag = 0
    this.recent.fill(0)
  }

  /** Whether a new request may pass: null, or `overloaded`. */
  check(): MeshError | null {
    if (this.lag <= calmMs || this.random() >= (this.lag - calmMs) / (fullMs - calmMs)) return null
    return new MeshError('overloaded', `the data thread lags ${Math.round(this.lag)} ms behind`, { retryAfter: 1 })
  }

  private measureLater(): void {
    this.expectedAt = this.clock.now() + everyMs
    this.timer = this.clock.setTimeout(() => {
      this.recent[this.turn++ % measurements] = Math.max(0, this.clock.now() - this.expectedAt)
      this.lag = Math.min(...this.recent)
      this.measureLater()
    }, everyMs)
    this.timer.unref()
  }
}
