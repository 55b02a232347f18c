// In-flight limits and queues for each caller, on a clock of the test's own.

import { expect } from 'chai'
import type { MeshError } from '../../../agent/errors.ts'
import { Admission, callerKey } from '../../../agent/limits/admission.ts'
import { limitMemory, SharedLimits } from '../../../agent/limits/shared.ts'
import { FakeClock } from '../../support/clock.ts'
import { workload } from '../../support/snapshot.ts'

describe('limits admission', () => {
  let clock: FakeClock
  let memory: SharedArrayBuffer
  let log: string[]
  const make = (thread = 0, given = {}) =>
    new Admission({
      clock,
      shared: new SharedLimits(memory, thread, 2),
      inFlightPerCaller: 2,
      queuePerCaller: 2,
      queueMs: 3_000,
      ...given,
    })
  const done = (name: string) => (error: MeshError | null) => {
    log.push(error === null ? name : `${name} ${error.reason}`)
  }

  beforeEach(() => {
    clock = new FakeClock()
    memory = limitMemory(2)
    log = []
  })

  it('names a caller by its account, or by its address', () => {
    expect(callerKey({ address: '10.0.1.5', workload: workload('10.0.1.5', 'shop/a') })).to.equal('shop/a')
    expect(callerKey({ address: '172.17.0.1', workload: null })).to.equal('172.17.0.1')
  })

  it('lets in up to the limit, and again when one has left', () => {
    const one = make()
    const first = one.enter('a', 's', undefined)
    expect(one.enter('a', 's', undefined)).to.be.at.least(0)
    expect(one.enter('a', 's', undefined)).to.equal(-1)
    one.leave(first)
    expect(one.enter('a', 's', undefined)).to.be.at.least(0)
  })

  it('takes nothing from the share of another caller', () => {
    const one = make()
    for (let i = 0; i < 10; i++)
      if (one.enter('noisy', 's', undefined) < 0) one.wait('noisy', 's', undefined, done('noisy'))
    expect(log).to.have.length(6)
    expect(one.enter('quiet', 's', undefined)).to.be.at.least(0)
    expect(one.enter('quiet', 's', undefined)).to.be.at.least(0)
  })

  it('queues in order, and refuses beyond the queue at once', () => {
    const one = make()
    const first = one.enter('a', 's', undefined)
    const second = one.enter('a', 's', undefined)
    one.wait('a', 's', undefined, done('third'))
    one.wait('a', 's', undefined, done('fourth'))
    one.wait('a', 's', undefined, done('fifth'))
    expect(log).to.deep.equal(['fifth overloaded'])
    one.leave(first)
    expect(log).to.deep.equal(['fifth overloaded', 'third'])
    expect(one.enter('a', 's', undefined), 'nobody jumps the queue').to.equal(-1)
    one.leave(second)
    expect(log).to.deep.equal(['fifth overloaded', 'third', 'fourth'])
    expect(one.waiting).to.equal(0)
    expect(clock.pending).to.equal(0)
  })

  it('refuses who has waited three seconds', () => {
    const one = make()
    one.enter('a', 's', undefined)
    one.enter('a', 's', undefined)
    one.wait('a', 's', undefined, done('third'))
    clock.tick(2_990)
    expect(log).to.deep.equal([])
    clock.tick(10)
    expect(log).to.deep.equal(['third overloaded'])
    expect(clock.pending).to.equal(0)
  })

  it('forgets who gives up waiting', () => {
    const one = make()
    const first = one.enter('a', 's', undefined)
    one.enter('a', 's', undefined)
    const cancel = one.wait('a', 's', undefined, done('third'))
    cancel()
    cancel()
    one.leave(first)
    expect(log).to.deep.equal([])
    expect(one.enter('a', 's', undefined)).to.be.at.least(0)
    expect(clock.pending).to.equal(0)
  })

  it('holds its limits over all threads, and notices room that another thread makes', () => {
    const one = make(0)
    const two = make(1)
    const first = one.enter('a', 's', undefined)
    two.enter('a', 's', undefined)
    expect(two.enter('a', 's', undefined)).to.equal(-1)
    two.wait('a', 's', undefined, done('third'))
    one.wait('a', 's', undefined, done('fourth'))
    one.wait('a', 's', undefined, done('fifth'))
    expect(log, 'the queue is for the agent').to.deep.equal(['fifth overloaded'])
    one.leave(first)
    expect(log).to.deep.equal(['fifth overloaded', 'fourth'])
    two.close()
    expect(log[2]).to.equal('third draining')
    const again = one.enter('b', 's', undefined)
    one.enter('b', 's', undefined)
    two.wait('b', 's', undefined, done('sixth'))
    one.leave(again)
    clock.tick(10)
    expect(log[3]).to.equal('sixth')
  })

  it("holds a service's own limit for each caller, beside the agent's", () => {
    const one = make()
    const limits = { inFlightPerCaller: 1 }
    const first = one.enter('a', 's', limits)
    expect(one.enter('a', 's', limits)).to.equal(-1)
    one.wait('a', 's', limits, done('second'))
    expect(one.enter('b', 's', limits)).to.be.at.least(0)
    one.leave(first)
    expect(log).to.deep.equal(['second'])
    const strict = { inFlightPerCaller: 1, queuePerCaller: 0 }
    one.wait('b', 's', strict, done('third'))
    expect(log).to.deep.equal(['second', 'third overloaded'])
  })

  it('lets one that wants another service pass those that wait for a full one', () => {
    const one = make()
    const limits = { inFlightPerCaller: 1 }
    one.enter('a', 's', limits)
    one.wait('a', 's', limits, done('for s'))
    one.wait('a', 't', undefined, done('for t'))
    clock.tick(10)
    expect(log).to.deep.equal(['for t'])
  })

  it('counts every place back', () => {
    const one = make()
    const limits = { inFlightPerCaller: 1 }
    for (let i = 0; i < 100; i++) one.leave(one.enter('a', 's', limits))
    for (let i = 0; i < 100; i++) one.leave(one.enter('a', 's', undefined))
    const shared = new SharedLimits(memory, 1, 2)
    expect(shared.inFlight(shared.slot('a', clock.wall()))).to.equal(0)
    expect(shared.inFlight(shared.slot('s a', clock.wall()))).to.equal(0)
  })
})
