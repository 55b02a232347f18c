// Shedding by event-loop lag: what counts as an overload, and what is only a pause.

import { expect } from 'chai'
import type { Clock } from '../../../agent/clock.ts'
import { LagGate } from '../../../agent/limits/lag.ts'
import { FakeClock } from '../../support/clock.ts'

/** A clock whose timers come late. */
class LateClock extends FakeClock implements Clock {
  late = 0
  override setTimeout(run: () => void, ms: number) {
    return super.setTimeout(run, ms + this.late)
  }
}

describe('limits lag', () => {
  let clock: LateClock
  let random: number
  let gate: LagGate

  beforeEach(() => {
    clock = new LateClock()
    random = 0
    gate = new LagGate(clock, () => random)
    gate.start()
  })
  afterEach(() => {
    gate.stop()
    expect(clock.pending).to.equal(0)
  })

  /** Ten measurements in a row come so late. */
  function lag(ms: number): void {
    clock.late = ms
    clock.tick(50)
    for (let count = 0; count < 10; count++) clock.tick(50 + ms)
    clock.late = 0
  }

  it('lets everything pass while the thread is on time or a little late', () => {
    clock.tick(1_000)
    expect(gate.lagMs).to.equal(0)
    expect(gate.check()).to.equal(null)
    lag(100)
    expect(gate.lagMs).to.be.closeTo(100, 50)
    expect(gate.check()).to.equal(null)
  })

  it('takes a long pause that is over for no overload', () => {
    clock.late = 5_000
    clock.tick(50)
    clock.late = 0
    clock.tick(5_050)
    expect(gate.lagMs).to.equal(0)
    expect(gate.check()).to.equal(null)
  })

  it('refuses a part that grows with the standing lag, and all at a second', () => {
    lag(600)
    const share = (gate.lagMs - 100) / 900
    expect(share).to.be.within(0.4, 0.6)
    random = share - 0.01
    expect(gate.check()).to.include({ reason: 'overloaded', status: 503, retryAfter: 1 })
    random = share + 0.01
    expect(gate.check()).to.equal(null)
    lag(1_100)
    lag(1_100)
    random = 0.999
    expect(gate.check()!.reason).to.equal('overloaded')
  })

  it('is calm after one timely measurement', () => {
    lag(600)
    expect(gate.check()).not.to.equal(null)
    // The one that was set late already, then one in time.
    clock.tick(650)
    clock.tick(50)
    expect(gate.check()).to.equal(null)
  })
})
