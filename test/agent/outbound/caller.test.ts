// From a source address to a pod, and how long an address that is not known yet waits.

import { expect } from 'chai'
import { MeshError } from '../../../agent/errors.ts'
import type { Caller } from '../../../agent/exchange.ts'
import { CallerDesk, callerNamespace, canonicalAddress, hasMoved } from '../../../agent/outbound/caller.ts'
import { FakeClock } from '../../support/clock.ts'
import { snapshot, workload } from '../../support/snapshot.ts'

const pod = workload('10.0.1.5', 'shop/productpage', { name: 'uid-a' })

describe('outbound caller', () => {
  let clock: FakeClock
  let answers: Caller[]
  const done = (caller: Caller): void => {
    answers.push(caller)
  }
  const desk = (options = {}, first = snapshot({ workloads: [pod] })) =>
    new CallerDesk(first, { clock, own: ['10.0.1.2'], ...options })

  beforeEach(() => {
    clock = new FakeClock()
    answers = []
  })

  it('spells an address in one way', () => {
    expect(canonicalAddress('::ffff:10.0.1.5')).to.equal('10.0.1.5')
    expect(canonicalAddress('::FFFF:10.0.1.5')).to.equal('10.0.1.5')
    expect(canonicalAddress('FD00::1')).to.equal('fd00::1')
    expect(canonicalAddress('::ffff:1')).to.equal('::ffff:1')
  })

  it('answers at once for a pod of this node, whatever the spelling', () => {
    desk().lookup('::ffff:10.0.1.5', done)
    expect(answers).to.deep.equal([{ address: '10.0.1.5', workload: pod }])
    expect(callerNamespace(answers[0]!)).to.equal('shop')
  })

  it('answers as soon as a waiting address is mapped', () => {
    const one = desk()
    one.lookup('10.0.1.6', done)
    one.lookup('10.0.1.6', done)
    clock.tick(2_900)
    expect(answers).to.deep.equal([])
    const late = workload('10.0.1.6', 'shop/ratings')
    one.update(snapshot({ workloads: [pod, late] }))
    expect(answers.map((caller) => caller.workload)).to.deep.equal([late, late])
    expect(one.waiters).to.equal(0)
    expect(clock.pending).to.equal(0)
  })

  it('waits for the next pod where the one with the address has ended', () => {
    const ended = { ...pod, live: false }
    const one = desk({}, snapshot({ workloads: [ended] }))
    one.lookup('10.0.1.5', done)
    one.update(snapshot({ workloads: [ended] }))
    expect(answers).to.deep.equal([])
    const next = workload('10.0.1.5', 'shop/ratings')
    one.update(snapshot({ workloads: [next] }))
    expect(answers).to.deep.equal([{ address: '10.0.1.5', workload: next }])
    one.update(snapshot({ workloads: [ended] }))
    one.lookup('10.0.1.5', done)
    clock.tick(3_000)
    expect(answers[1]).to.deep.equal({ address: '10.0.1.5', workload: null })
  })

  it('answers without identity after three seconds, and then remembers the stranger', () => {
    const one = desk()
    one.lookup('172.17.0.1', done)
    clock.tick(2_999)
    expect(answers).to.have.length(0)
    clock.tick(1)
    expect(answers).to.deep.equal([{ address: '172.17.0.1', workload: null }])
    expect(callerNamespace(answers[0]!)).to.equal('')
    for (let i = 0; i < 10; i++) {
      clock.tick(20_000)
      one.lookup('172.17.0.1', done)
      expect(answers).to.have.length(i + 2)
    }
    clock.tick(30_001)
    one.lookup('172.17.0.1', done)
    expect(one.waiters).to.equal(1)
  })

  it('forgets a stranger that turns out to be a pod, and waits for it again when it is gone', () => {
    const one = desk()
    one.lookup('10.0.1.9', done)
    clock.tick(3_000)
    const late = workload('10.0.1.9')
    one.update(snapshot({ workloads: [late] }))
    one.lookup('10.0.1.9', done)
    expect(answers[1]!.workload).to.equal(late)
    one.update(snapshot())
    one.lookup('10.0.1.9', done)
    expect(one.waiters).to.equal(1)
  })

  it('lets no more wait than it is told, altogether and per address', () => {
    const one = desk({ maxWaiters: 3, maxWaitersPerAddress: 2 })
    one.lookup('10.0.1.7', done)
    one.lookup('10.0.1.7', done)
    one.lookup('10.0.1.7', done)
    expect(answers).to.have.length(1)
    one.lookup('10.0.1.8', done)
    one.lookup('10.0.1.9', done)
    expect(answers.map((caller) => caller.address)).to.deep.equal(['10.0.1.7', '10.0.1.9'])
    expect(one.waiters).to.equal(3)
    one.lookup('10.0.1.5', done)
    expect(answers[2]!.workload).to.equal(pod)
  })

  it('ends a cancelled wait without an answer, and its timer with the last', () => {
    const one = desk()
    const cancel = one.lookup('10.0.1.7', done)
    const another = one.lookup('10.0.1.7', done)
    cancel()
    cancel()
    expect(one.waiters).to.equal(1)
    another()
    expect(one.waiters).to.equal(0)
    expect(clock.pending).to.equal(0)
    clock.tick(5_000)
    expect(answers).to.have.length(0)
  })

  it('answers all that wait when it closes', () => {
    const one = desk()
    one.lookup('10.0.1.7', done)
    one.close()
    expect(answers).to.deep.equal([{ address: '10.0.1.7', workload: null }])
    expect(clock.pending).to.equal(0)
  })

  it("refuses the agent's own address", () => {
    expect(() => desk().lookup('::ffff:10.0.1.2', done))
      .to.throw(MeshError)
      .with.property('reason', 'loop')
  })

  describe('hasMoved', () => {
    const caller: Caller = { address: '10.0.1.5', workload: pod }
    const cases: [string, Caller, ReturnType<typeof workload>[], boolean][] = [
      ['the same pod', caller, [pod], false],
      ['the pod has ended', caller, [{ ...pod, live: false }], false],
      ['nobody lists the address any more', caller, [], false],
      ['another pod took the address', caller, [{ ...pod, name: 'uid-b' }], true],
      ['nobody was known, and nobody is', { address: '10.0.1.7', workload: null }, [pod], false],
      ['nobody was known, and a pod is now', { address: '10.0.1.5', workload: null }, [pod], true],
    ]
    for (const [title, who, workloads, expected] of cases) {
      it(title, () => expect(hasMoved(who, snapshot({ workloads }))).to.equal(expected))
    }
  })
})
