// Control thread: keeps the accounts that certificates are wanted for in step with the snapshot.

import type { Clock, Timer } from '../clock.ts'
import { accountsOf } from '../mesh/accounts.ts'
import type { Wanted } from '../mesh/store.ts'
import type { IdentityPart } from './identity.ts'

/** Changes come in bursts while a Deployment rolls: the first is followed at once, the rest together. */
const gatherMs = 250
/** With an authority at hand, certificates take a fraction of this. */
const waitMs = 3000

export interface Follower {
  /** A snapshot has come into force. */
  applied(wanted: Wanted): void
  /**
   * What readiness waits for: peers are sent to a node's pods as soon as its agent is ready. An authority that is away
   * holds it up for three seconds after the first snapshot, no longer.
   */
  blocker(): string | null
  stop(): void
}

/** Starts to follow; nothing is wanted before the first snapshot. */
export function followAccounts(clock: Clock, identity: IdentityPart): Follower {
  let latest: Wanted | null = null
  let timer: Timer | null = null
  let firstAt: number | null = null
  let isComplete = false

  function retain(): void {
    if (latest === null) return
    const { present, ahead } = accountsOf(latest)
    latest = null
    identity.retain(present, ahead)
    timer = clock.setTimeout(() => {
      timer = null
      retain()
    }, gatherMs)
    timer.unref()
  }

  return {
    applied(wanted) {
      latest = wanted
      firstAt ??= clock.now()
      if (timer === null) retain()
    },
    blocker() {
      if (isComplete || firstAt === null) return null
      const trouble = identity.trouble()
      const missing = identity.list().filter(({ expires }) => expires === 0).length
      isComplete = (trouble === '' && missing === 0) || clock.now() - firstAt >= waitMs
      return isComplete ? null : trouble || `the certificates of ${missing} accounts`
    },
    stop() {
      if (timer !== null) clock.clearTimeout(timer)
      latest = null
    },
  }
}
