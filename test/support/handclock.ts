// The controller's clock with hands that the test turns: what sleeps wakes when its time has come, in order.

import type { Clock } from '../../controller/clock.ts'
import { until } from './until.ts'

interface Sleeper {
  at: number
  wake(): void
}

export class HandClock implements Clock {
  private ms = 1000
  private readonly epoch: number
  private sleepers: Sleeper[] = []

  /** @param skewMs how far its wall clock is off */
  constructor(skewMs = 0) {
    this.epoch = Date.UTC(2026, 0, 1) + skewMs
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

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) return resolve()
      const sleeper: Sleeper = {
        at: this.ms + ms,
        wake: () => {
          this.sleepers = this.sleepers.filter((each) => each !== sleeper)
          resolve()
        },
      }
      this.sleepers.push(sleeper)
      signal?.addEventListener('abort', sleeper.wake, { once: true })
    })
  }

  /** How many sleep at the moment. */
  get sleeping(): number {
    return this.sleepers.length
  }

  /** Turns the hands; what falls due wakes. */
  tick(ms: number): void {
    this.ms += ms
    for (const sleeper of this.sleepers.filter((each) => each.at <= this.ms)) sleeper.wake()
  }

  /** Turns the hands in steps, and lets all sleepers go back to sleep after each. */
  async run(ms: number, stepMs = 500): Promise<void> {
    const { sleeping } = this
    for (let left = ms; left > 0; left -= stepMs) {
      this.tick(Math.min(left, stepMs))
      await until(() => this.sleeping >= sleeping)
    }
  }
}
