// How long an endpoint is spared that asked for it with Retry-After.

import { expect } from 'chai'
import { cool, retryAfterMs } from '../../../agent/balance/cool.ts'
import { endpoint } from '../../support/snapshot.ts'

const wall = Date.UTC(2026, 0, 1)

describe('balance cool', () => {
  const cases: [string, number][] = [
    ['2', 2_000],
    [' 2 ', 2_000],
    ['0', 0],
    ['-1', 0],
    ['1.5', 0],
    ['99999', 300_000],
    ['99999999999999999999', 0],
    ['Thu, 01 Jan 2026 00:00:07 GMT', 7_000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['Fri, 01 Jan 2027 00:00:00 GMT', 300_000],
    ['soon', 0],
    ['Soon', 0],
    ['', 0],
  ]
  for (const [value, expected] of cases) {
    it(`reads ${JSON.stringify(value)} as ${expected} ms`, () => expect(retryAfterMs(value, wall)).to.equal(expected))
  }

  it('cools on 429 and 503 with a Retry-After only', () => {
    const one = endpoint('10.0.1.1')
    cool(one, 200, '5', 1_000, wall)
    cool(one, 500, '5', 1_000, wall)
    cool(one, 503, null, 1_000, wall)
    cool(one, 503, 'x', 1_000, wall)
    expect(one.coolUntil).to.equal(0)
    cool(one, 503, '5', 1_000, wall)
    expect(one.coolUntil).to.equal(6_000)
    cool(one, 429, '1', 9_000, wall)
    expect(one.coolUntil).to.equal(10_000)
  })
})
