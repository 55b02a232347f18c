// Data thread: the snapshot in force and the one prepared to follow it. The thread's side of the two phases in thread.ts.

import { type Built, buildSteps, emptyStand, type Stand, type Surroundings } from './apply.ts'
import type { Snapshot } from './snapshot.ts'
import type { Abort, Commit, FromThread, Post, Prepare } from './thread.ts'

/** Told after a snapshot took force. */
export type OnSnapshot = (snapshot: Snapshot, before: Snapshot) => void

/** A snapshot under preparation. */
interface Job {
  readonly version: string
  readonly steps: Generator<void, Built>
}

/** Requests wait for a large change no longer than this at a time. */
const sliceMs = 2

export class Holder {
  readonly #surroundings: Surroundings
  readonly #post: Post | null
  readonly #listeners: OnSnapshot[] = []
  #stand: Stand = emptyStand
  #prepared: Built | null = null
  #job: Job | null = null

  /** @param post takes the answer to a change that is too large to be prepared in one go; without it, none is */
  constructor(surroundings: Surroundings, post: Post | null = null) {
    this.#surroundings = surroundings
    this.#post = post
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
   * @returns the answer to post; null if it has none, or none yet
   */
  handle(message: Prepare | Commit | Abort): FromThread | null {
    if (message.type === 'prepare') return this.#prepare(message)
    if (message.type === 'commit') return this.#commit(message)
    this.#prepared = null
    this.#job = null
    return null
  }

  #prepare({ version, change }: Prepare): FromThread | null {
    this.#prepared = null
    this.#job = { version, steps: buildSteps(this.#stand, version, change, this.#surroundings) }
    return this.#goOn(this.#job)
  }

  /** Prepares for a while. */
  #goOn(job: Job): FromThread | null {
    const { now } = this.#surroundings
    const until = now() + sliceMs
    try {
      for (;;) {
        const step = job.steps.next()
        if (step.done) {
          this.#job = null
          this.#prepared = step.value
          return { type: 'prepared', version: job.version }
        }
        if (this.#post !== null && now() >= until) break
      }
    } catch (error) {
      this.#job = null
      return { type: 'refused', version: job.version, message: error instanceof Error ? error.message : String(error) }
    }
    setImmediate(() => {
      // Another change, or none at all, may be wanted by now.
      const answer = this.#job === job ? this.#goOn(job) : null
      if (answer !== null) this.#post!(answer)
    })
    return null
  }

  /** @throws as buildSteps */
  #finish({ steps }: Job): void {
    this.#job = null
    for (let step = steps.next(); ; step = steps.next()) {
      if (!step.done) continue
      this.#prepared = step.value
      return
    }
  }

  #commit({ version }: Commit): FromThread {
    // The answer that the control thread goes by was to an earlier try of the same version, which it had given up.
    if (this.#job?.version === version) this.#finish(this.#job)
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
