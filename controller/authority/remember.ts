// Token reviews within bounds: anybody who reaches the agents' link can show a token, and each costs the API server a
// request. What was found valid is remembered for a few seconds, by its hash; equal questions are asked once.

import { hash } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { TokenFacts, TokenReviewer } from './review.ts'

/** A token found valid is not asked about again for so long; its pod is looked at each time. */
const reviewedMs = 10_000
/** More than the agents of a large cluster ask at once after a restart of all controllers, when spread by their back-off. */
const maxAsking = 64

/** The reviewer with a memory; beyond its bound it rejects: whoever asks is to come again. */
export function rememberReviews(review: TokenReviewer, clock: Clock): TokenReviewer {
  const known = new Map<string, { until: number; facts: TokenFacts }>()
  const asking = new Map<string, Promise<TokenFacts | null>>()

  function forgetOld(now: number): void {
    for (const [key, { until }] of known) {
      // In the order of their time.
      if (until > now) return
      known.delete(key)
    }
  }

  async function ask(key: string, token: string, audience: string): Promise<TokenFacts | null> {
    const facts = await review(token, audience)
    if (facts !== null) {
      known.delete(key)
      known.set(key, { until: clock.now() + reviewedMs, facts })
    }
    return facts
  }

  return async (token, audience) => {
    const key = hash('sha256', `${audience} ${token}`)
    forgetOld(clock.now())
    const found = known.get(key)
    if (found !== undefined) return found.facts
    const pending = asking.get(key)
    if (pending !== undefined) return pending
    if (asking.size >= maxAsking) throw new Error(`${maxAsking} tokens are being reviewed already`)
    const asked = ask(key, token, audience).finally(() => asking.delete(key))
    asking.set(key, asked)
    return asked
  }
}
