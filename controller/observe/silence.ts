// Notices that a watch has gone silent. A connection whose other end is gone without a word stays open for ever; only the
// bookmarks that the API server sends about once a minute tell a quiet watch from a dead one.

import type { Clock } from '../clock.ts'

export interface Silence {
  /** Something was heard. */
  heard(): void
  /** Aborted when nothing was heard for too long; its reason says so. */
  readonly signal: AbortSignal
  end(): void
}

/** Bookmarks come every 60 to 75 s. */
const silenceMs = 90_000
/** Silence is counted in steps rather than read from the clock: a process that was stopped itself has not listened. */
const steps = 6

/** Starts to listen. */
export function openSilence(clock: Clock): Silence {
  const ending = new AbortController()
  const dead = new AbortController()
  let quiet = 0

  async function count(): Promise<void> {
    while (!ending.signal.aborted) {
      await clock.sleep(silenceMs / steps, ending.signal)
      if (ending.signal.aborted || ++quiet < steps) continue
      dead.abort(new Error(`nothing was heard for ${silenceMs / 1000} s, not even a bookmark`))
      return
    }
  }
  void count()

  return {
    heard() {
      quiet = 0
    },
    signal: dead.signal,
    end: () => ending.abort(),
  }
}
