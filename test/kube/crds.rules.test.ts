// The rules in our definitions of the SMI kinds, on a real API server: what is wrong in the object alone is refused with
// the field and the fix, what clients of an old version would drop unnoticed too, and nothing that the mesh understands.

import { expect } from 'chai'
import type { Answer, Body } from '../support/api.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

const kinds: Record<string, [group: string, kind: string]> = {
  trafficsplits: ['split.smi-spec.io', 'TrafficSplit'],
  traffictargets: ['access.smi-spec.io', 'TrafficTarget'],
  httproutegroups: ['specs.smi-spec.io', 'HTTPRouteGroup'],
  tcproutes: ['specs.smi-spec.io', 'TCPRoute'],
}

const account = (name: string, more: object = {}) => ({ kind: 'ServiceAccount', name, ...more })
const rules = [{ kind: 'TCPRoute', name: 't' }]
const groupRules = [{ kind: 'HTTPRouteGroup', name: 'g' }]
const sources = [account('b')]
const destination = account('a')
const backends = (...list: [string, unknown][]) => list.map(([service, weight]) => ({ service, weight }))
const split = (service: string, ...list: [string, unknown][]) => ({ spec: { service, backends: backends(...list) } })
const group = (...matches: object[]) => ({ spec: { matches } })

eachCluster(
  'rules of the SMI definitions',
  (cluster) => {
    let namespace = ''
    beforeEach(async () => {
      namespace = await cluster.test.namespace()
    })

    const path = (version: string, plural: string, name = '') =>
      `/apis/${kinds[plural]![0]}/${version}/namespaces/${namespace}/${plural}${name && `/${name}`}`

    /** As Go's clients write it: with a creationTimestamp of null. */
    const objectOf = (version: string, plural: string, fields: object) => {
      const [api, kind] = kinds[plural]!
      return { apiVersion: `${api}/${version}`, kind, metadata: { name: 'x', creationTimestamp: null }, ...fields }
    }

    const create = (version: string, plural: string, fields: object): Promise<Answer> =>
      cluster.test.request('POST', path(version, plural), objectOf(version, plural, fields))

    /** A client of a version writes the object back as its types know it. */
    async function put(version: string, plural: string, fields: object): Promise<Answer> {
      const { body } = await cluster.test.request('GET', path(version, plural, 'x'))
      const object = { apiVersion: body.apiVersion, kind: body.kind, metadata: body.metadata, ...fields }
      return cluster.test.request('PUT', path(version, plural, 'x'), object)
    }

    const refused: [string, string, string, object, string, RegExp][] = [
      [
        'a wildcard as root',
        'v1alpha1',
        'trafficsplits',
        split('*', ['a', '1']),
        'spec.service',
        /name of a Service such as/,
      ],
      ['a URL as root', 'v1alpha4', 'trafficsplits', split('http://a', ['a', 1]), 'spec.service', /without scheme/],
      ['no backend', 'v1alpha2', 'trafficsplits', split('a'), 'spec.backends', /at least 1 item/],
      [
        'a weight that is too large',
        'v1alpha2',
        'trafficsplits',
        split('a', ['a', 2e9]),
        'spec.backends[0].weight',
        /1e\+09|1000000000/,
      ],
      [
        'no destination',
        'v1alpha1',
        'traffictargets',
        { sources, specs: rules },
        '<nil>',
        /must name a ServiceAccount/,
      ],
      [
        'no destination, in spec',
        'v1alpha3',
        'traffictargets',
        { spec: { sources, rules } },
        '<nil>',
        /must name a ServiceAccount/,
      ],
      [
        'a destination without a name',
        'v1alpha1',
        'traffictargets',
        { destination: account(''), sources, specs: rules },
        'destination.name',
        /at least 1 char/,
      ],
      [
        'no source',
        'v1alpha3',
        'traffictargets',
        { spec: { destination, sources: [], rules } },
        'spec',
        /sources must list/,
      ],
      ['no rule', 'v1alpha4', 'traffictargets', { spec: { destination, sources } }, 'spec', /rules must list/],
      [
        'a port that is none',
        'v1alpha2',
        'traffictargets',
        { spec: { destination: account('a', { port: 'http' }), sources, rules } },
        'spec.destination.port',
        /should match/,
      ],
      [
        'a port beyond',
        'v1alpha2',
        'traffictargets',
        { spec: { destination: account('a', { port: 70000 }), sources, rules } },
        'spec.destination.port',
        /65535/,
      ],
      ['no matches', 'v1alpha4', 'httproutegroups', { spec: {} }, '<nil>', /at least one match/],
      [
        'a broken expression',
        'v1alpha4',
        'httproutegroups',
        group({ name: 'm', pathRegex: '/(' }),
        'spec.matches[0].pathRegex',
        /missing closing \)/,
      ],
      [
        'look-ahead',
        'v1alpha1',
        'httproutegroups',
        { matches: [{ name: 'm', pathRegex: '/(?=a)' }] },
        'matches[0].pathRegex',
        /RE2/,
      ],
      [
        'a name given twice',
        'v1alpha3',
        'httproutegroups',
        group({ name: 'm' }, { name: 'm' }),
        'spec.matches[1]',
        /Duplicate/,
      ],
    ]
    for (const [what, version, plural, fields, field, text] of refused) {
      it(`refuse ${what} (${plural} ${version})`, async () => {
        const { status, body } = await create(version, plural, fields)
        expect(status).to.equal(422)
        const cause = body.details.causes.find((each: Body) => each.field === field)
        expect(cause?.message, JSON.stringify(body.details.causes)).to.match(text)
      })
    }

    const taken: [string, string, string, object][] = [
      ['the root among its backends', 'v1alpha1', 'trafficsplits', split('a', ['a', '100'])],
      [
        'a weight of 0 that Go left out, as Flagger did once',
        'v1alpha2',
        'trafficsplits',
        { spec: { service: 'a', backends: [{ service: 'b' }, { service: 'c', weight: 100 }] } },
      ],
      ['weights that add up to nothing', 'v1alpha2', 'trafficsplits', split('a', ['b', 0], ['c', 0])],
      ['a backend twice', 'v1alpha2', 'trafficsplits', split('a', ['b', 1], ['b', 1])],
      ['quantities', 'v1alpha4', 'trafficsplits', split('a', ['b', '10m'], ['c', '1.5'], ['d', '1e2'], ['e', '1k'])],
      [
        'a root with domain, dot and port',
        'v1alpha3',
        'trafficsplits',
        split('app-svc.ns.svc.cluster.local.:9091', ['b', 1]),
      ],
      [
        'a root elsewhere, as Flagger writes it of hosts',
        'v1alpha1',
        'trafficsplits',
        split('app.example.com', ['b', '1']),
      ],
      [
        'empty matches',
        'v1alpha3',
        'trafficsplits',
        { spec: { service: 'a', matches: [], backends: backends(['b', 1]) } },
      ],
      [
        'matches with a group of null',
        'v1alpha4',
        'trafficsplits',
        {
          spec: {
            service: 'a',
            matches: [{ apiGroup: null, kind: 'HTTPRouteGroup', name: 'g' }],
            backends: backends(['b', 1]),
          },
        },
      ],
      ['a target of v1alpha1', 'v1alpha1', 'traffictargets', { destination, sources, specs: groupRules }],
      [
        'the shape of v1alpha1 in a later version',
        'v1alpha3',
        'traffictargets',
        { destination: account('a', { port: '9091' }), sources, specs: groupRules },
      ],
      [
        'a port in a text',
        'v1alpha3',
        'traffictargets',
        { spec: { destination: account('a', { port: '9091' }), sources, rules } },
      ],
      [
        'a port of nothing',
        'v1alpha1',
        'traffictargets',
        { destination: account('a', { port: '' }), sources: [account('b', { port: '' })], specs: rules },
      ],
      ['no rules and sources in v1alpha2', 'v1alpha2', 'traffictargets', { spec: { destination } }],
      [
        'a destination in another namespace',
        'v1alpha3',
        'traffictargets',
        { spec: { destination: account('a', { namespace: 'far' }), sources, rules } },
      ],
      [
        'other kinds of identity',
        'v1alpha4',
        'traffictargets',
        {
          spec: { destination: { kind: 'IdentityBinding', name: 'a' }, sources: [{ kind: 'Group', name: 'g' }], rules },
        },
      ],
      ['matches at the top of v1alpha4', 'v1alpha4', 'httproutegroups', { matches: [{ name: 'm', methods: ['*'] }] }],
      [
        'RE2 as it is',
        'v1alpha4',
        'httproutegroups',
        group({ name: 'm', pathRegex: '(?i)/a{1,30}(b|c)*\\d[[:alpha:]]$' }),
      ],
      ['headers of null', 'v1alpha4', 'httproutegroups', group({ name: 'a', headers: null })],
      [
        'both forms of headers',
        'v1alpha4',
        'httproutegroups',
        group({ name: 'a', headers: { x: 'y' } }, { name: 'b', headers: [{ x: 'y' }, { z: '' }] }),
      ],
      ['no ports', 'v1alpha4', 'tcproutes', {}],
      ['a spec of nothing', 'v1alpha3', 'tcproutes', { spec: {} }],
    ]
    for (const [what, version, plural, fields] of taken) {
      it(`take ${what} (${plural} ${version})`, async () => {
        const { status, body } = await create(version, plural, fields)
        expect(status, JSON.stringify(body)).to.equal(201)
      })
    }

    describe('a client of an old version that writes back what it knows', () => {
      it('drops no ports of a TCPRoute, which would open all', async () => {
        await create('v1alpha4', 'tcproutes', { spec: { matches: { ports: [80] } } })
        for (const fields of [{}, { spec: {} }]) {
          const { status, body } = await put('v1alpha3', 'tcproutes', fields)
          expect(status).to.equal(422)
          expect(body.message).to.contain('write the object as v1alpha4')
        }
        expect((await put('v1alpha2', 'tcproutes', { spec: { matches: { ports: [81] } } })).status).to.equal(200)
        expect((await put('v1alpha4', 'tcproutes', { spec: {} })).status).to.equal(200)
        expect((await put('v1alpha3', 'tcproutes', { spec: {} })).status).to.equal(200)
      })

      it('drops no port of a TrafficTarget, unless a TCPRoute says more', async () => {
        const old = { destination: account('a', { port: 9091 }), sources, rules: groupRules }
        await create('v1alpha2', 'traffictargets', { spec: old })
        const { status, body } = await put('v1alpha3', 'traffictargets', { spec: { ...old, destination } })
        expect(status).to.equal(422)
        expect(body.message).to.contain('name the port in a TCPRoute')
        const newer = { destination, sources, rules: [...groupRules, ...rules] }
        expect((await put('v1alpha3', 'traffictargets', { spec: newer })).status).to.equal(200)
        expect((await put('v1alpha2', 'traffictargets', { spec: old })).status).to.equal(200)
        expect((await put('v1alpha2', 'traffictargets', { spec: { ...old, destination } })).status).to.equal(200)
      })

      it('leaves no TrafficTarget without a destination, and no group without matches', async () => {
        await create('v1alpha3', 'traffictargets', { spec: { destination, sources, rules } })
        const empty = { destination: { kind: '', name: '' }, sources: null, specs: null }
        expect((await put('v1alpha1', 'traffictargets', empty)).status).to.equal(422)
        await create('v1alpha4', 'httproutegroups', group({ name: 'm' }))
        expect((await put('v1alpha1', 'httproutegroups', { matches: null })).status).to.equal(422)
      })

      it('may drop the matches of a split: it then divides everything, as any client may ask for', async () => {
        const matches = [{ kind: 'HTTPRouteGroup', name: 'g' }]
        await create('v1alpha3', 'trafficsplits', { spec: { service: 'a', matches, backends: backends(['b', 1]) } })
        expect((await put('v1alpha1', 'trafficsplits', split('a', ['b', '1']))).status).to.equal(200)
      })
    })

    it('let labels and status of an old object be written by the newest version', async () => {
      await create('v1alpha2', 'traffictargets', { spec: { destination } })
      const type = { 'content-type': 'application/merge-patch+json' }
      const label = { metadata: { labels: { team: 'a' } } }
      const target = path('v1alpha4', 'traffictargets', 'x')
      expect((await cluster.test.request('PATCH', target, label, type)).status).to.equal(200)
      const status = { status: { conditions: [{ type: 'Accepted', status: 'True' }] } }
      expect((await cluster.test.request('PATCH', `${target}/status`, status, type)).status).to.equal(200)
    })

    it('are explained, with short names and columns', async () => {
      const document = '/openapi/v3/apis/split.smi-spec.io/v1alpha1'
      const text = async () => JSON.stringify((await cluster.test.request('GET', document)).body)
      await until(async () => (await text()).includes('Its share, relative to the other weights'), 'the explanation')
      const { body } = await cluster.test.request('GET', '/apis/access.smi-spec.io/v1alpha1')
      expect(body.resources.find((each: Body) => each.name === 'traffictargets').shortNames).to.deep.equal(['tt'])
      await create('v1alpha1', 'traffictargets', { destination, sources, specs: rules })
      const table = await cluster.test.request('GET', path('v1alpha1', 'traffictargets'), undefined, {
        accept: 'application/json;as=Table;g=meta.k8s.io;v=v1',
      })
      const names = table.body.columnDefinitions.map((each: Body) => each.name)
      expect(names).to.deep.equal(['Name', 'Destination', 'Accepted', 'Enforced', 'Age', 'Message'])
      expect(table.body.rows[0].cells.slice(0, 2)).to.deep.equal(['x', 'a'])
    })
  },
  { only: 'real' },
)
