// Who leads, with clocks that differ: never two, and soon one again.

import { expect } from 'chai'
import { pino } from 'pino'
import { openCluster } from '../../../controller/observe/access.ts'
import { openApi } from '../../../controller/observe/api.ts'
import { type Election, startElection } from '../../../controller/observe/lease.ts'
import { FakeClock } from '../../support/clock.ts'
import { type FakeServer, json, kubeConfig, refuse, startFakeServer } from '../../support/fakeserver.ts'
import { until } from '../../support/until.ts'

const log = pino({ level: 'silent' })

interface Lease {
  metadata: { name: string; namespace: string; resourceVersion: string }
  spec: Record<string, unknown>
}

describe('lease', () => {
  let server: FakeServer
  let lease: Lease | null
  let isDown: boolean
  let candidates: { election: Election; events: string[]; clock: FakeClock }[]

  beforeEach(async () => {
    lease = null
    isDown = false
    candidates = []
    server = await startFakeServer(({ method, body }, response) => {
      if (isDown) return refuse(response, 503, 'ServiceUnavailable')
      const given = body as Lease
      if (method === 'GET') return lease === null ? refuse(response, 404, 'NotFound') : json(response, 200, lease)
      if (method === 'POST' && lease !== null) return refuse(response, 409, 'AlreadyExists')
      if (method === 'PUT' && given.metadata.resourceVersion !== lease?.metadata.resourceVersion) {
        return refuse(response, 409, 'Conflict')
      }
      const resourceVersion = String(Number(lease?.metadata.resourceVersion ?? 0) + 1)
      lease = { metadata: { ...given.metadata, resourceVersion }, spec: given.spec }
      json(response, 200, lease)
    })
  })

  afterEach(async () => {
    for (const { election } of candidates) await election.stop()
    await server.close()
  })

  /** A candidate with a clock of its own; two sleepers mean that it has made its attempt. */
  async function stand(identity: string, skewMs = 0, url = server.url) {
    const clock = new FakeClock(1_000, Date.UTC(2026, 0, 1) + skewMs)
    const events: string[] = []
    const election = startElection({
      api: openApi(openCluster(kubeConfig(url))),
      clock,
      log,
      namespace: 'weft-system',
      name: 'weft-controller',
      identity,
      started: () => events.push('started'),
      stopped: () => events.push('stopped'),
    })
    const candidate = { election, events, clock }
    candidates.push(candidate)
    await until(() => clock.pending === 2)
    return candidate
  }

  it('is taken when there is none, and renewed', async () => {
    const one = await stand('one')
    expect(one.election.isLeader).to.equal(true)
    expect(one.events).to.deep.equal(['started'])
    expect(lease!.spec).to.include({ holderIdentity: 'one', leaseDurationSeconds: 15, leaseTransitions: 0 })
    expect(lease!.spec['renewTime']).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
    const { renewTime, acquireTime } = lease!.spec
    await one.clock.run(4000)
    expect(lease!.spec['renewTime']).to.not.equal(renewTime)
    expect(lease!.spec['acquireTime']).to.equal(acquireTime)
  })

  it('stays with its holder while that renews it', async () => {
    const one = await stand('one')
    const two = await stand('two')
    for (let round = 0; round < 10; round++) {
      await one.clock.run(4000)
      await two.clock.run(4000)
    }
    expect(one.election.isLeader).to.equal(true)
    expect(two.election.isLeader).to.equal(false)
    expect(two.election.leader).to.equal('one')
  })

  it('goes to another when it was not renewed for its duration by that one’s own clock, however clocks differ', async () => {
    const one = await stand('one')
    // A candidate an hour ahead must not think the lease an hour old.
    const two = await stand('two', 3_600_000)
    await two.clock.run(14_000)
    expect(two.election.isLeader).to.equal(false)
    await two.clock.run(4000)
    expect(two.election.isLeader).to.equal(true)
    expect(lease!.spec).to.include({ holderIdentity: 'two', leaseTransitions: 1 })
    await one.clock.run(3000)
    expect(one.election.isLeader).to.equal(false)
    expect(one.events).to.deep.equal(['started', 'stopped'])
  })

  it('waits for the duration that the record itself says', async () => {
    await stand('one')
    lease!.spec['leaseDurationSeconds'] = 60
    const two = await stand('two')
    await two.clock.run(50_000)
    expect(two.election.isLeader).to.equal(false)
    await two.clock.run(14_000)
    expect(two.election.isLeader).to.equal(true)
  })

  it('is lost in time by a leader that can’t renew', async () => {
    const one = await stand('one')
    isDown = true
    await one.clock.run(9500)
    expect(one.election.isLeader).to.equal(true)
    await one.clock.run(1000)
    expect(one.election.isLeader).to.equal(false)
    expect(one.events).to.deep.equal(['started', 'stopped'])
    isDown = false
    await one.clock.run(3000)
    expect(one.election.isLeader).to.equal(true)
  })

  it('is no longer held by a leader that was stopped for long, from the moment it goes on', async () => {
    const one = await stand('one')
    // Nothing of it has run meanwhile, not even what ends leadership: the first to be asked must know.
    const { now } = one.clock
    one.clock.now = () => now.call(one.clock) + 10_001
    expect(one.election.isLeader).to.equal(false)
    expect(one.events).to.deep.equal(['started'])
    one.clock.now = now
    expect(one.election.isLeader).to.equal(true)
  })

  it('is given back on stop, and taken at once', async () => {
    const one = await stand('one')
    const two = await stand('two')
    await one.election.stop()
    expect(lease!.spec).to.include({ holderIdentity: '', leaseDurationSeconds: 1 })
    await two.clock.run(3000)
    expect(two.election.isLeader).to.equal(true)
  })

  it('of several that try at once goes to one', async () => {
    const all = await Promise.all(['a', 'b', 'c', 'd'].map((name) => stand(name)))
    expect(all.filter(({ election }) => election.isLeader)).to.have.length(1)
    await Promise.all(all.map(({ clock }) => clock.run(3000)))
    expect(all.filter(({ election }) => election.isLeader)).to.have.length(1)
  })
})
