// How far an agent is behind: the versions that it was sent and has not reported to be in force, each with the time from
// which it could have had them.

import type { Clock } from '../clock.ts'

export interface Unacked {
  /** There is a newer state than the one last sent. */
  published(): void
  /** A version leaves for the agent. */
  sent(version: string): void
  /** The agent has a version in force. */
  acknowledged(version: string): void
  /** For how long the agent has not had the newest state; 0: it has it. */
  lagMs(): number
}

/** Agents gather what they report for up to three seconds: who is not further behind than this may be in step. */
export const gatheredMs = 5000

/** Of an agent that never reports no more is kept; the first one counts. */
const limit = 64

/** Opens the account of one session. */
export function openUnacked(clock: Clock): Unacked {
  let open: { version: string; since: number }[] = []
  /** Since when there has been something to send; null: all was sent. */
  let dueSince: number | null = clock.now()

  return {
    published() {
      dueSince ??= clock.now()
    },
    sent(version) {
      open.push({ version, since: dueSince ?? clock.now() })
      dueSince = null
      if (open.length > limit) open.splice(1, 1)
    },
    acknowledged(version) {
      const at = open.findLastIndex((each) => each.version === version)
      if (at !== -1) open = open.slice(at + 1)
    },
    lagMs() {
      const since = open[0]?.since ?? dueSince
      return since === null ? 0 : clock.now() - since
    },
  }
}
