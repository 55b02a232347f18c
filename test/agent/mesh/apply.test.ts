// From one snapshot to the next: what is shared, what lives on, what is retired.

import { expect } from 'chai'
import { buildNext, emptyStand, type Stand } from '../../../agent/mesh/apply.ts'
import type { Endpoint } from '../../../agent/mesh/endpoint.ts'
import { Holder } from '../../../agent/mesh/holder.ts'
import { change, endpoints, mesh, service, spec, split, workload } from '../../support/resources.ts'

const surroundings = {
  node: 'node1',
  now: () => 7,
  compile: (matches: readonly { name: string; path: string | null }[]) =>
    matches.map((match) => {
      if (match.path === '(') throw new Error(`match ${match.name}: path is no regular expression`)
      return { name: match.name, test: () => true }
    }),
}

function next(from: Stand, ...items: Parameters<typeof change>): { stand: Stand; retired: Endpoint[] } {
  return buildNext(from, 'v', change(...items), surroundings)
}

const port = (splits: ReturnType<typeof split>[]) => [{ number: 80, name: '', protocol: 'http' as const, splits }]

const base = [
  mesh,
  service('shop/reviews', { ports: port([split('shop/s', { 'shop/v1': 3, 'shop/v2': 1 })]) }),
  service('shop/v1', { enrolled: false, policy: { plaintext: true } }),
  service('shop/v2', { enrolled: false }),
  service('shop/other'),
  endpoints('shop/v1:80', '10.0.0.1', '10.0.0.2'),
  endpoints('shop/v2:80', spec('10.0.1.1', { node: 'node2' })),
  endpoints('shop/other:80', '10.0.0.9'),
]

