// How often one object is put right. Somebody who changes what we keep gets it back at once; two programs that each insist
// would write without end, so that what is undone again and again waits, longer each time, and is told of.

import type { Clock } from '../clock.ts'

/** So often within the calm an object is put right at once. */
const atOnce = 10
/** An object that nobody touched for so long is forgotten. */
const calmMs = 60_000
const firstWaitMs = 1000
const maxWaitMs = 30_000

interface Repairs {
  /** What was written last. */
  text: string
  count: number
  /** Clock's ms of the last write. */
  at: number
}

export interface Pace {
  /** How long an object must wait before this is written to it; 0: not at all. */
  waitMs(key: string, text: string): number
  /** This was written to an object. */
  wrote(key: string, text: string): void
}

/** Begins to count. */
export function openPace(clock: Clock): Pace {
  const known = new Map<string, Repairs>()

  function forget(): void {
    const now = clock.now()
    for (const [key, { at }] of known) if (now - at >= calmMs) known.delete(key)
  }

  return {
    waitMs(key, text) {
      const repairs = known.get(key)
      // Something else is wanted of it now: nobody has undone that yet.
      if (repairs === undefined || repairs.text !== text || repairs.count < atOnce) return 0
      const pauseMs = Math.min(firstWaitMs * 2 ** (repairs.count - atOnce), maxWaitMs)
      return Math.max(0, repairs.at + pauseMs - clock.now())
    },
    wrote(key, text) {
      forget()
      const before = known.get(key)
      const count = before?.text === text ? before.count + 1 : 0
      known.set(key, { text, count, at: clock.now() })
    },
  }
}
