// Finds peers that have gone without a word: a connection that is silent is asked, and given up if no answer comes. One that
// carries streams is watched closely: who doesn't answer there soon is worth a look at whether he can be reached at all.

/** A peer that said nothing for so long is asked; one that does not answer for as long again is gone. */
export const silenceMs = 15_000
/** The same for a connection with streams on it … */
const busySilenceMs = 500
/** … where so long a silence is suspicious. */
const suspiciousMs = 1_000

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
   * @param isBusy whether there are streams
   */
  check(now: number, isBusy: boolean): 'alive' | 'ask' | 'suspicious' | 'dead' {
    if (this.#hasHeard) {
      this.#hasHeard = false
      this.#isAsked = false
      this.#heardAt = now
      return 'alive'
    }
    const silent = now - this.#heardAt
    if (silent > 2 * silenceMs) return 'dead'
    if (this.#isAsked) return isBusy && silent >= suspiciousMs ? 'suspicious' : 'alive'
    if (silent < (isBusy ? busySilenceMs : silenceMs)) return 'alive'
    this.#isAsked = true
    return 'ask'
  }
}
