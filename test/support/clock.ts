// A clock whose hands the test turns, for agent and controller alike.

import type { Clock as AgentClock, Timer } from '../../agent/clock.ts'
import type { Clock as ControllerClock } from '../../controller/clock.ts'
import { until } from './until.ts'

interface FakeTimer extends Timer {
  readonly run: () => void
  readonly at: number
}

export class FakeClock implements AgentClock, ControllerClock {
  private ms: number
  private readonly epoch: number
  private readonly timers = new Set<FakeTimer>()

  /**
   * @param ms what the monotonic clock shows
   * @param epoch what the wall clock shows
   */
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

  random(): number {
    return 0.5
  }

  setTimeout(run: () => void, ms: number): Timer {
    const timer: FakeTimer = { run, at: this.ms + ms, unref: () => timer }
    this.timers.add(timer)
    return timer
  }

  clearTimeout(timer: Timer): void {
    this.timers.delete(timer as FakeTimer)
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) return resolve()
      const timer = this.setTimeout(resolve, ms)
      const wake = () => {
        this.clearTimeout(timer)
        resolve()
      }
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  /** How many timers run, sleepers included. */
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

  /** Turns the hands in steps, and lets all sleepers go back to sleep after each. */
  async run(ms: number, stepMs = 500): Promise<void> {
    const { pending } = this
    for (let left = ms; left > 0; left -= stepMs) {
      this.tick(Math.min(left, stepMs))
      await until(() => this.pending >= pending)
    }
  }
}
