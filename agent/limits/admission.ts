// How much of the agent one caller may use at once: so many requests in flight, a short queue behind them, and a quick
// refusal beyond that. Each caller has its own share and its own queue, so that a noisy one makes only itself wait.

import type { ServicePolicy } from '../../controller/contract/resources.ts'
import type { Clock, Timer } from '../clock.ts'
import { MeshError } from '../errors.ts'
import type { Caller } from '../exchange.ts'
import type { SharedLimits } from './shared.ts'

type Limits = ServicePolicy['limits']

export interface AdmissionOptions {
  readonly clock: Clock
  readonly shared: SharedLimits
  /** For each caller, in the whole agent. */
  readonly inFlightPerCaller: number
  readonly queuePerCaller: number
  /** Waiting longer than this is answered with `overloaded`. */
  readonly queueMs: number
}

/** What `enter` gives and `leave` takes back: the slots of the counters that the request is counted in. */
export type Admitted = number

/** How often a queue looks whether other threads have made room. */
const lookMs = 10
const slotRange = 65_536

interface Waiter {
  readonly caller: string
  readonly service: string
  readonly limits: Limits
  readonly slot: number
  readonly until: number
  readonly done: (error: MeshError | null, admitted: Admitted) => void
  isOver: boolean
}

/** Who a request's share is taken from: the account, or, without identity, the address. */
export function callerKey(caller: Caller): string {
  return caller.workload?.account ?? caller.address
}

export class Admission {
  private readonly options: AdmissionOptions
  /** By caller, in the order of their coming. */
  private readonly queues = new Map<string, Waiter[]>()
  private timer: Timer | null = null

  constructor(options: AdmissionOptions) {
    this.options = options
  }

  /** How many wait in this thread. */
  get waiting(): number {
    let sum = 0
    for (const queue of this.queues.values()) sum += queue.length
    return sum
  }

  /**
   * Lets a request in at once, if its caller's share has room and nobody of the same caller waits.
   * @param caller see `callerKey`
   * @param service `namespace/name`; counted by itself where the service's policy limits callers
   * @returns what to give to `leave`, or -1: it must `wait`
   */
  enter(caller: string, service: string, limits: Limits): Admitted {
    return this.queues.size > 0 && this.queues.has(caller) ? -1 : this.admit(caller, service, limits)
  }

  /**
   * Queues a request that could not enter.
   * @param done called once, later or at once: with what to give to `leave`, or with `overloaded` when the queue is full
   *   or the wait was too long
   * @returns gives up waiting; `done` is not called after it
   */
  wait(
    caller: string,
    service: string,
    limits: Limits,
    done: (error: MeshError | null, admitted: Admitted) => void,
  ): () => void {
    const { clock, shared, queuePerCaller, queueMs } = this.options
    const slot = shared.slot(caller, clock.wall())
    const most = Math.min(queuePerCaller, limits?.queuePerCaller ?? queuePerCaller)
    if (shared.waiting(slot) >= most) {
      done(overloaded(`${most} requests of ${caller} wait already`), -1)
      return () => undefined
    }
    const waiter: Waiter = { caller, service, limits, slot, until: clock.now() + queueMs, done, isOver: false }
    const queue = this.queues.get(caller)
    if (queue === undefined) this.queues.set(caller, [waiter])
    else queue.push(waiter)
    shared.addWaiting(slot, 1)
    this.lookLater()
    return () => this.remove(waiter)
  }

  /** Counts a request out, and lets in who waits for its place. */
  leave(admitted: Admitted): void {
    const { shared } = this.options
    shared.addInFlight(admitted % slotRange, -1)
    if (admitted >= slotRange) shared.addInFlight(Math.floor(admitted / slotRange) - 1, -1)
    if (this.queues.size > 0) this.look()
  }

  /** Refuses all that wait. For shutting down. */
  close(): void {
    for (const queue of [...this.queues.values()]) {
      for (const waiter of [...queue]) this.finish(waiter, new MeshError('draining'), -1)
    }
  }

  private admit(caller: string, service: string, limits: Limits): Admitted {
    const { clock, shared, inFlightPerCaller } = this.options
    const wall = clock.wall()
    const slot = shared.slot(caller, wall)
    if (shared.inFlight(slot) >= inFlightPerCaller) return -1
    const most = limits?.inFlightPerCaller
    if (most === undefined) {
      shared.addInFlight(slot, 1)
      return slot
    }
    const second = shared.slot(`${service} ${caller}`, wall)
    if (shared.inFlight(second) >= most) return -1
    shared.addInFlight(slot, 1)
    shared.addInFlight(second, 1)
    return slot + (second + 1) * slotRange
  }

  /** Lets in whoever can be, in the order of each caller's queue, and refuses who waited too long. */
  private look(): void {
    const now = this.options.clock.now()
    for (const queue of [...this.queues.values()]) {
      // A copy: `done` may leave, wait or cancel.
      for (const waiter of [...queue]) {
        if (waiter.isOver) continue
        if (waiter.until <= now) {
          this.finish(waiter, overloaded(`${waiter.caller} waited ${this.options.queueMs} ms for a place`), -1)
          continue
        }
        const admitted = this.admit(waiter.caller, waiter.service, waiter.limits)
        // One that waits for a full service doesn't hold up those behind it that want another.
        if (admitted >= 0) this.finish(waiter, null, admitted)
      }
    }
  }

  private finish(waiter: Waiter, error: MeshError | null, admitted: Admitted): void {
    this.remove(waiter)
    waiter.done(error, admitted)
  }

  private remove(waiter: Waiter): void {
    if (waiter.isOver) return
    waiter.isOver = true
    this.options.shared.addWaiting(waiter.slot, -1)
    const queue = this.queues.get(waiter.caller)!
    queue.splice(queue.indexOf(waiter), 1)
    if (queue.length > 0) return
    this.queues.delete(waiter.caller)
    if (this.queues.size > 0 || this.timer === null) return
    this.options.clock.clearTimeout(this.timer)
    this.timer = null
  }

  private lookLater(): void {
    if (this.timer !== null) return
    this.timer = this.options.clock.setTimeout(() => {
      this.timer = null
      this.look()
      if (this.queues.size > 0) this.lookLater()
    }, lookMs)
  }
}

function overloaded(detail: string): MeshError {
  return new MeshError('overloaded', detail, { retryAfter: 1 })
}
