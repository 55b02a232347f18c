// The load estimate behind P2C: peak EWMA on a clock of the test's own, and slow start.

import { expect } from 'chai'
import { ewmaScore, expectedMs, leastScore, observe, observeFailure, warmth } from '../../../agent/balance/load.ts'
import { endpoint } from '../../support/snapshot.ts'

describe('balance load', () => {
  it('expects 30 ms of an endpoint that was never asked, less as time goes by', () => {
    const one = endpoint('10.0.1.1', {}, 1_000)
    expect(expectedMs(one, 1_000)).to.equal(30)
    expect(expectedMs(one, 11_000)).to.be.closeTo(30 / Math.E, 1e-9)
  })

  it('goes up at once and down slowly', () => {
    const one = endpoint('10.0.1.1')
    observe(one, 10, 1_000)
    expect(expectedMs(one, 1_000)).to.equal(10)
    observe(one, 500, 1_000)
    expect(expectedMs(one, 1_000)).to.equal(500)
    observe(one, 10, 1_000)
    expect(expectedMs(one, 1_000)).to.equal(500)
    observe(one, 10, 11_000)
    expect(expectedMs(one, 11_000)).to.be.closeTo(500 / Math.E + 10 * (1 - 1 / Math.E), 1e-9)
  })

  it('never expects less than a millisecond', () => {
    const one = endpoint('10.0.1.1')
    observe(one, 2, 1_000)
    expect(expectedMs(one, 1e9)).to.equal(1)
  })

  it('counts a refusal as a second, however quick it was, and a time-out as what it took', () => {
    const one = endpoint('10.0.1.1')
    observeFailure(one, 0.2, 1_000)
    expect(expectedMs(one, 1_000)).to.equal(1_000)
    observeFailure(one, 15_000, 1_000)
    expect(expectedMs(one, 1_000)).to.equal(15_000)
  })

  it('multiplies by the requests in flight and the one to come', () => {
    const one = endpoint('10.0.1.1')
    observe(one, 10, 1_000)
    one.inFlight = 4
    expect(ewmaScore(one, 1_000, 0)).to.equal(50)
    expect(leastScore(one, 1_000, 0)).to.equal(5)
  })

  it('puts first who is idle and was never asked, or not for a second', () => {
    const one = endpoint('10.0.1.1', {}, 1_000)
    expect(ewmaScore(one, 1_000, 0)).to.equal(0)
    one.inFlight = 1
    expect(ewmaScore(one, 1_000, 0)).to.equal(60)
    one.inFlight = 0
    observe(one, 500, 2_000)
    expect(ewmaScore(one, 2_000, 0)).to.equal(500)
    expect(ewmaScore(one, 2_999, 0)).to.be.above(400)
    expect(ewmaScore(one, 3_000, 0)).to.equal(0)
    expect(ewmaScore(one, 3_000, 10_000), 'in slow start').to.be.above(400)
  })

  it('warms from a tenth to all', () => {
    const one = endpoint('10.0.1.1', {}, 1_000)
    expect(warmth(one, 1_000, 0)).to.equal(1)
    expect(warmth(one, 1_000, 10_000)).to.equal(0.1)
    expect(warmth(one, 6_000, 10_000)).to.equal(0.5)
    expect(warmth(one, 11_000, 10_000)).to.equal(1)
    expect(leastScore(one, 6_000, 10_000)).to.equal(2)
  })
})
