// Token reviews are bounded: what is asked once, what is remembered, and for how long.

import { expect } from 'chai'
import { rememberReviews } from '../../../controller/authority/remember.ts'
import type { TokenFacts } from '../../../controller/authority/review.ts'
import { FakeClock } from '../../support/clock.ts'

describe('authority: remembered reviews', () => {
  const facts: TokenFacts = { username: 'u', audiences: ['a'], podName: 'p', podUid: 'x' }
  let asked: string[]
  let answer: (facts: TokenFacts | null) => void

  function reviewer(clock = new FakeClock(0, Date.now())) {
    asked = []
    const review = rememberReviews((token) => {
      asked.push(token)
      const { promise, resolve } = Promise.withResolvers<TokenFacts | null>()
      answer = resolve
      return promise
    }, clock)
    return { review, clock }
  }

  it('are asked for once by many at the same time, and again after ten seconds', async () => {
    const { review, clock } = reviewer()
    const all = [review('t', 'a'), review('t', 'a'), review('t', 'a')]
    answer(facts)
    expect(await Promise.all(all)).to.deep.equal([facts, facts, facts])
    clock.tick(9_999)
    expect(await review('t', 'a')).to.equal(facts)
    expect(asked).to.deep.equal(['t'])
    clock.tick(1)
    const again = review('t', 'a')
    answer(facts)
    await again
    expect(asked).to.deep.equal(['t', 't'])
  })

  it('are not those of other tokens or audiences, nor refusals', async () => {
    const { review } = reviewer()
    for (const [token, audience] of [
      ['t', 'a'],
      ['t', 'b'],
      ['s', 'a'],
    ] as const) {
      const one = review(token, audience)
      answer(null)
      expect(await one).to.equal(null)
    }
    const again = review('t', 'a')
    answer(facts)
    await again
    expect(asked).to.deep.equal(['t', 't', 's', 't'])
  })

  it('are bounded: who floods the link does not flood the API server', async () => {
    const { review } = reviewer()
    for (let count = 0; count < 64; count++) void review(`t${count}`, 'a')
    const thrown = await review('one more', 'a').catch((error) => error)
    expect(thrown).to.be.instanceOf(Error)
    expect(asked).to.have.length(64)
    answer(facts)
    await new Promise((resolve) => setImmediate(resolve))
    void review('one more', 'a')
    expect(asked).to.have.length(65)
  })

  it('that failed are asked for again', async () => {
    let fails = true
    const review = rememberReviews(
      () => (fails ? Promise.reject(new Error('away')) : Promise.resolve(facts)),
      new FakeClock(0, Date.now()),
    )
    expect(await review('t', 'a').catch((error) => error.message)).to.equal('away')
    fails = false
    expect(await review('t', 'a')).to.equal(facts)
  })
})
