// A clock whose hands the test turns.

import type { Clock, Timer } from '../../agent/clock.ts'

interface FakeTimer extends Timer {
  readonly run: () => void
  readonly at: number
}

export class FakeClock implements Clock {
  private ms: number
  private readonly epoch: number
  private readonly timers = new Set<FakeTimer>()

  constructor(ms = 1_000, epoch = Date.UTC(2026, 0, 1)) {
    this.ms = ms
    this.epoch = epoch - ms
  }

  now(): number {
    return this.ms
  }

  wall(): number {
    return this.epoch + this.ms
  }

  setTimeout(run: () => void, ms: number): Timer {
    const timer: FakeTimer = { run, at: this.ms + ms, unref: () => timer }
    this.timers.add(timer)
    return timer
  }

  clearTimeout(timer: Timer): void {
    this.timers.delete(timer as FakeTimer)
  }

  /** How many timers run. */
  get pending(): number {
    return this.timers.size
  }

  /** Turns the hands, running what falls due in its order. */
  tick(ms: number): void {
    const end = this.ms + ms
    for (;;) {
      let next: FakeTimer | null = null
      for (const timer of this.timers) {
        if (timer.at <= end && (next === null || timer.at < next.at)) next = timer
      }
      if (next === null) break
      this.timers.delete(next)
      this.ms = Math.max(this.ms, next.at)
      next.run()
    }
    this.ms = end
  }
}
