// How often one object is put right, on a clock of the test's own.

import { expect } from 'chai'
import { openPace, type Pace } from '../../../controller/update/pace.ts'
import { FakeClock } from '../../support/clock.ts'

describe('pace of repairs', () => {
  let clock: FakeClock
  let pace: Pace

  beforeEach(() => {
    clock = new FakeClock()
    pace = openPace(clock)
  })

  /** Writes as soon as it may. @returns how long that took */
  function write(text = 'a', key = 'Service shop/web-mesh'): number {
    const waitMs = pace.waitMs(key, text)
    clock.tick(waitMs)
    expect(pace.waitMs(key, text)).to.equal(0)
    pace.wrote(key, text)
    return waitMs
  }

  it('is at once for the first ten, then slower and slower', () => {
    const waits = Array.from({ length: 19 }, () => write())
    expect(waits.slice(0, 11)).to.deep.equal(Array(11).fill(0))
    expect(waits.slice(11)).to.deep.equal([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
  })

  it('counts only what was undone, not what is wanted otherwise', () => {
    const waits = Array.from({ length: 100 }, (_, index) => write(`${index}`))
    expect(waits).to.deep.equal(Array(100).fill(0))
  })

  it('is of each object by itself', () => {
    for (let count = 0; count < 12; count++) write()
    expect(write('a', 'Service shop/other-mesh')).to.equal(0)
    expect(pace.waitMs('Service shop/web-mesh', 'a')).to.be.greaterThan(0)
  })

  it('forgets an object that was left alone for a minute', () => {
    for (let count = 0; count < 12; count++) write()
    clock.tick(60_000)
    write('b', 'Service shop/other-mesh')
    expect(Array.from({ length: 11 }, () => write())).to.deep.equal(Array(11).fill(0))
  })
})
