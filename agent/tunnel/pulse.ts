// Finds peers that have gone without a word: a connection that is silent is asked, and given up if no answer comes.

/** A peer that said nothing for so long is asked; one that does not answer for as long again is gone. */
export const silenceMs = 15_000

export class Pulse {
  #heardAt = 0
  #hasHeard = true
  #isAsked = false

  /** Something came; cheap, since it is called for every read. */
  heard(): void {
    this.#hasHeard = true
  }

  /**
   * Looks at the time.
   * @param now clock's ms
   */
  check(now: number): 'alive' | 'ask' | 'dead' {
    if (this.#hasHeard) {
      this.#hasHeard = false
      this.#isAsked = false
      this.#heardAt = now
      return 'alive'
    }
    if (now - this.#heardAt > 2 * silenceMs) return 'dead'
    if (now - this.#heardAt < silenceMs || this.#isAsked) return 'alive'
    this.#isAsked = true
    return 'ask'
  }
}
