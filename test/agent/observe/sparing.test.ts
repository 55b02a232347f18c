// A log that repeats itself no more often than somebody can read it.

import { expect } from 'chai'
import { threadLog } from '../../../agent/observe/log.ts'
import { Sparing } from '../../../agent/observe/sparing.ts'
import { FakeClock } from '../../support/clock.ts'

describe('agent/observe/sparing', () => {
  let clock: FakeClock
  let lines: { message: string; fields: Record<string, unknown> }[]
  let sparing: Sparing

  beforeEach(() => {
    clock = new FakeClock()
    lines = []
    const log = threadLog((record) => {
      if (record.type === 'log') lines.push({ message: record.message, fields: record.fields })
    }, 'info')
    sparing = new Sparing(log, clock)
  })

  it('logs the first of a kind at once, then one a minute with the number between', () => {
    for (let i = 0; i < 100; i++) sparing.warn('a', { i }, 'said')
    expect(lines).to.deep.equal([{ message: 'said', fields: { i: 0 } }])
    clock.tick(60_000)
    sparing.warn('a', { i: 100 }, 'said')
    sparing.warn('a', { i: 101 }, 'said')
    expect(lines[1]).to.deep.equal({ message: 'said', fields: { i: 100, leftOut: 99 } })
    expect(lines).to.have.length(2)
  })

  it('keeps kinds apart', () => {
    sparing.warn('a', {}, 'said')
    sparing.warn('b', {}, 'said')
    expect(lines).to.have.length(2)
  })

  it('is not filled by kinds without number, and finds room again', () => {
    for (let i = 0; i < 10_000; i++) sparing.warn(`kind ${i}`, {}, 'said')
    expect(lines).to.have.length(257)
    clock.tick(60_000)
    sparing.warn('another', {}, 'said')
    expect(lines).to.have.length(258)
  })
})

describe('agent/observe/log', () => {
  it('keeps what is below the level of a data thread on the thread, as it is set', () => {
    const seen: string[] = []
    const log = threadLog((record) => {
      if (record.type === 'log') seen.push(record.level)
    }, 'warn')
    const all = () => {
      seen.length = 0
      for (const level of ['error', 'warn', 'info', 'debug', 'trace'] as const) log[level]({}, 'said')
      return [...seen]
    }
    expect(all()).to.deep.equal(['error', 'warn'])
    log.setLevel('trace')
    expect(all()).to.deep.equal(['error', 'warn', 'info', 'debug', 'trace'])
    log.setLevel('error')
    expect(all()).to.deep.equal(['error'])
  })
})
