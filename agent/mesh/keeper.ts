// Control thread: keeps the snapshot in force and leads the data threads from one to the next, all of them or none.

import type { Clock, Timer } from '../clock.ts'
import { type Change, changeBetween, nothing, refusalOf, type Wanted } from './store.ts'
import type { FromThread, ToThread } from './thread.ts'

/** A data thread, as far as snapshots go. */
export interface Member {
  readonly name: string
  post(message: ToThread): void
}

/** A prepare takes milliseconds; a thread that is silent for so long is not well, and one sick thread must not block news. */
const answerMs = 10_000

type Reply = Extract<FromThread, { type: 'prepared' | 'committed' | 'refused' }>

/** null: the thread has gone. */
type Settle = (reply: Reply | null) => void

interface Waiting {
  readonly version: string
  readonly phase: 'prepare' | 'commit'
  readonly settle: Settle
}

export class Keeper {
  readonly #clock: Clock
  readonly #onApplied: (wanted: Wanted) => void
  readonly #members = new Set<Member>()
  readonly #gone = new WeakSet<Member>()
  readonly #waiting = new Map<Member, Waiting>()
  #inForce: Wanted = nothing
  #appliedAt = 0
  /** Changes happen one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  /** @param onApplied told whenever another snapshot took force on all threads */
  constructor(clock: Clock, onApplied: (wanted: Wanted) => void) {
    this.#clock = clock
    this.#onApplied = onApplied
  }

  /** What every thread works from; its version is '' before the first. */
  get inForce(): Wanted {
    return this.#inForce
  }

  /** Clock's ms when it took force. */
  get appliedAt(): number {
    return this.#appliedAt
  }

  /** Brings a thread that has just started up to what is in force. Resolves once it is, or has gone. */
  join(member: Member): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#inForce !== nothing) {
        const change = changeBetween(nothing, this.#inForce)
        const refusal = await this.#lead([member], change)
        if (refusal !== null) throw new Error(`a new data thread refuses the snapshot in force: ${refusal}`)
      }
      if (!this.#gone.has(member)) this.#members.add(member)
    })
  }

  /** Forgets a thread that has ended; whoever waits for it no longer does. */
  leave(member: Member): void {
    this.#gone.add(member)
    this.#members.delete(member)
    this.#waiting.get(member)?.settle(null)
  }

  /**
   * Puts a snapshot in force on all threads, or on none.
   * @returns why not; null if it is in force now
   */
  offer(wanted: Wanted): Promise<string | null> {
    return this.#inTurn(async () => {
      const refusal = refusalOf(wanted) ?? (await this.#lead([...this.#members], changeBetween(this.#inForce, wanted)))
      if (refusal !== null) return refusal
      this.#inForce = wanted
      this.#appliedAt = this.#clock.now()
      this.#onApplied(wanted)
      return null
    })
  }

  /** Takes a thread's answer. */
  handle(member: Member, reply: Reply): void {
    const waiting = this.#waiting.get(member)
    const isAwaited =
      waiting?.version === reply.version && (waiting.phase === 'commit') === (reply.type === 'committed')
    if (isAwaited) waiting.settle(reply)
  }

  async #lead(members: readonly Member[], { version, bytes }: Change): Promise<string | null> {
    const prepared = await Promise.all(
      members.map((member) => this.#ask(member, 'prepare', { type: 'prepare', version, change: bytes })),
    )
    const refusal = prepared.find((reply) => reply !== null)
    if (refusal !== undefined) {
      for (const member of members) member.post({ type: 'abort', version })
      return refusal
    }
    await Promise.all(members.map((member) => this.#ask(member, 'commit', { type: 'commit', version })))
    return null
  }

  /** Resolves with a thread's refusal, or null: it agrees, or has gone, so that its opinion is no matter. */
  #ask(member: Member, phase: Waiting['phase'], message: ToThread & { version: string }): Promise<string | null> {
    if (this.#gone.has(member)) return Promise.resolve(null)
    return new Promise((resolve) => {
      const done = (refusal: string | null) => {
        this.#clock.clearTimeout(timer)
        this.#waiting.delete(member)
        resolve(refusal)
      }
      const timer: Timer = this.#clock.setTimeout(
        () => done(phase === 'prepare' ? `${member.name} did not answer within ${answerMs} ms` : null),
        answerMs,
      )
      const settle: Settle = (reply) => done(reply?.type === 'refused' ? reply.message : null)
      this.#waiting.set(member, { version: message.version, phase, settle })
      member.post(message)
    })
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(run)
    this.#turn = result.catch(() => undefined)
    return result
  }
}
