// Data thread: the snapshot in force and the one prepared to follow it. The thread's side of the two phases in thread.ts.

import { type Built, buildNext, emptyStand, type Stand, type Surroundings } from './apply.ts'
import type { Snapshot } from './snapshot.ts'
import type { Abort, Commit, FromThread, Prepare } from './thread.ts'

/** Told after a snapshot took force. */
export type OnSnapshot = (snapshot: Snapshot, before: Snapshot) => void

export class Holder {
  readonly #surroundings: Surroundings
  readonly #listeners: OnSnapshot[] = []
  #stand: Stand = emptyStand
  #prepared: Built | null = null

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
  }

  /** In force now; version '' before the first. Read it once per exchange. */
  get snapshot(): Snapshot {
    return this.#stand.snapshot
  }

  /** Listeners run in the order they were added. They must not throw: the snapshot is in force already. */
  onChange(listener: OnSnapshot): void {
    this.#listeners.push(listener)
  }

  /**
   * Takes a message about snapshots.
   * @returns the answer to post; null if it has none
   */
  handle(message: Prepare | Commit | Abort): FromThread | null {
    if (message.type === 'prepare') return this.#prepare(message)
    if (message.type === 'commit') return this.#commit(message)
    this.#prepared = null
    return null
  }

  #prepare({ version, change }: Prepare): FromThread {
    try {
      this.#prepared = buildNext(this.#stand, version, change, this.#surroundings)
      return { type: 'prepared', version }
    } catch (error) {
      this.#prepared = null
      return { type: 'refused', version, message: error instanceof Error ? error.message : String(error) }
    }
  }

  #commit({ version }: Commit): FromThread {
    const built = this.#prepared
    // Can't be answered by a refusal: other threads have committed. Out of step, this thread must be replaced.
    if (built?.stand.snapshot.version !== version)
      throw new Error(`commit of version ${version}, which is not prepared`)
    const before = this.#stand.snapshot
    this.#prepared = null
    this.#stand = built.stand
    for (const endpoint of built.retired) endpoint.retire()
    for (const listener of this.#listeners) listener(built.stand.snapshot, before)
    return { type: 'committed', version }
  }
}
