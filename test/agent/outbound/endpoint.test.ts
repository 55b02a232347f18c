// From a backend to an endpoint: who can be reached, breakers, retries, and the ways of balancing.

import { expect } from 'chai'
import { observe } from '../../../agent/balance/load.ts'
import { MeshError } from '../../../agent/errors.ts'
import type { Endpoint } from '../../../agent/mesh/endpoint.ts'
import type { Backend } from '../../../agent/mesh/snapshot.ts'
import { Chooser } from '../../../agent/outbound/endpoint.ts'
import { Fuses } from '../../../agent/outbound/fuse.ts'
import type { ServicePolicy } from '../../../controller/contract/resources.ts'
import { FakeClock } from '../../support/clock.ts'
import { backend, endpoint, input, seededRandom, snapshot } from '../../support/snapshot.ts'

const peer = (node: string) => ({ kind: 'peer', name: node, address: '10.0.9.9', port: 15008 }) as const

describe('outbound endpoint', () => {
  let clock: FakeClock
  let fuses: Fuses
  const now = snapshot({ peers: [peer('node2')] })
  const get = input('GET', '/')

  beforeEach(() => {
    clock = new FakeClock(100_000)
    fuses = new Fuses(clock, () => 0)
  })
  afterEach(() => fuses.close())

  const chooser = (isDirect = false, seed = 1) => new Chooser({ fuses, random: seededRandom(seed), isDirect })
  const local = (count: number) => Array.from({ length: count }, (_, i) => endpoint(`10.0.1.${i + 1}`))

  function open(one: Endpoint, policy: ServicePolicy = {}): void {
    const fuse = fuses.of(one, policy)
    for (let i = 0; i < 7; i++) fuse.fail(fuse.begin())
    expect(fuse.state).to.equal('open')
  }

  /** How often each is chosen out of `times`. */
  function spread(from: Chooser, of: Backend, times: number, request = get): Map<string, number> {
    const counts = new Map<string, number>()
    for (let i = 0; i < times; i++) {
      const found = from.choose(now, of, request, null, clock.now())
      const name = found instanceof MeshError ? found.reason : found.spec.address
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    return counts
  }

  function reason(found: Endpoint | MeshError): string {
    return found instanceof MeshError ? found.reason : found.spec.address
  }

  describe('who can be reached', () => {
    const here = endpoint('10.0.1.1')
    const there = endpoint('10.0.2.1', { node: 'node2' })
    const bare = endpoint('10.0.3.1', { node: 'node3' })
    const foreign = endpoint('192.0.2.1', { node: '' })

    it('leaves those of peers that do not answer aside, as long as there are others', () => {
      const lost = { version: 0, size: 0, has: (address: string) => lost.size > 0 && address === '10.0.9.9' }
      const chooser = new Chooser({ fuses, random: seededRandom(1), isDirect: false, lost })
      const both = backend([here, there])
      const far = backend([there])
      expect(spread(chooser, both, 50).size).to.equal(2)
      Object.assign(lost, { version: 1, size: 1 })
      expect([...spread(chooser, both, 50).keys()]).to.deep.equal(['10.0.1.1'])
      expect([...spread(chooser, far, 5).keys()]).to.deep.equal(['10.0.2.1'])
      Object.assign(lost, { version: 2, size: 0 })
      expect(spread(chooser, both, 50).size).to.equal(2)
    })

    it('has no_endpoint where none is ready', () => {
      expect(reason(chooser().choose(now, backend([]), get, null, 0))).to.equal('no_endpoint')
    })
    it('avoids nodes without a peer, not addresses that no node runs', () => {
      expect([...spread(chooser(), backend([here, there, bare, foreign]), 200).keys()]).to.have.members([
        '10.0.1.1',
        '10.0.2.1',
        '192.0.2.1',
      ])
    })
    it('has no_peer where nothing else is left', () => {
      const found = chooser().choose(now, backend([bare]), get, null, 0)
      expect(reason(found)).to.equal('no_peer')
      expect((found as MeshError).message).to.contain('node3')
    })
    it('takes them where the policy allows plain text, and where hops are direct', () => {
      expect(spread(chooser(), backend([bare], { plaintext: true }), 1).get('10.0.3.1')).to.equal(1)
      expect(spread(chooser(true), backend([bare, foreign]), 200)).to.have.keys('10.0.3.1', '192.0.2.1')
    })
    it('sees a peer come', () => {
      const one = chooser()
      const of = backend([bare])
      expect(reason(one.choose(now, of, get, null, 0))).to.equal('no_peer')
      expect(reason(one.choose(snapshot({ peers: [peer('node3')] }), of, get, null, 0))).to.equal('10.0.3.1')
    })
  })

  describe('with breakers', () => {
    it('leaves out what is open, and takes it back', () => {
      const all = local(4)
      const of = backend(all)
      const one = chooser()
      expect(spread(one, of, 400)).to.have.property('size', 4)
      open(all[0]!)
      open(all[1]!)
      expect([...spread(one, of, 400).keys()]).to.have.members(['10.0.1.3', '10.0.1.4'])
      all[0]!.fuse!.retire()
      all[0]!.fuse = null
      expect(spread(one, of, 400)).to.have.property('size', 3)
    })

    it('leaves out no more than half: those that opened first', () => {
      const all = local(5)
      for (const i of [3, 0, 4]) open(all[i]!)
      expect([...spread(chooser(), backend(all), 500).keys()]).to.have.members(['10.0.1.2', '10.0.1.3', '10.0.1.5'])
    })

    it('takes all where all are out', () => {
      for (const count of [1, 2, 5]) {
        const all = local(count)
        for (const one of all) open(one)
        expect(spread(chooser(), backend(all), 500)).to.have.property('size', count)
      }
    })

    it('keeps those of other backends', () => {
      const mine = local(2)
      const other = local(2)
      open(mine[0]!)
      expect(spread(chooser(), backend(other), 100)).to.have.property('size', 2)
    })

    it('reads the state of an endpoint that is without a peer as nothing', () => {
      const bare = endpoint('10.0.3.1', { node: 'node3' })
      const all = [...local(2), bare]
      open(all[0]!)
      expect([...spread(chooser(), backend(all), 100).keys()]).to.deep.equal(['10.0.1.2'])
    })
  })

  describe('for a retry', () => {
    it('takes an endpoint that was not tried', () => {
      const all = local(3)
      for (let i = 0; i < 50; i++) {
        expect(reason(chooser(false, i).choose(now, backend(all), get, [all[0]!, all[2]!], 0))).to.equal('10.0.1.2')
      }
    })
    it('takes a good one again where there is no other', () => {
      const all = local(1)
      expect(reason(chooser().choose(now, backend(all), get, all, 0))).to.equal('10.0.1.1')
    })
    it('bothers none that is out', () => {
      const all = local(2)
      open(all[1]!)
      expect(reason(chooser().choose(now, backend(all), get, [all[0]!], 0))).to.equal('breaker_open')
      open(all[0]!)
      expect(reason(chooser().choose(now, backend(all), get, [all[0]!], 0))).to.equal('breaker_open')
    })
  })

  describe('by policy', () => {
    it('prefers the quicker and the less loaded by default', () => {
      const all = local(2)
      observe(all[0]!, 100, clock.now())
      observe(all[1]!, 10, clock.now())
      expect(spread(chooser(), backend(all), 100).get('10.0.1.2')).to.equal(100)
      all[1]!.inFlight = 10
      expect(spread(chooser(), backend(all), 100).get('10.0.1.1')).to.equal(100)
    })

    it('looks at requests in flight alone with least-request', () => {
      const all = local(2)
      observe(all[0]!, 100, clock.now())
      observe(all[1]!, 10, clock.now())
      all[1]!.inFlight = 1
      const of = backend(all, { balance: { kind: 'least-request' } })
      expect(spread(chooser(), of, 100).get('10.0.1.1')).to.equal(100)
    })

    it('goes round with round-robin', () => {
      const all = local(3)
      const of = backend(all, { balance: { kind: 'round-robin' } })
      const one = chooser()
      const order = Array.from({ length: 6 }, () => reason(one.choose(now, of, get, null, 0)))
      expect(order).to.deep.equal([...order.slice(0, 3), ...order.slice(0, 3)])
      expect(new Set(order)).to.have.property('size', 3)
    })

    it('sticks to an endpoint by header, and to another while that one is out', () => {
      const all = local(5)
      const of = backend(all, { balance: { kind: 'hash', header: 'X-User' } })
      const one = chooser()
      const users = Array.from({ length: 200 }, (_, i) => input('GET', '/', { 'x-user': `user${i}` }))
      const homes = users.map((user) => reason(one.choose(now, of, user, null, 0)))
      expect(users.map((user) => reason(chooser(false, 9).choose(now, of, user, null, 0)))).to.deep.equal(homes)
      expect(new Set(homes)).to.have.property('size', 5)
      open(all[2]!)
      const moved = users.map((user) => reason(one.choose(now, of, user, null, 0)))
      for (let i = 0; i < users.length; i++) {
        if (homes[i] === '10.0.1.3') expect(moved[i]).not.to.equal('10.0.1.3')
        else expect(moved[i]).to.equal(homes[i])
      }
      const retried = one.choose(now, of, users[0]!, [all.find((it) => it.spec.address === moved[0])!], 0)
      expect(reason(retried)).not.to.equal(moved[0])
    })

    it('sticks by cookie, and balances requests without one', () => {
      const of = backend(local(5), { balance: { kind: 'hash', cookie: 'session' } })
      const mine = input('GET', '/', { cookie: 'a=1; session=abc; b=2' })
      expect(spread(chooser(), of, 100, mine)).to.have.property('size', 1)
      expect(spread(chooser(), of, 100)).to.have.property('size', 5)
      const found = chooser().choose(now, of, null, null, 0)
      expect(found).not.to.be.instanceOf(MeshError)
    })

    it('spares a new endpoint in slow start', () => {
      const all = [endpoint('10.0.1.1'), endpoint('10.0.1.2'), endpoint('10.0.1.3', {}, clock.now() - 3_000)]
      for (const kind of ['least-request', 'round-robin'] as const) {
        const of = backend(all, { balance: { kind, slowStartMs: 30_000 } })
        const share = (spread(chooser(), of, 3_000).get('10.0.1.3') ?? 0) / 3_000
        expect(share).to.be.lessThan(0.1)
        clock.tick(30_000)
        expect(spread(chooser(), of, 3_000).get('10.0.1.3')! / 3_000).to.be.greaterThan(0.25)
        clock = new FakeClock(100_000)
      }
    })

    it('lets an endpoint cool down while there are others', () => {
      for (const kind of ['ewma', 'least-request', 'round-robin'] as const) {
        const all = local(3)
        const of = backend(all, { balance: { kind } })
        all[0]!.coolUntil = clock.now() + 1_000
        expect(spread(chooser(), of, 100).has('10.0.1.1')).to.equal(false)
        all[1]!.coolUntil = clock.now() + 1_000
        expect(spread(chooser(), of, 100).get('10.0.1.3')).to.equal(100)
        all[2]!.coolUntil = clock.now() + 1_000
        expect(spread(chooser(), of, 100).size).to.be.greaterThan(0)
        clock.tick(1_000)
        expect(spread(chooser(), of, 100)).to.have.property('size', 3)
      }
    })
  })
})