describe('agent/mesh/apply', () => {
  it('builds services, splits, backends and endpoints that refer to each other', () => {
    const { snapshot } = next(emptyStand, ...base).stand
    const reviews = snapshot.services.get('shop/reviews')!.ports.get(80)!
    expect(reviews.own.endpoints).to.deep.equal([])
    expect(reviews.service.namespace).to.equal('shop')
    expect(reviews.service.name).to.equal('reviews')
    const [choice] = reviews.splits
    expect(choice!.total).to.equal(4)
    expect(choice!.choices.map(({ backend, weight }) => [backend.key, weight])).to.deep.equal([
      ['shop/v1:80', 3],
      ['shop/v2:80', 1],
    ])
    const v1 = choice!.choices[0]!.backend
    expect(v1).to.equal(snapshot.services.get('shop/v1')!.ports.get(80)!.own)
    expect(v1.policy).to.deep.equal({ plaintext: true })
    expect(v1.endpoints.map((endpoint) => [endpoint.key, endpoint.isLocal, endpoint.since])).to.deep.equal([
      ['10.0.0.1:8080', true, 7],
      ['10.0.0.2:8080', true, 7],
    ])
    expect(choice!.choices[1]!.backend.endpoints[0]!.isLocal).to.equal(false)
  })

  it('knows IPv6 endpoints with brackets, and a pod by both of its addresses', () => {
    const six = spec('fd00::9', { node: 'node2' })
    const pod = workload('10.0.0.5', { secondAddress: 'fd00::5' })
    const { snapshot } = next(emptyStand, ...base, endpoints('shop/v2:80', six), pod).stand
    const [endpoint] = snapshot.services.get('shop/v2')!.ports.get(80)!.own.endpoints
    expect(endpoint!.key).to.equal('[fd00::9]:8080')
    expect(snapshot.workloads.get('fd00::5')).to.equal(snapshot.workloads.get('10.0.0.5'))
    const younger = workload('fd00::5', { startedAt: 2000 })
    const later = next(emptyStand, ...base, pod, younger).stand.snapshot
    expect(later.workloads.get('fd00::5')!.name).to.equal(younger.name)
    expect(later.workloads.get('10.0.0.5')!.name).to.equal(pod.name)
  })

  it('uses only endpoints of its own node where the service says so', () => {
    const both = endpoints(
      'shop/other:80',
      '10.0.0.9',
      spec('10.0.1.9', { node: 'node2' }),
      spec('192.0.2.1', { node: '' }),
    )
    const keysOf = (stand: Stand) =>
      stand.snapshot.services
        .get('shop/other')!
        .ports.get(80)!
        .own.endpoints.map(({ key }) => key)
    const before = next(emptyStand, ...base, both).stand
    expect(keysOf(before)).to.have.length(3)
    const local = next(before, service('shop/other', { policy: { nodeLocal: true } }))
    expect(keysOf(local.stand)).to.deep.equal(['10.0.0.9:8080'])
    expect(local.retired.map(({ key }) => key)).to.deep.equal(['10.0.1.9:8080', '192.0.2.1:8080'])
    expect(keysOf(next(local.stand, service('shop/other')).stand)).to.have.length(3)
  })

  it('keeps what a change does not concern as the same objects', () => {
    const { stand } = next(emptyStand, ...base)
    const after = next(stand, endpoints('shop/v1:80', '10.0.0.1', '10.0.0.3'))
    const before = stand.snapshot.services
    const services = after.stand.snapshot.services
    expect(services.get('shop/other')).to.equal(before.get('shop/other'))
    expect(services.get('shop/v2')).to.equal(before.get('shop/v2'))
    expect(services.get('shop/reviews')).not.to.equal(before.get('shop/reviews'))
    expect(after.stand.snapshot.ports).to.equal(stand.snapshot.ports)
    expect(after.stand.snapshot.workloads).to.equal(stand.snapshot.workloads)

    const [first, second] = before.get('shop/v1')!.ports.get(80)!.own.endpoints
    const choice = services.get('shop/reviews')!.ports.get(80)!.splits[0]!.choices[0]!.backend
    expect(choice.endpoints[0]).to.equal(first)
    expect(after.retired).to.deep.equal([second])
  })

  it('makes a new endpoint when another pod has taken its address', () => {
    const { stand } = next(emptyStand, ...base)
    const before = stand.backends.get('shop/other:80')!.endpoints[0]!
    const after = next(stand, endpoints('shop/other:80', spec('10.0.0.9', { podUid: 'another' })))
    expect(after.stand.backends.get('shop/other:80')!.endpoints[0]).not.to.equal(before)
    expect(after.retired).to.deep.equal([before])
  })

  it('keeps endpoints when only the policy changes, also in the splits that choose it', () => {
    const { stand } = next(emptyStand, ...base)
    const after = next(stand, service('shop/v2', { enrolled: false, policy: { breaker: { consecutive: 2 } } }))
    const chosen = after.stand.snapshot.services.get('shop/reviews')!.ports.get(80)!.splits[0]!.choices[1]!.backend
    expect(chosen.policy.breaker).to.deep.equal({ consecutive: 2 })
    expect(chosen.endpoints).to.deep.equal(stand.backends.get('shop/v2:80')!.endpoints)
    expect(chosen.endpoints[0]).to.equal(stand.backends.get('shop/v2:80')!.endpoints[0])
    expect(after.retired).to.deep.equal([])
  })

  it('forgets a removed service with its endpoints, and finds them again', () => {
    const { stand } = next(emptyStand, ...base)
    const gone = next(stand, { kind: 'service', name: 'shop/other', gone: true })
    expect(gone.stand.snapshot.services.has('shop/other')).to.equal(false)
    expect(gone.stand.backends.has('shop/other:80')).to.equal(false)
    expect(gone.retired.map((endpoint) => endpoint.key)).to.deep.equal(['10.0.0.9:8080'])
    const back = next(gone.stand, service('shop/other'))
    expect(back.stand.snapshot.services.get('shop/other')!.ports.get(80)!.own.endpoints).to.have.length(1)
  })

  it('leaves a split with the weight of a backend that is gone, without endpoints', () => {
    const { stand } = next(emptyStand, ...base)
    const gone = next(
      stand,
      { kind: 'service', name: 'shop/v2', gone: true },
      { kind: 'endpoints', name: 'shop/v2:80', gone: true },
    )
    const [, choice] = gone.stand.snapshot.services.get('shop/reviews')!.ports.get(80)!.splits[0]!.choices
    expect(choice!.weight).to.equal(1)
    expect(choice!.backend.endpoints).to.deep.equal([])
    expect(gone.retired).to.have.length(1)
  })

  it('gives an address to the younger of two pods, in whatever order they come', () => {
    const old = workload('10.0.0.5', { name: 'a', startedAt: 1, live: false })
    const young = workload('10.0.0.5', { name: 'b', startedAt: 2 })
    for (const pods of [
      [old, young],
      [young, old],
    ]) {
      const { snapshot } = next(emptyStand, mesh, ...pods).stand
      expect(snapshot.workloads.get('10.0.0.5')!.name).to.equal('b')
    }
    const same = workload('10.0.0.5', { name: 'c', startedAt: 2, live: false })
    expect(next(emptyStand, same, young).stand.snapshot.workloads.get('10.0.0.5')!.name).to.equal('b')
  })

  it('indexes mesh ports by number', () => {
    const { snapshot } = next(emptyStand, { kind: 'port', name: '16384', port: 80, service: null }).stand
    expect(snapshot.ports.get(16384)!.port).to.equal(80)
  })

  it('permits nothing before the first snapshot', () => {
    expect(emptyStand.snapshot.mesh.defaultAccess).to.equal('deny')
  })
})

