// One coarse timer for everything that may take too long on a thread: each connection holds a number, a sweep compares
// it ten times a second. Setting a deadline costs an assignment, where a timer for each exchange would cost two calls.

import { type Clock, systemClock, type Timer } from '../clock.ts'

export interface Timed {
  /** Clock's ms; Infinity: none. */
  deadlineAt: number
  onDeadline(): void
}

const tickMs = 100

export class Deadlines {
  /** Clock's ms, renewed with each sweep: good enough for time-outs, and free. */
  now: number
  private readonly clock: Clock
  private readonly members = new Set<Timed>()
  private timer: Timer | null = null

  constructor(clock: Clock = systemClock) {
    this.clock = clock
    this.now = clock.now()
    this.next()
  }

  get size(): number {
    return this.members.size
  }

  add(member: Timed): void {
    this.members.add(member)
  }

  remove(member: Timed): void {
    this.members.delete(member)
  }

  /** Ends the timer; deadlines are not watched any more. */
  stop(): void {
    if (this.timer !== null) this.clock.clearTimeout(this.timer)
    this.timer = null
  }

  private next(): void {
    this.timer = this.clock.setTimeout(() => {
      this.sweep()
      if (this.timer !== null) this.next()
    }, tickMs)
    this.timer.unref()
  }

  private sweep(): void {
    this.now = this.clock.now()
    for (const member of this.members) {
      if (member.deadlineAt <= this.now) {
        member.deadlineAt = Number.POSITIVE_INFINITY
        member.onDeadline()
      }
    }
  }
}
