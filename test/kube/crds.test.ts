// Our definitions of the SMI kinds: every version that somebody writes is taken, in the shape in which it is written, and
// a wrong type is refused with the name of its field.

import { expect } from 'chai'
import type { Answer, Body } from '../support/api.ts'
import { eachCluster } from '../support/kubecluster.ts'

const groups: Record<string, string> = {
  trafficsplits: 'split.smi-spec.io',
  traffictargets: 'access.smi-spec.io',
  httproutegroups: 'specs.smi-spec.io',
  tcproutes: 'specs.smi-spec.io',
  udproutes: 'specs.smi-spec.io',
}
const kinds: Record<string, string> = {
  trafficsplits: 'TrafficSplit',
  traffictargets: 'TrafficTarget',
  httproutegroups: 'HTTPRouteGroup',
  tcproutes: 'TCPRoute',
  udproutes: 'UDPRoute',
}
const target = {
  destination: { kind: 'ServiceAccount', name: 'a' },
  sources: [{ kind: 'ServiceAccount', name: 'b', namespace: 'c' }],
}

eachCluster('SMI definitions', (cluster) => {
  let namespace = ''
  beforeEach(async () => {
    namespace = await cluster.test.namespace()
  })

  const path = (version: string, plural: string, name = '') =>
    `/apis/${groups[plural]}/${version}/namespaces/${namespace}/${plural}${name && `/${name}`}`

  function create(version: string, plural: string, fields: object): Promise<Answer> {
    const object = {
      apiVersion: `${groups[plural]}/${version}`,
      kind: kinds[plural],
      metadata: { name: 'x' },
      ...fields,
    }
    return cluster.test.request('POST', path(version, plural), object)
  }

  const read = async (version: string, plural: string): Promise<Body> =>
    (await cluster.test.request('GET', path(version, plural, 'x'))).body

  for (const version of ['v1alpha1', 'v1alpha2', 'v1alpha3', 'v1alpha4']) {
    it(`shows every version what a writer of ${version} wrote`, async () => {
      const backends = [
        { service: 'a', weight: '0' },
        { service: 'b', weight: '500m' },
        { service: 'c', weight: 100 },
      ]
      const spec = { service: 'root', backends, matches: [{ kind: 'HTTPRouteGroup', name: 'g' }] }
      expect((await create(version, 'trafficsplits', { spec })).status).to.equal(201)
      for (const other of ['v1alpha1', 'v1alpha2', 'v1alpha3', 'v1alpha4']) {
        expect((await read(other, 'trafficsplits')).spec).to.deep.equal(spec)
      }
    })
  }

  it('takes the life of a Flagger canary and of an Argo rollout', async () => {
    const weights = (canary: unknown, primary: unknown) => [
      { service: 'podinfo-canary', weight: canary },
      { service: 'podinfo-primary', weight: primary },
    ]
    const made = await create('v1alpha2', 'trafficsplits', { spec: { service: 'podinfo', backends: weights(0, 100) } })
    made.body.spec.backends = weights(5, 95)
    const put = await cluster.test.request('PUT', path('v1alpha2', 'trafficsplits', 'x'), made.body)
    expect(put.status).to.equal(200)
    // Argo Rollouts sends strings, in a merge patch that replaces the list.
    const patch = { spec: { backends: weights('10', '90') } }
    const type = { 'content-type': 'application/merge-patch+json' }
    const patched = await cluster.test.request('PATCH', path('v1alpha1', 'trafficsplits', 'x'), patch, type)
    expect(patched.status).to.equal(200)
    expect((await read('v1alpha4', 'trafficsplits')).spec.backends).to.deep.equal(weights('10', '90'))
  })

  it('keeps the status apart from the rest', async () => {
    const spec = { service: 'a', backends: [{ service: 'b', weight: 1 }] }
    const { body } = await create('v1alpha4', 'trafficsplits', { spec, status: { conditions: [] } })
    expect(body.status).to.equal(undefined)
    const conditions = [{ type: 'Accepted', status: 'True' }]
    const status = await cluster.test.request('PUT', `${path('v1alpha4', 'trafficsplits', 'x')}/status`, {
      ...body,
      status: { conditions },
    })
    expect(status.status).to.equal(200)
    const object = await read('v1alpha2', 'trafficsplits')
    expect(object.status).to.deep.equal({ conditions })
    expect(object.metadata.generation).to.equal(1)
  })

  const taken: [string, string, string, object][] = [
    [
      'a target of v1alpha1',
      'v1alpha1',
      'traffictargets',
      { ...target, specs: [{ kind: 'HTTPRouteGroup', name: 'g', matches: ['m'] }] },
    ],
    [
      'a port in a string',
      'v1alpha2',
      'traffictargets',
      {
        spec: {
          ...target,
          destination: { ...target.destination, port: '9091' },
          rules: [{ kind: 'TCPRoute', name: 't' }],
        },
      },
    ],
    [
      'a group with matches at the top',
      'v1alpha4',
      'httproutegroups',
      { matches: [{ name: 'm', methods: ['*'], pathRegex: '/x', headers: [{ a: 'b' }] }] },
    ],
    ['headers in a map', 'v1alpha2', 'httproutegroups', { spec: { matches: [{ name: 'm', headers: { a: 'b' } }] } }],
    ['a TCPRoute of old', 'v1alpha3', 'tcproutes', { spec: {} }],
    ['a TCPRoute with ports', 'v1alpha4', 'tcproutes', { spec: { matches: { name: 'm', ports: [80] } } }],
    ['a UDPRoute', 'v1alpha4', 'udproutes', { spec: { matches: { ports: [] } } }],
  ]
  for (const [what, version, plural, fields] of taken) {
    it(`takes ${what}, and loses none of it`, async () => {
      expect((await create(version, plural, fields)).status).to.equal(201)
      expect(await read('v1alpha4', plural)).to.deep.include(fields)
    })
  }

  const backend = (weight: unknown) => ({ spec: { service: 'a', backends: [{ service: 'b', weight }] } })
  const matches = (match: object) => ({ spec: { matches: [{ name: 'm', ...match }] } })
  const refused: [string, string, object, string][] = [
    ['a heavy weight', 'trafficsplits', backend('heavy'), 'spec.backends[0].weight'],
    ['a negative weight', 'trafficsplits', backend(-1), 'spec.backends[0].weight'],
    ['a negative quantity', 'trafficsplits', backend('-1'), 'spec.backends[0].weight'],
    ['half a weight', 'trafficsplits', backend(0.5), 'spec.backends[0].weight'],
    ['a weight that is a list', 'trafficsplits', backend([]), 'spec.backends[0].weight'],
    ['no backends', 'trafficsplits', { spec: { service: 'a' } }, 'spec.backends'],
    ['a root that is no text', 'trafficsplits', { spec: { service: 5, backends: [] } }, 'spec.service'],
    ['nothing', 'trafficsplits', {}, 'spec'],
    [
      'a foreign match',
      'trafficsplits',
      { spec: { service: 'a', backends: [], matches: [{ kind: 'TCPRoute', name: 't' }] } },
      'spec.matches[0].kind',
    ],
    ['a destination that is a text', 'traffictargets', { spec: { destination: 'x' } }, 'spec.destination'],
    [
      'a rule of an unknown kind',
      'traffictargets',
      { spec: { ...target, rules: [{ kind: 'Http', name: 'x' }] } },
      'spec.rules[0].kind',
    ],
    ['a method in lower case', 'httproutegroups', matches({ methods: ['get'] }), 'spec.matches[0].methods[0]'],
    ['a path that is a number', 'httproutegroups', matches({ pathRegex: 5 }), 'spec.matches[0].pathRegex'],
    ['a port in a text', 'tcproutes', { spec: { matches: { ports: ['80'] } } }, 'spec.matches.ports[0]'],
    ['a port beyond', 'tcproutes', { spec: { matches: { ports: [70000] } } }, 'spec.matches.ports[0]'],
  ]
  for (const [what, plural, fields, field] of refused) {
    it(`refuses ${what} and names ${field}`, async () => {
      const { status, body } = await create('v1alpha4', plural, fields)
      expect(status).to.equal(422)
      expect(body.details.causes.map((cause: Body) => cause.field)).to.include(field)
    })
  }
})