describe('agent/mesh/holder', () => {
  const broken = service('shop/other', {
    ports: port([{ ...split('shop/x', {}), matches: [{ name: 'm', path: '(', methods: null, headers: [] }] }]),
  })

  it('changes nothing before commit, and retires endpoints after it', () => {
    const holder = new Holder(surroundings)
    const seen: string[] = []
    holder.onChange((now, before) => seen.push(`${before.version}>${now.version}`))
    expect(holder.handle({ type: 'prepare', version: '1', change: change(...base) })).to.deep.equal({
      type: 'prepared',
      version: '1',
    })
    expect(holder.snapshot.version).to.equal('')
    expect(holder.handle({ type: 'commit', version: '1' })).to.deep.equal({ type: 'committed', version: '1' })
    const endpoint = holder.snapshot.services.get('shop/other')!.ports.get(80)!.own.endpoints[0]!
    holder.handle({ type: 'prepare', version: '2', change: change(endpoints('shop/other:80')) })
    expect(endpoint.isRetired).to.equal(false)
    holder.handle({ type: 'commit', version: '2' })
    expect(endpoint.isRetired).to.equal(true)
    expect(seen).to.deep.equal(['>1', '1>2'])
  })

  it('refuses what it cannot build and keeps what it has', () => {
    const holder = new Holder(surroundings)
    holder.handle({ type: 'prepare', version: '1', change: change(...base) })
    holder.handle({ type: 'commit', version: '1' })
    const before = holder.snapshot
    expect(holder.handle({ type: 'prepare', version: '2', change: change(broken) })).to.deep.equal({
      type: 'refused',
      version: '2',
      message: 'match m: path is no regular expression',
    })
    expect(() => holder.handle({ type: 'commit', version: '2' })).to.throw(/not prepared/)
    expect(holder.snapshot).to.equal(before)
  })

  it('drops what was aborted', () => {
    const holder = new Holder(surroundings)
    holder.handle({ type: 'prepare', version: '1', change: change(...base) })
    expect(holder.handle({ type: 'abort', version: '1' })).to.equal(null)
    expect(() => holder.handle({ type: 'commit', version: '1' })).to.throw(/not prepared/)
  })
})
