// TrafficSplit, ruling by ruling: where each request goes, from the manifests to the agent's choice. The numbers are the
// sections of the SMI facts that the project goes by; 7 are its test vectors.

import { expect } from 'chai'
import { MeshError } from '../../agent/errors.ts'
import { parseAuthority } from '../../agent/http1/target.ts'
import { destination } from '../../agent/outbound/destination.ts'
import { divide } from '../../agent/outbound/divide.ts'
import { type Decided, decide } from '../support/decide.ts'
import { input } from '../support/snapshot.ts'
import { shop } from '../support/world.ts'

const get = input('GET', '/')
const age = (day: number) => `, creationTimestamp: "2026-10-0${day}T00:00:00Z"`

interface Given {
  version?: number
  meta?: string
  service?: string
  more?: string
}

/** A split by name; backends as `service=weight`. */
function split(name: string, backends: string[], given: Given = {}): string {
  const { version = 2, meta = '', service = 'root', more = '' } = given
  const list = backends.map((each) => `{service: ${each.split('=')[0]}, weight: ${each.split('=')[1]}}`)
  return `{apiVersion: split.smi-spec.io/v1alpha${version}, kind: TrafficSplit, metadata: {name: ${name}${meta}}, spec: {service: "${service}", backends: [${list}]${more}}}`
}

const matches = (...groups: string[]) =>
  `, matches: [${groups.map((name) => `{kind: HTTPRouteGroup, name: ${name}}`).join(', ')}]`
const group = (name: string, match: string, version = 4) =>
  `{apiVersion: specs.smi-spec.io/v1alpha${version}, kind: HTTPRouteGroup, metadata: {name: ${name}}, spec: {matches: [{name: m, ${match}}]}}`

const ground = shop({ name: 'root' }, { name: 'a' }, { name: 'b' }, { name: 'c' })
const decided = (...documents: string[]): Decided => decide([ground, ...documents])
const shares = (...documents: string[]) => decided(...documents).shares('root', 8080, get)

