// Counters and token buckets in memory that all data threads share.

import { Worker } from 'node:worker_threads'
import { expect } from 'chai'
import { limitMemory, SharedLimits } from '../../../agent/limits/shared.ts'

const wall = Date.UTC(2026, 0, 1)

describe('limits shared', () => {
  it('counts in flight and waiting over all threads', () => {
    const memory = limitMemory(2)
    const one = new SharedLimits(memory, 0, 2)
    const two = new SharedLimits(memory, 1, 2)
    const slot = one.slot('shop/a', wall)
    expect(two.slot('shop/a', wall)).to.equal(slot)
    expect(two.slot('shop/b', wall)).not.to.equal(slot)
    one.addInFlight(slot, 1)
    two.addInFlight(slot, 1)
    two.addWaiting(slot, 1)
    expect(one.inFlight(slot)).to.equal(2)
    expect(one.waiting(slot)).to.equal(1)
    two.addInFlight(slot, -1)
    expect(one.inFlight(slot)).to.equal(1)
  })

  it("drops a dead thread's counts when another takes its number", () => {
    const memory = limitMemory(2)
    const one = new SharedLimits(memory, 0, 2)
    const slot = one.slot('shop/a', wall)
    one.addInFlight(slot, 1)
    const dying = new SharedLimits(memory, 1, 2)
    dying.addInFlight(slot, 1)
    dying.addWaiting(slot, 1)
    const next = new SharedLimits(memory, 1, 2)
    expect(next.inFlight(slot)).to.equal(1)
    expect(next.waiting(slot)).to.equal(0)
  })

  it('refuses memory for another number of threads', () => {
    expect(() => new SharedLimits(limitMemory(2), 0, 3)).to.throw(RangeError)
  })

  it('gives tokens at the rate, with a burst', () => {
    const limits = new SharedLimits(limitMemory(1), 0, 1)
    const slot = limits.slot('s', wall)
    const rate = { perSecond: 10, burst: 3 }
    expect([1, 2, 3].map(() => limits.take(slot, rate, wall))).to.deep.equal([0, 0, 0])
    expect(limits.take(slot, rate, wall)).to.equal(100)
    expect(limits.take(slot, rate, wall + 60)).to.equal(40)
    expect(limits.take(slot, rate, wall + 100)).to.equal(0)
    expect(limits.take(slot, rate, wall + 100)).to.equal(100)
    limits.giveBack(slot, rate)
    expect(limits.take(slot, rate, wall + 100)).to.equal(0)
    let given = 0
    for (let ms = 1_000; ms < 11_000; ms += 7) if (limits.take(slot, rate, wall + ms) === 0) given++
    expect(given).to.be.within(100, 103)
  })

  it('gives a token every so often at less than one a second', () => {
    const limits = new SharedLimits(limitMemory(1), 0, 1)
    const slot = limits.slot('s', wall)
    const rate = { perSecond: 0.5, burst: 1 }
    expect(limits.take(slot, rate, wall)).to.equal(0)
    expect(limits.take(slot, rate, wall)).to.equal(2_000)
    expect(limits.take(slot, rate, wall + 2_000)).to.equal(0)
  })

  it('survives a clock that is set back or ahead', () => {
    const limits = new SharedLimits(limitMemory(1), 0, 1)
    const slot = limits.slot('s', wall)
    const rate = { perSecond: 10, burst: 3 }
    expect(limits.take(slot, rate, wall)).to.equal(0)
    const back = limits.take(slot, rate, wall - 3_600_000)
    expect(back).to.be.within(1, 100)
    expect(limits.take(slot, rate, wall - 3_600_000 + back)).to.equal(0)
    expect(limits.take(slot, rate, wall + 3_600_000)).to.equal(0)
  })

  it('gives long unused slots to new keys, and lets keys without a slot share one', () => {
    const limits = new SharedLimits(limitMemory(1), 0, 1)
    const first = limits.slot('first', wall)
    limits.addInFlight(first, 1)
    const taken = new Set<number>()
    for (let i = 0; i < 20_000; i++) taken.add(limits.slot(`key${i}`, wall))
    expect(taken.has(0)).to.equal(true)
    expect(taken.has(first)).to.equal(false)
    const later = wall + 700_000
    const fresh = Array.from({ length: 500 }, (_, i) => limits.slot(`late${i}`, later))
    expect(fresh).not.to.include(0)
    expect(fresh).not.to.include(first)
    expect(new Set(fresh)).to.have.property('size', 500)
    for (let i = 0; i < 500; i++) expect(limits.slot(`late${i}`, later)).to.equal(fresh[i])
  })

  it('gives no token twice when threads take at the same time', async () => {
    const threads = 3
    const memory = limitMemory(threads)
    const url = new URL('../../../agent/limits/shared.ts', import.meta.url).href
    const code = `
      import { parentPort, workerData } from 'node:worker_threads'
      const { SharedLimits } = await import(${JSON.stringify(url)})
      const limits = new SharedLimits(workerData.memory, workerData.thread, ${threads})
      let given = 0
      for (let i = 0; i < 20000; i++) {
        if (limits.take(limits.slot('s', ${wall}), { perSecond: 1000, burst: 5000 }, ${wall}) === 0) given++
        limits.addInFlight(limits.slot('t', ${wall}), 1)
      }
      parentPort.postMessage(given)
    `
    const counts = await Promise.all(
      Array.from(
        { length: threads },
        (_, thread) =>
          new Promise<number>((resolve, reject) => {
            const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
              workerData: { memory, thread },
            })
            worker.once('message', resolve)
            worker.once('error', reject)
          }),
      ),
    )
    expect(counts.reduce((sum, count) => sum + count, 0)).to.equal(5_000)
    const reader = new SharedLimits(limitMemory(1), 0, 1)
    expect(reader.inFlight(reader.slot('t', wall))).to.equal(0)
  })
})
