// Streams of one connection that have something to send and wait for room: each sends one frame in its turn, so that a
// large message delays no small one.

import type { Channel } from './channel.ts'

export class Turns {
  readonly #waiting = new Set<Channel>()
  readonly #mayGoOn: () => boolean
  #isRunning = false

  /** @param mayGoOn whether the connection has room and window */
  constructor(mayGoOn: () => boolean) {
    this.#mayGoOn = mayGoOn
  }

  /** The channel's `pump` is called when there is room. */
  add(channel: Channel): void {
    this.#waiting.add(channel)
  }

  remove(channel: Channel): void {
    this.#waiting.delete(channel)
  }

  /** Lets streams send until there is no more room, or nothing to send. */
  run(): void {
    // A stream that is told to go on may write, and come back here.
    if (this.#isRunning) return
    this.#isRunning = true
    while (this.#waiting.size > 0 && this.#mayGoOn()) {
      const due = [...this.#waiting]
      this.#waiting.clear()
      for (const channel of due) channel.pump(true)
    }
    this.#isRunning = false
  }
}
