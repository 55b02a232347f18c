// An endpoint's circuit breaker over its whole life, on a clock of the test's own.

import { mock } from 'node:test'
import { expect } from 'chai'
import { type FuseState, Fuses } from '../../../agent/outbound/fuse.ts'
import type { ServicePolicy } from '../../../controller/contract/resources.ts'
import { FakeClock } from '../../support/clock.ts'
import { endpoint } from '../../support/snapshot.ts'

/** Lets the promises inside opossum settle. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('outbound fuse', () => {
  let clock: FakeClock
  let fuses: Fuses
  let turns: string[]
  let random: number
  const policy: ServicePolicy = {}
  const one = endpoint('10.0.1.5')
  const fuse = () => fuses.of(one, policy)

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'] })
    clock = new FakeClock()
    turns = []
    random = 0
    one.fuse = null
    one.isRetired = false
    fuses = new Fuses(
      clock,
      () => random,
      undefined,
      (_, from: FuseState, to: FuseState) => turns.push(`${from} ${to}`),
    )
  })

  afterEach(() => {
    fuses.close()
    mock.timers.reset()
    expect(clock.pending).to.equal(0)
  })

  /** Turns the breaker's own timers and ours together. */
  async function advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      mock.timers.tick(Math.min(100, left))
      clock.tick(Math.min(100, left))
    }
    await settle()
  }

  async function fail(times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      fuse().fail(fuse().begin())
      await settle()
    }
  }

  async function succeed(times: number): Promise<void> {
    for (let i = 0; i < times; i++) fuse().succeed(fuse().begin())
    await settle()
  }

  /** Opens by failures in a row alone. */
  async function open(): Promise<void> {
    await succeed(100)
    await fail(7)
    expect(fuse().state).to.equal('open')
  }

  it('lets everything through while closed', async () => {
    await succeed(1_000)
    expect(fuse().admits).to.equal(true)
    expect(fuses.report()).to.deep.equal([
      {
        endpoint: '10.0.1.5:8080',
        backend: 'shop/reviews:9080',
        state: 'closed',
        successes: 1_000,
        failures: 0,
        consecutive: 0,
        opened: 0,
        pauseMs: 1_000,
      },
    ])
  })

  it('opens after seven failures in a row, at once', async () => {
    await succeed(100)
    await fail(6)
    await succeed(1)
    await fail(6)
    expect(fuse().state).to.equal('closed')
    fuse().fail(fuse().begin())
    expect(fuse().state).to.equal('open')
    expect(fuse().admits).to.equal(false)
    expect(turns).to.deep.equal(['closed open'])
  })

  it('opens below 80 % of at least five, not at 80 %', async () => {
    await fail(3)
    await succeed(1)
    expect(fuse().state).to.equal('closed')
    await fail(1)
    expect(fuse().state).to.equal('open')
  })

  it('stays closed at exactly 80 %', async () => {
    await succeed(8)
    await fail(2)
    expect(fuse().state).to.equal('closed')
    await fail(1)
    expect(fuse().state).to.equal('open')
  })

  it('forgets what is older than ten seconds', async () => {
    await fail(4)
    await advance(11_000)
    await succeed(4)
    await fail(1)
    expect(fuse().state).to.equal('closed')
  })

  it('admits one probe after the pause, and closes when it succeeds', async () => {
    await open()
    await advance(900)
    expect(fuse().admits).to.equal(false)
    await advance(100)
    expect(fuse().state).to.equal('half-open')
    const probe = fuse().begin()
    expect(fuse().admits).to.equal(false)
    expect(fuse().begin()).to.equal(0)
    fuse().succeed(probe)
    await settle()
    expect(fuse().state).to.equal('closed')
    expect(turns).to.deep.equal(['closed open', 'open half-open', 'half-open closed'])
  })

  it('is not opened again by one failure after it closed', async () => {
    await fail(7)
    await advance(1_000)
    fuse().succeed(fuse().begin())
    await settle()
    await fail(4)
    expect(fuse().state).to.equal('closed')
  })

  it('doubles its pause with each failed probe, up to a minute, and starts over once closed', async () => {
    await open()
    for (const pause of [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
      expect(fuses.report()[0]!.pauseMs).to.equal(pause)
      await advance(pause - 100)
      expect(fuse().state).to.equal('open')
      await advance(100)
      expect(fuse().state).to.equal('half-open')
      await fail(1)
      expect(fuse().state).to.equal('open')
    }
    await advance(60_000)
    await succeed(1)
    expect(fuse().state).to.equal('closed')
    await open()
    await advance(1_000)
    expect(fuse().state).to.equal('half-open')
  })

  it('stretches its pause by a random part of up to a half', async () => {
    random = 0.8
    one.fuse = null
    await open()
    await advance(1_300)
    expect(fuse().state).to.equal('open')
    await advance(100)
    expect(fuse().state).to.equal('half-open')
  })

  it('hands an abandoned probe to the next exchange', async () => {
    await open()
    await advance(1_000)
    const gone = fuse().begin()
    fuse().abandon(gone)
    expect(fuse().admits).to.equal(true)
    const probe = fuse().begin()
    fuse().fail(gone)
    fuse().succeed(gone)
    await settle()
    expect(fuse().state).to.equal('half-open')
    fuse().succeed(probe)
    await settle()
    expect(fuse().state).to.equal('closed')
  })

  it('counts an abandoned exchange neither way', async () => {
    await succeed(100)
    await fail(6)
    fuse().abandon(fuse().begin())
    expect(fuses.report()[0]).to.include({ state: 'closed', successes: 100, failures: 6, consecutive: 6 })
    await fail(1)
    expect(fuse().state).to.equal('open')
  })

  it('ignores outcomes from before it opened', async () => {
    const early = Array.from({ length: 4 }, () => fuse().begin())
    await open()
    fuse().fail(early[0]!)
    await advance(1_000)
    fuse().succeed(early[1]!)
    fuse().fail(early[2]!)
    await settle()
    expect(fuse().state).to.equal('half-open')
    fuse().succeed(fuse().begin())
    await settle()
    fuse().fail(early[3]!)
    expect(fuses.report()[0]).to.include({ state: 'closed', failures: 0, consecutive: 0 })
  })

  it('learns nothing from exchanges that were sent in spite of it', async () => {
    await open()
    const token = fuse().begin()
    expect(token).to.equal(0)
    fuse().succeed(token)
    fuse().fail(token)
    fuse().abandon(token)
    await settle()
    expect(fuse().state).to.equal('open')
    await advance(1_000)
    expect(fuse().state).to.equal('half-open')
  })

  it('takes its settings from the policy, and keeps its state while they stay the same', async () => {
    const strict: ServicePolicy = { breaker: { consecutive: 2, openMs: 500, maxOpenMs: 700 } }
    const it = fuses.of(one, strict)
    it.fail(it.begin())
    it.fail(it.begin())
    expect(it.state).to.equal('open')
    expect(fuses.of(one, { breaker: { ...strict.breaker }, plaintext: true })).to.equal(it)
    await advance(500)
    it.fail(it.begin())
    await settle()
    expect(fuses.report()[0]!.pauseMs).to.equal(700)
    const lax = fuses.of(one, { breaker: { consecutive: 100 } })
    expect(lax).not.to.equal(it)
    expect(lax.state).to.equal('closed')
    expect(fuses.report()).to.have.length(1)
  })

  it('leaves no timer, listener or line behind when its endpoint retires', async () => {
    await open()
    const version = fuses.version('shop/reviews:9080')
    expect(version).to.be.greaterThan(0)
    const late = fuse()
    one.retire()
    expect(fuses.report()).to.deep.equal([])
    expect(fuses.rotation.listenerCount('rotate')).to.equal(0)
    expect(fuses.version('shop/reviews:9080')).to.equal(0)
    late.fail(late.begin())
    late.succeed(late.begin())
    one.fuse = null
    const after = fuses.of(one, policy)
    for (let i = 0; i < 10; i++) after.fail(after.begin())
    await settle()
    expect(fuses.report()).to.deep.equal([])
    expect(fuses.rotation.listenerCount('rotate')).to.equal(0)
  })

  it('keeps no latency of ten thousand exchanges for longer than a second', async () => {
    await succeed(10_000)
    await advance(1_000)
    const { breaker } = fuse() as unknown as { breaker: { status: { window: { latencyTimes: number[] }[] } } }
    for (const bucket of breaker.status.window) expect(bucket.latencyTimes).to.have.length(0)
    expect(fuses.report()[0]!.successes).to.equal(10_000)
  })

  it('gives each opening a number of its own, in their order', async () => {
    const other = endpoint('10.0.1.6')
    await open()
    const second = fuses.of(other, policy)
    for (let i = 0; i < 7; i++) second.fail(second.begin())
    expect(second.openedAt).to.be.greaterThan(fuse().openedAt)
    second.retire()
  })
})
