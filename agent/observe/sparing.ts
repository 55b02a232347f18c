// Logs what others can cause as often as they like: the first line of a kind at once, then one a minute that says how many
// were left out. Nobody can write the log full, whatever he sends.

import type { Clock } from '../clock.ts'
import type { Log } from './log.ts'

const pauseMs = 60_000
/** Kinds that are told apart at the same time. */
const kindsMost = 256
/** The kind of all that find no room. */
const rest = ''

interface Kind {
  /** Clock's ms of its last line. */
  at: number
  left: number
}

export class Sparing {
  readonly #log: Log
  readonly #clock: Clock
  readonly #kinds = new Map<string, Kind>()

  constructor(log: Log, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  /**
   * Warns, or counts.
   * @param kind what makes it the same as others
   */
  warn(kind: string, fields: Record<string, unknown>, message: string): void {
    const now = this.#clock.now()
    const known = this.#kinds.get(kind)
    if (known !== undefined && now - known.at < pauseMs) {
      known.left++
      return
    }
    const left = known?.left ?? 0
    if (known === undefined && kind !== rest && !this.#makeRoom(now)) {
      this.warn(rest, fields, message)
      return
    }
    this.#kinds.set(kind, { at: now, left: 0 })
    this.#log.warn(left === 0 ? fields : { ...fields, leftOut: left }, message)
  }

  #makeRoom(now: number): boolean {
    if (this.#kinds.size < kindsMost) return true
    for (const [kind, { at }] of this.#kinds) if (now - at >= pauseMs) this.#kinds.delete(kind)
    return this.#kinds.size < kindsMost
  }
}
