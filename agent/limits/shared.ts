// Counters of the limits, in memory that all data threads share: a limit holds for the agent, not for each thread. A key
// (a caller, a service, or both) has a slot; every thread counts in a row of its own, so that a thread that dies takes its
// counts along, and reads the sum of all rows.

import type { RateLimit } from '../../controller/contract/resources.ts'
import { hash32 } from '../balance/ring.ts'

/** Callers and services of one node, with room to spare. */
const slots = 4_096
const probes = 32
/** A slot unused for so long may be given to another key. */
const idleSeconds = 600
/** Keys whose slot a thread remembers. */
const maxRemembered = 8_192
/** What keys share that find no slot: too strict for them rather than without a limit. */
const overflow = 0

const nanos = 1_000_000n

interface Place {
  readonly slot: number
  readonly generation: number
}

/** Bytes that the counters of an agent take. */
function sizeBytes(threads: number): number {
  return slots * (8 + 8 + 4 + 4) + threads * slots * 8
}

/** Makes the memory; once for each agent, by its control thread. */
export function limitMemory(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(sizeBytes(threads))
}

export class SharedLimits {
  private readonly threads: number
  private readonly row: number
  private readonly keys: BigInt64Array
  /** For each slot, when its token bucket will be full again: ns since the epoch. */
  private readonly fullAt: BigInt64Array
  /** Changes when a slot is given to another key. */
  private readonly generations: Int32Array
  /** Seconds since the epoch. */
  private readonly usedAt: Int32Array
  private readonly flying: Int32Array
  private readonly queued: Int32Array
  private readonly places = new Map<string, Place>()

  /**
   * @param memory from `limitMemory` for as many threads
   * @param thread this one's number, from 0; the counts of a predecessor of the same number are dropped
   */
  constructor(memory: SharedArrayBuffer, thread: number, threads: number) {
    if (memory.byteLength !== sizeBytes(threads))
      throw new RangeError(`the limits' memory is not for ${threads} threads`)
    this.threads = threads
    this.row = thread * slots
    this.keys = new BigInt64Array(memory, 0, slots)
    this.fullAt = new BigInt64Array(memory, slots * 8, slots)
    this.generations = new Int32Array(memory, slots * 16, slots)
    this.usedAt = new Int32Array(memory, slots * 20, slots)
    this.flying = new Int32Array(memory, slots * 24, threads * slots)
    this.queued = new Int32Array(memory, slots * 24 + threads * slots * 4, threads * slots)
    this.flying.fill(0, this.row, this.row + slots)
    this.queued.fill(0, this.row, this.row + slots)
  }

  /**
   * The slot of a key.
   * @param wall ms since the epoch
   */
  slot(key: string, wall: number): number {
    const seconds = Math.floor(wall / 1_000)
    const known = this.places.get(key)
    if (known !== undefined && Atomics.load(this.generations, known.slot) === known.generation) {
      if (this.usedAt[known.slot] !== seconds) Atomics.store(this.usedAt, known.slot, seconds)
      return known.slot
    }
    const slot = this.claim(key, seconds)
    Atomics.store(this.usedAt, slot, seconds)
    if (this.places.size >= maxRemembered) this.places.clear()
    this.places.set(key, { slot, generation: Atomics.load(this.generations, slot) })
    return slot
  }

  /** Requests in flight, in all threads. */
  inFlight(slot: number): number {
    return this.sum(this.flying, slot)
  }

  /** Requests that wait, in all threads. */
  waiting(slot: number): number {
    return this.sum(this.queued, slot)
  }

  /** Counts a request of this thread in (1) or out (-1). */
  addInFlight(slot: number, by: 1 | -1): void {
    Atomics.add(this.flying, this.row + slot, by)
  }

  addWaiting(slot: number, by: 1 | -1): void {
    Atomics.add(this.queued, this.row + slot, by)
  }

  /**
   * Takes a token from a slot's bucket (the generic cell rate algorithm: one number says it all).
   * @param wall ms since the epoch: the one clock that all threads share; a jump of it costs at most one burst
   * @returns 0 if there was one, else ms until there is
   */
  take(slot: number, rate: RateLimit, wall: number): number {
    const interval = intervalOf(rate)
    const burst = interval * BigInt(Math.max(1, Math.floor(rate.burst)))
    const now = BigInt(Math.floor(wall)) * nanos
    for (;;) {
      const before = Atomics.load(this.fullAt, slot)
      // No bucket can be further from full than empty: a value beyond comes from a clock that was set back.
      if (before > now + burst) {
        Atomics.compareExchange(this.fullAt, slot, before, now + burst)
        continue
      }
      const after = (before < now ? now : before) + interval
      if (after > now + burst) return Math.max(1, Number((after - burst - now) / nanos))
      if (Atomics.compareExchange(this.fullAt, slot, before, after) === before) return 0
    }
  }

  /** Gives a token back that was not needed after all. */
  giveBack(slot: number, rate: RateLimit): void {
    Atomics.sub(this.fullAt, slot, intervalOf(rate))
  }

  private sum(rows: Int32Array, slot: number): number {
    let sum = 0
    for (let thread = 0; thread < this.threads; thread++) sum += Atomics.load(rows, thread * slots + slot)
    return sum
  }

  /** Finds the key's slot, or makes an empty or long unused one its own. */
  private claim(key: string, seconds: number): number {
    const name = nameOf(key)
    const first = hash32(key, 1) % (slots - 1)
    let idle = overflow
    for (let i = 0; i < probes; i++) {
      const slot = 1 + ((first + i) % (slots - 1))
      const owner = Atomics.load(this.keys, slot)
      if (owner === name) return slot
      if (owner === 0n) {
        const winner = Atomics.compareExchange(this.keys, slot, 0n, name)
        if (winner === 0n || winner === name) return slot
      } else if (idle === overflow && this.isIdle(slot, seconds)) idle = slot
    }
    return idle === overflow ? overflow : this.takeOver(idle, name)
  }

  private isIdle(slot: number, seconds: number): boolean {
    const isOld = seconds - Atomics.load(this.usedAt, slot) > idleSeconds
    return isOld && this.inFlight(slot) === 0 && this.waiting(slot) === 0
  }

  private takeOver(slot: number, name: bigint): number {
    const owner = Atomics.load(this.keys, slot)
    if (Atomics.compareExchange(this.keys, slot, owner, name) !== owner) return overflow
    Atomics.add(this.generations, slot, 1)
    Atomics.store(this.fullAt, slot, 0n)
    return slot
  }
}

/** Ns from one token to the next. */
function intervalOf(rate: RateLimit): bigint {
  return BigInt(Math.max(1, Math.round(1e9 / Math.max(rate.perSecond, 1e-6))))
}

/** 64 bits of a key, never 0. */
function nameOf(key: string): bigint {
  const name = BigInt.asIntN(64, (BigInt(hash32(key, 2)) << 32n) | BigInt(hash32(key, 3)))
  return name === 0n ? 1n : name
}
