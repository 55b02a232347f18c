// Notices peers that keep a connection busy without using it: streams opened only to be reset (CVE-2023-44487, and by
// provoking our own resets CVE-2025-8671), and floods of frames that carry nothing.

import { codes, H2Error } from './frame.ts'

const windowMs = 1_000
/** With at least half of the streams reset. */
const maxResets = 500
const maxNoise = 5_000

export class FloodGuard {
  #since = 0
  #opened = 0
  #resets = 0
  #noise = 0

  /** A stream was opened. */
  opened(): void {
    this.#turn()
    this.#opened++
  }

  /** A stream was reset, by the peer or because of it; throws H2Error when that is too often. */
  reset(): void {
    this.#turn()
    this.#resets++
    if (this.#resets >= maxResets && this.#resets * 2 >= this.#opened)
      throw new H2Error(codes.calm, `${this.#resets} streams were reset within a second`)
  }

  /** A frame came that carries nothing; throws H2Error when that is too often. */
  noise(): void {
    this.#turn()
    this.#noise++
    if (this.#noise >= maxNoise) throw new H2Error(codes.calm, `${this.#noise} empty frames within a second`)
  }

  #turn(): void {
    const now = performance.now()
    if (now - this.#since < windowMs) return
    this.#since = now
    this.#opened = 0
    this.#resets = 0
    this.#noise = 0
  }
}
