// Second step of the outbound path: who is calling. A connection's source address is a pod of this node, or nobody.
// Address to pod comes from the snapshot; an address that it doesn't list yet may wait for it a little. So does that of a pod that
// has ended: such a pod opens no connections, so it must be the next one with the address.

import type { Clock, Timer } from '../clock.ts'
import { MeshError } from '../errors.ts'
import type { Caller } from '../exchange.ts'
import type { Snapshot } from '../mesh/snapshot.ts'

/** A pod's first call comes 0.3–0.5 s before the API shows its address; a loaded API server takes longer. */
const defaultWaitMs = 3_000
/** Connections that may wait at once, altogether and from one address: a flood of strangers holds no more than this. */
const defaultWaiters = 1_024
const defaultWaitersPerAddress = 64
/** So long after its last call an address that has waited in vain is not waited for again: processes of the host. */
const strangerMs = 30_000
const maxStrangers = 4_096

/**
 * One spelling for each address: a dual-stack socket shows 10.0.0.5 as ::ffff:10.0.0.5.
 * @param address as the socket tells it
 */
export function canonicalAddress(address: string): string {
  const lower = address.toLowerCase()
  return lower.startsWith('::ffff:') && lower.includes('.') ? lower.slice(7) : lower
}

/** The caller's namespace, or '' for a caller without identity. */
export function callerNamespace(caller: Caller): string {
  const pod = caller.workload?.pod
  return pod === undefined ? '' : pod.slice(0, pod.indexOf('/'))
}

/**
 * Whether a connection's address has come to belong to another pod since the connection was attributed: it must be
 * closed then, for its requests would be made in the wrong name. A pod that merely ended keeps its identity, and one
 * that the snapshot no longer lists keeps it until another takes the address.
 */
export function hasMoved(caller: Caller, snapshot: Snapshot): boolean {
  const now = snapshot.workloads.get(caller.address)
  return now !== undefined && now.name !== caller.workload?.name
}

export interface CallerDeskOptions {
  readonly clock: Clock
  /** The agent's own addresses: a connection from them is a loop. */
  readonly own: readonly string[]
  readonly waitMs?: number
  readonly maxWaiters?: number
  readonly maxWaitersPerAddress?: number
}

/** Connections from one address that wait for its pod. */
interface Queue {
  readonly waiters: Set<(caller: Caller) => void>
  readonly timer: Timer
}

const nothingToCancel = (): void => undefined

/** Attributes connections to pods. One for each data thread. */
export class CallerDesk {
  private snapshot: Snapshot
  private readonly clock: Clock
  private readonly own: ReadonlySet<string>
  private readonly waitMs: number
  private readonly maxWaiters: number
  private readonly maxWaitersPerAddress: number
  private readonly queues = new Map<string, Queue>()
  /** Addresses that waited in vain, with the clock's ms of their last call. */
  private readonly strangers = new Map<string, number>()
  private waiting = 0
  /** Connections that stayed without a pod. */
  unknown = 0

  constructor(snapshot: Snapshot, options: CallerDeskOptions) {
    this.snapshot = snapshot
    this.clock = options.clock
    this.own = new Set(options.own.map(canonicalAddress))
    this.waitMs = options.waitMs ?? defaultWaitMs
    this.maxWaiters = options.maxWaiters ?? defaultWaiters
    this.maxWaitersPerAddress = options.maxWaitersPerAddress ?? defaultWaitersPerAddress
  }

  /** How many connections wait for their pod. */
  get waiters(): number {
    return this.waiting
  }

  /**
   * Finds out whose connection it is.
   * @param remote the connection's source address, as the socket tells it
   * @param done called once: at once if the address is known, else when it becomes known, and after the wait (or when
   *   too many wait already) with a caller that has no workload
   * @returns cancels the wait; to be called when the connection closes before `done` was called
   * @throws MeshError `loop` if the connection comes from the agent itself
   */
  lookup(remote: string, done: (caller: Caller) => void): () => void {
    const address = canonicalAddress(remote)
    if (this.own.has(address)) {
      throw new MeshError('loop', `a connection from the agent's own address ${address}`)
    }
    const workload = this.living(address)
    if (workload !== null) {
      done({ address, workload })
      return nothingToCancel
    }
    if (this.isStranger(address)) {
      this.unknown++
      done({ address, workload: null })
      return nothingToCancel
    }
    return this.wait(address, done)
  }

  /** Takes the new snapshot and answers those whose pod it lists. */
  update(snapshot: Snapshot): void {
    this.snapshot = snapshot
    for (const address of this.strangers.keys()) {
      if (this.living(address) !== null) this.strangers.delete(address)
    }
    for (const [address, queue] of this.queues) {
      if (this.living(address) !== null) this.answer(address, queue)
    }
  }

  /** Answers all that wait with what is known: nothing. For shutting down. */
  close(): void {
    for (const [address, queue] of this.queues) this.answer(address, queue)
  }

  /** The pod that has an address and can make calls. */
  private living(address: string): Caller['workload'] {
    const workload = this.snapshot.workloads.get(address)
    return workload?.live === true ? workload : null
  }

  private isStranger(address: string): boolean {
    const seen = this.strangers.get(address)
    if (seen === undefined) return false
    this.strangers.delete(address)
    const now = this.clock.now()
    if (now - seen > strangerMs) return false
    this.strangers.set(address, now)
    return true
  }

  private wait(address: string, done: (caller: Caller) => void): () => void {
    let queue = this.queues.get(address)
    const isFull = this.waiting >= this.maxWaiters || (queue?.waiters.size ?? 0) >= this.maxWaitersPerAddress
    if (isFull) {
      this.unknown++
      done({ address, workload: null })
      return nothingToCancel
    }
    if (queue === undefined) {
      const timer = this.clock.setTimeout(() => this.giveUp(address), this.waitMs)
      queue = { waiters: new Set(), timer }
      this.queues.set(address, queue)
    }
    // A function of its own for each wait: the same `done` may be passed twice.
    const waiter = (caller: Caller): void => done(caller)
    queue.waiters.add(waiter)
    this.waiting++
    const mine = queue
    return () => this.cancel(address, mine, waiter)
  }

  private cancel(address: string, queue: Queue, waiter: (caller: Caller) => void): void {
    if (!queue.waiters.delete(waiter)) return
    this.waiting--
    if (queue.waiters.size > 0) return
    this.clock.clearTimeout(queue.timer)
    this.queues.delete(address)
  }

  private giveUp(address: string): void {
    // The oldest gives way: Maps keep their order, and a stranger that calls again moves to the end.
    if (this.strangers.size >= maxStrangers) this.strangers.delete(this.strangers.keys().next().value!)
    this.strangers.set(address, this.clock.now())
    this.answer(address, this.queues.get(address)!)
  }

  private answer(address: string, queue: Queue): void {
    this.clock.clearTimeout(queue.timer)
    this.queues.delete(address)
    this.waiting -= queue.waiters.size
    const caller = { address, workload: this.living(address) }
    if (caller.workload === null) this.unknown += queue.waiters.size
    const waiters = [...queue.waiters]
    queue.waiters.clear()
    for (const waiter of waiters) waiter(caller)
  }
}
