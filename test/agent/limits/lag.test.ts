import { expect } from 'chai'
import type { Clock } from '../../../agent/clock.ts'
import { LagGate } from '../../../agent/limits/lag.ts'
import { FakeClock } from '../../support/clock.ts'

/** A clock whose next timer comes late. */
class LateClock extends FakeClock implements Clock {
  late = 0
  override setTimeout(run: () => void, ms: number) {
    const timer = super.setTimeout(run, ms + this.late)
    this.late = 0
    return timer
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

  function lag(ms: number): void {
    clock.late = ms
    clock.tick(50)
    clock.tick(50 + ms)
  }

  it('lets everything pass while the thread is on time or a little late', () => {
    clock.tick(1_000)
    expect(gate.lagMs).to.equal(0)
    expect(gate.check()).to.equal(null)
    lag(100)
    expect(gate.lagMs).to.equal(100)
    expect(gate.check()).to.equal(null)
  })

  it('refuses a part that grows with the lag, and all at a second', () => {
    lag(550)
    random = 0.49
    expect(gate.check()).to.include({ reason: 'overloaded', status: 503, retryAfter: 1 })
    random = 0.51
    expect(gate.check()).to.equal(null)
    lag(1_000)
    random = 0.999
    expect(gate.check()!.reason).to.equal('overloaded')
  })

  it('calms down by half with each measurement', () => {
    lag(400)
    expect(gate.lagMs).to.equal(400)
    clock.tick(2_000)
    expect(gate.lagMs).to.be.lessThan(1)
    expect(gate.check()).to.equal(null)
  })
})