describe('SMI TrafficSplit', () => {
  describe('7.1 weights', () => {
    const rows: [string, string[], Record<string, number>][] = [
      ['1000 to 500 is two thirds to one', ['a=1000', 'b=500'], { a: 66.7, b: 33.3 }],
      ['a lone backend gets everything, whatever its weight', ['a=7'], { a: 100 }],
      ['0 to 1: the first never gets anything', ['a=0', 'b=1'], { b: 100 }],
      ['"500m" to "1.5" is one to three', ['a="500m"', 'b="1.5"'], { a: 25, b: 75 }],
      ['10m, 100m and 1500m', ['a=10m', 'b=100m', 'c=1500m'], { a: 0.6, b: 6.2, c: 93.2 }],
      ['three backends', ['a=5', 'b=5', 'c=90'], { a: 5, b: 5, c: 90 }],
      ['weights need not add up to 100', ['a=3', 'b=1'], { a: 75, b: 25 }],
      ['strings of v1alpha1 and numbers of later versions mix', ['a="25"', 'b=75'], { a: 25, b: 75 }],
    ]
    for (const [title, backends, expected] of rows) {
      it(title, () => expect(shares(split('s', backends, { version: 1 }))).to.deep.equal(expected))
    }
  })

  describe('7.2 ports', () => {
    const services = (own: number, other: number) => [
      shop({ name: 'root', ports: [8080] }, { name: 'a', ports: [own] }, { name: 'b', ports: [other] }),
      split('s', ['a=50', 'b=50']),
    ]

    it('a backend without the port of the root gets nothing, and the split says so', () => {
      const { shares, said } = decide(services(8080, 1024))
      expect(shares('root', 8080, get)).to.deep.equal({ a: 100 })
      expect(said).to.deep.equal(['TrafficSplit s: BackendPortMissing'])
    })

    it('each backend is reached at its own target port', () => {
      const { snapshot } = decide(services(8080, 8080))
      const choices = snapshot.services.get('shop/root')!.ports.get(8080)!.splits[0]!.choices
      expect(choices.map(({ backend }) => backend.endpoints.map(({ key }) => key))).to.deep.equal([
        ['10.1.0.2:8081'],
        ['10.1.0.3:8081'],
      ])
    })

    it('each port of the root is divided by itself', () => {
      const { shares } = decide([
        shop({ name: 'root', ports: [80, 90] }, { name: 'a', ports: [80] }, { name: 'b', ports: [80, 90] }),
        split('s', ['a=3', 'b=1']),
      ])
      expect(shares('root', 80, get)).to.deep.equal({ a: 75, b: 25 })
      expect(shares('root', 90, get)).to.deep.equal({ b: 100 })
    })
  })

  describe('7.3 backends that come later', () => {
    it('the others keep their weights, and the newcomer is taken in without an edit', () => {
      const documents = [split('s', ['a=1', 'late=3'])]
      const before = decided(...documents)
      expect(before.shares('root', 8080, get)).to.deep.equal({ a: 100 })
      expect(before.said).to.deep.equal(['TrafficSplit s: BackendNotFound'])
      const after = decide([
        shop({ name: 'root' }, { name: 'a' }, { name: 'b' }, { name: 'c' }, { name: 'late' }),
        ...documents,
      ])
      expect(after.shares('root', 8080, get)).to.deep.equal({ a: 25, late: 75 })
      expect(after.said).to.deep.equal([])
    })
  })

  describe('7.4 the root among its backends, and several splits', () => {
    it('the root alone means its own endpoints', () =>
      expect(shares(split('s', ['root=100']))).to.deep.equal({ own: 100 }))

    it('the root and a canary', () => {
      expect(shares(split('s', ['root=90', 'a=10']))).to.deep.equal({ own: 90, a: 10 })
    })

    it('nothing is followed from a backend to its own split, so no cycle arises', () => {
      const all = decided(split('s', ['a=1']), split('t', ['root=1'], { service: 'a' }))
      expect(all.shares('root', 8080, get)).to.deep.equal({ a: 100 })
      expect(all.shares('a', 8080, get)).to.deep.equal({ root: 100 })
    })

    it('of two for one root the older counts, by name at the same age, and the other says so', () => {
      const young = split('aa', ['a=1'], { meta: age(2) })
      const old = split('zz', ['b=1'], { meta: age(1) })
      const twin = split('yy', ['c=1'], { meta: age(1) })
      const all = decided(young, old, twin)
      expect(all.shares('root', 8080, get)).to.deep.equal({ c: 100 })
      expect(all.said).to.deep.equal(['TrafficSplit aa: SplitSuperseded', 'TrafficSplit zz: SplitSuperseded'])
    })

    it('without the split the root is what it was, and the other one’s turn comes', () => {
      expect(shares()).to.deep.equal({ own: 100 })
      expect(shares(split('aa', ['a=1'], { meta: age(2) }))).to.deep.equal({ a: 100 })
    })
  })

  describe('7.5 matches', () => {
    const firefox = input('GET', '/', { 'user-agent': 'Mozilla Firefox/1' })
    const ab = split('ab', ['b=1'], { version: 3, more: matches('browsers') })

    for (const [form, headers] of [
      ['a map', '{user-agent: ".*Firefox.*"}'],
      ['a list of maps', '[{user-agent: ".*Firefox.*"}]'],
    ]) {
      it(`headers in ${form}: who fits is divided, the others get the root’s endpoints`, () => {
        const all = decided(group('browsers', `headers: ${headers}`), ab)
        expect(all.shares('root', 8080, firefox)).to.deep.equal({ b: 100 })
        expect(all.shares('root', 8080, get)).to.deep.equal({ own: 100 })
      })
    }

    it('several groups are ORed', () => {
      const both = split('ab', ['b=1'], { version: 4, more: matches('browsers', 'api') })
      const all = decided(group('browsers', 'headers: {user-agent: Firefox}'), group('api', 'pathRegex: /api'), both)
      expect(all.shares('root', 8080, firefox)).to.deep.equal({ b: 100 })
      expect(all.shares('root', 8080, input('GET', '/api'))).to.deep.equal({ b: 100 })
      expect(all.shares('root', 8080, get)).to.deep.equal({ own: 100 })
    })

    it('path, methods and headers of a match are ANDed', () => {
      const all = decided(group('browsers', 'pathRegex: /api, methods: [POST], headers: {x: y}'), ab)
      const fits = (method: string, path: string, x: string) =>
        'b' in all.shares('root', 8080, input(method, path, { x }))
      expect(fits('POST', '/api', 'y')).to.equal(true)
      for (const [method, path, x] of [
        ['GET', '/api', 'y'],
        ['POST', '/', 'y'],
        ['POST', '/api', 'n'],
      ] as const)
        expect(fits(method, path, x), `${method} ${path} ${x}`).to.equal(false)
    })

    it('a broken expression never matches, and the group says so', () => {
      const all = decided(group('browsers', 'pathRegex: "/(" '), ab)
      expect(all.shares('root', 8080, get)).to.deep.equal({ own: 100 })
      expect(all.said).to.deep.equal(['HTTPRouteGroup browsers: RegexInvalid'])
    })

    it('1.2 splits with matches are tried first, oldest first, then the one without', () => {
      const all = decided(
        group('browsers', 'headers: {user-agent: Firefox}'),
        group('all', 'pathRegex: /'),
        split('plain', ['a=1'], { meta: age(1) }),
        split('second', ['c=1'], { version: 4, meta: age(3), more: matches('all') }),
        split('first', ['b=1'], { version: 4, meta: age(2), more: matches('browsers') }),
      )
      expect(all.shares('root', 8080, firefox)).to.deep.equal({ b: 100 })
      expect(all.shares('root', 8080, get)).to.deep.equal({ c: 100 })
      expect(all.shares('root', 8080, input('GET', '*'))).to.deep.equal({ a: 100 })
    })
  })

  describe('7.9 the clients’ objects', () => {
    it('Flagger: 0/100, 5/95, 50/50, 100/0, back to 0/100, in its order of backends', () => {
      for (const canary of [0, 5, 50, 100, 0]) {
        const all = decided(split('root', [`a=${canary}`, `b=${100 - canary}`], { version: 1 + (canary % 3) }))
        const { splits } = all.snapshot.services.get('shop/root')!.ports.get(8080)!
        expect(splits[0]!.choices.map(({ backend, weight }) => [backend.service, weight / 1000])).to.deep.equal([
          ['shop/a', canary],
          ['shop/b', 100 - canary],
        ])
        expect(all.said).to.deep.equal([])
      }
    })

    it('Flagger before 1.12 left a weight of 0 out: it counts as 0, which is said', () => {
      const all = decided(split('root', ['a=', 'b=100']))
      expect(all.shares('root', 8080, get)).to.deep.equal({ b: 100 })
      expect(all.said).to.deep.equal(['TrafficSplit root: WeightMissing'])
      expect(all.problems[0]!.severity).to.equal('warning')
    })

    it('Argo Rollouts: strings, its stable Service as root and last backend, an experiment between', () => {
      expect(shares(split('r', ['a="5"', 'c="5"', 'root="90"'], { version: 1 }))).to.deep.equal({ a: 5, c: 5, own: 90 })
    })

    it('Linkerd: half to the root itself, in thousandths', () => {
      expect(shares(split('r', ['root=500m', 'a=500m'], { version: 1 }))).to.deep.equal({ own: 50, a: 50 })
    })
  })

  describe('7.10 names of the root', () => {
    for (const service of [
      'root',
      'ROOT',
      'root.shop',
      'root.shop.svc',
      'root.shop.svc.cluster.local',
      'root.shop.svc.cluster.local.',
      'root.shop.svc.cluster.local.:8080',
      'root:8080',
      'root.shop.mesh.internal',
    ]) {
      it(service, () => expect(shares(split('s', ['a=1'], { service }))).to.deep.equal({ a: 100 }))
    }

    for (const service of ['root.bank', 'root.bank.svc.cluster.local', 'app.example.com', 'root/a', '', '*']) {
      it(`${service || 'nothing'} divides nothing, and the split says so`, () => {
        const all = decided(split('s', ['a=1'], { service }))
        expect(all.shares('root', 8080, get)).to.deep.equal({ own: 100 })
        expect(all.said).to.deep.equal(['TrafficSplit s: RootInvalid'])
      })
    }
  })

  describe('7.10 names of the root in requests', () => {
    const all = () => decided(split('s', ['a=1']))

    for (const host of [
      'root',
      'root.shop',
      'root.shop.svc',
      'root.shop.svc.cluster.local',
      'root.shop.svc.cluster.local.',
      'ROOT.shop',
      'root-mesh',
      'root-mesh.shop.svc.cluster.local.',
      'root.shop.mesh.internal',
    ]) {
      it(`${host}:8080 is divided`, () => {
        const { host: canonical, port } = parseAuthority(`${host.toLowerCase()}:8080`)!
        const found = destination(all().snapshot, 0, canonical, port, 'shop')
        if (found instanceof MeshError) throw found
        expect(divide(found, get, 0.5)).to.include({ service: 'shop/a' })
      })
    }

    it('of another namespace it is not this root', () => {
      expect(destination(all().snapshot, 0, 'root.bank', 8080, 'shop')).to.be.instanceOf(MeshError)
      expect(destination(all().snapshot, 0, 'root', 8080, 'bank')).to.be.instanceOf(MeshError)
    })
  })

  describe('1.2 what is left over', () => {
    it('weights that add up to nothing are 503, never a silent way back to the root', () => {
      const all = decided(split('s', ['a=0', 'b=0']))
      expect(all.shares('root', 8080, get)).to.deep.equal({ no_backend: 100 })
      expect(all.said).to.deep.equal(['TrafficSplit s: NoBackendLeft'])
    })

    it('a backend without endpoints keeps its share', () => {
      const empty =
        '{apiVersion: v1, kind: Service, metadata: {name: empty}, spec: {clusterIP: 10.96.2.1, ports: [{port: 8080}]}}'
      const all = decided(empty, split('s', ['empty=40', 'a=60']))
      expect(all.shares('root', 8080, get)).to.deep.equal({ empty: 40, a: 60 })
      expect(all.snapshot.services.get('shop/empty')!.ports.get(8080)!.own.endpoints).to.deep.equal([])
    })

    it('a backend of another namespace gets nothing, and the split says so', () => {
      const all = decided(split('s', ['a=1', 'vault.bank=99']))
      expect(all.shares('root', 8080, get)).to.deep.equal({ a: 100 })
      expect(all.said).to.deep.equal(['TrafficSplit s: BackendInvalid'])
    })

    it('a root that does not exist, or is not in the mesh, is said', () => {
      expect(decided(split('s', ['a=1'], { service: 'gone' })).said).to.deep.equal(['TrafficSplit s: RootNotFound'])
      const outside = decide([ground.replace('enabled', 'disabled'), split('s', ['a=1'])])
      expect(outside.said).to.deep.equal(['TrafficSplit s: NotEnrolled'])
    })

    it('a root that selects no pods is divided all the same', () => {
      const bare =
        '{apiVersion: v1, kind: Service, metadata: {name: bare}, spec: {clusterIP: 10.96.2.2, ports: [{port: 8080}]}}'
      const all = decided(bare, split('s', ['a=1', 'b=1'], { service: 'bare' }))
      expect(all.shares('bare', 8080, get)).to.deep.equal({ a: 50, b: 50 })
    })

    it('calls to a backend itself are not divided', () => {
      expect(decided(split('s', ['b=1'])).shares('a', 8080, get)).to.deep.equal({ own: 100 })
    })

    it('connections of an opaque port are divided, and never by matches', () => {
      const tcp = shop({ name: 'root', ports: ['tcp-x:5000'] }, { name: 'a', ports: ['tcp-x:5000'] })
      expect(decide([tcp, split('s', ['a=1'])]).shares('root', 5000, null)).to.deep.equal({ a: 100 })
      const matched = decide([tcp, group('g', 'pathRegex: /'), split('s', ['a=1'], { version: 4, more: matches('g') })])
      expect(matched.shares('root', 5000, null)).to.deep.equal({ own: 100 })
      expect(matched.said).to.deep.equal(['TrafficSplit s: MatchesNeedHttp'])
    })
  })
})
