// `weft check -f`: manifests judged alone, or with what the cluster has.

import { expect } from 'chai'
import { emptyWorld } from '../../../controller/observe/world.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import { parseManifests } from '../../../controller/validate/manifests.ts'
import { validate } from '../../../controller/validate/validate.ts'
import { said, shop, worldOf } from '../../support/world.ts'

const parse = (text: string) => parseManifests(text, 'f.yaml', 'shop')

function check(text: string, cluster: string | null = null): string[] {
  const { objects, faults } = parse(text)
  expect(faults).to.deep.equal([])
  return said(validate(objects, defaultSettings, cluster === null ? null : worldOf(cluster, emptyWorld)))
}

describe('manifests', () => {
  it('reads several documents, JSON, lists and nothing', () => {
    const text = `# comment
---
{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {}}
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Namespace, metadata: {name: n}}
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: b, namespace: other}}
---
`
    const { objects, faults } = parse(text)
    expect(faults).to.deep.equal([])
    expect(objects.map(({ kind, metadata }) => [kind, metadata.namespace, metadata.name])).to.deep.equal([
      ['Service', 'shop', 'a'],
      ['Namespace', undefined, 'n'],
      ['ServiceAccount', 'other', 'b'],
    ])
    expect(parse('').objects).to.deep.equal([])
  })

  const faults: [string, string, number][] = [
    ['a: [', 'f.yaml', 1],
    ['apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\nfoo: bar\n', 'apiVersion', 5],
    ['apiVersion: v1\nmetadata: {name: a}', 'kind', 1],
    ['apiVersion: v1\nkind: Service', 'metadata.name', 1],
    ['just text', 'map', 1],
    [
      'apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: {weft.dev/retry-attempts: 2}}',
      'must be a string',
      1,
    ],
    ['apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: []}', 'must be a map', 1],
  ]
  for (const [text, message, line] of faults) {
    it(`says where ${JSON.stringify(text.slice(0, 30))} is wrong`, () => {
      const [fault] = parse(text).faults
      expect(fault?.line).to.equal(line)
      if (message !== 'f.yaml') expect(fault?.message).to.include(message)
      expect(fault?.source).to.equal('f.yaml')
    })
  }

  it('knows the lines of fields, in lists, behind aliases and in JSON', () => {
    const text = `apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Service
    metadata:
      name: a
      annotations: &notes
        weft.dev/retry-attempts: "2"
  - apiVersion: v1
    kind: Service
    metadata:
      name: b
      annotations: *notes
---
{
  "apiVersion": "v1", "kind": "Service",
  "metadata": { "name": "c" },
  "spec": { "ports": [
    { "port": 1 },
    { "port": 2 }
  ] }
}`
    const { objects, places, faults } = parse(text)
    expect(faults).to.deep.equal([])
    const lines = (fields: string[]) => fields.map((field, index) => places.get(objects[index]!)?.line(field))
    const annotation = 'metadata.annotations[weft.dev/retry-attempts]'
    expect(lines([annotation, annotation, 'spec.ports[1].port'])).to.deep.equal([9, 9, 21])
    // What is not there is looked for as far as it goes.
    expect(lines(['spec.ports', 'metadata.labels[x]', 'spec.ports[7].port'])).to.deep.equal([4, 12, 19])
    expect(lines(['', '', ''])).to.deep.equal([4, 10, 16])
  })

  it('does not let anchors explode', () => {
    const lines = ['a0: &a0 [x,x,x,x,x,x,x,x,x,x]']
    for (let index = 1; index < 9; index++)
      lines.push(`a${index}: &a${index} [${`*a${index - 1},`.repeat(10).slice(0, -1)}]`)
    expect(parse(lines.join('\n')).faults).to.have.length(1)
  })
})

describe('validate', () => {
  const split = (backends: string) =>
    `{apiVersion: split.smi-spec.io/v1alpha4, kind: TrafficSplit, metadata: {name: s}, spec: {service: web, backends: ${backends}}}`

  it('says nothing about objects that may be elsewhere', () => {
    expect(check(split('[{service: a, weight: 1}, {service: b, weight: 1}]'))).to.deep.equal([])
    expect(
      check(
        '{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: t}, spec: {destination: {kind: ServiceAccount, name: d}, sources: [{kind: ServiceAccount, name: s}], rules: [{kind: TCPRoute, name: r}]}}',
      ),
    ).to.deep.equal([])
  })

  it('says it where the cluster is known', () => {
    const cluster = shop({ name: 'web' }, { name: 'a' })
    expect(check(split('[{service: a, weight: 1}, {service: b, weight: 1}]'), cluster)).to.deep.equal([
      'TrafficSplit s: BackendNotFound',
    ])
    expect(check(split('[{service: a, weight: 1}]'), cluster)).to.deep.equal([])
  })

  it('judges what the file has as it would be applied', () => {
    const cluster = shop({ name: 'web' }, { name: 'a' })
    const text = `${split('[{service: a, weight: 1}, {service: b, weight: 1}]')}\n---\n{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: [{port: 1}]}}`
    expect(check(text, cluster)).to.deep.equal(['TrafficSplit s: BackendPortMissing'])
  })

  it('says only what concerns the given objects', () => {
    const cluster = `${shop({ name: 'web' })}\n---\n${split('[{service: gone, weight: 1}]')}`
    expect(check('{apiVersion: v1, kind: ServiceAccount, metadata: {name: x}}', cluster)).to.deep.equal([])
  })

  it('finds what is wrong by itself', () => {
    expect(check(split('[{service: a, weight: heavy}]'))).to.include('TrafficSplit s: WeightInvalid')
    expect(
      check(
        '{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {name: g}, spec: {matches: [{name: m, pathRegex: (}]}}',
      ),
    ).to.deep.equal(['HTTPRouteGroup g: RegexInvalid'])
    expect(
      check('{apiVersion: v1, kind: Namespace, metadata: {name: n, labels: {weft.dev/access: closed}}}'),
    ).to.deep.equal(['Namespace n: LabelInvalid'])
  })

  it('reads annotations of Services in the mesh and out of it, once', () => {
    const service = (labels: string) =>
      `{apiVersion: v1, kind: Service, metadata: {name: x, labels: ${labels}, annotations: {weft.dev/retry-attempts: many}}, spec: {ports: [{port: 80}]}}`
    expect(check(service('{}'))).to.deep.equal(['Service x: AnnotationInvalid'])
    expect(check(service('{weft.dev/mesh: enabled}'))).to.deep.equal(['Service x: AnnotationInvalid'])
  })

  it('refuses versions that are not served, and ignores kinds of others', () => {
    expect(
      check(
        '{apiVersion: split.smi-spec.io/v1, kind: TrafficSplit, metadata: {name: s}, spec: {service: a, backends: [{service: b, weight: 1}]}}',
      ),
    ).to.deep.equal(['TrafficSplit s: SpecInvalid'])
    expect(
      check('{apiVersion: gateway.networking.k8s.io/v1alpha2, kind: TCPRoute, metadata: {name: s}}'),
    ).to.deep.equal([])
    expect(check('{apiVersion: apps/v1, kind: Deployment, metadata: {name: s}}')).to.deep.equal([])
    expect(check('{apiVersion: v1, kind: constructor, metadata: {name: s}}')).to.deep.equal([])
  })

  it('notices an object that is given twice', () => {
    const text = '{apiVersion: v1, kind: ServiceAccount, metadata: {name: x}}'
    expect(check(`${text}\n---\n${text}`)).to.deep.equal(['ServiceAccount x: SpecInvalid'])
  })

  it('survives Services that the API server would refuse', () => {
    for (const spec of [
      'null',
      '5',
      '[]',
      '{ports: x}',
      '{ports: [x]}',
      '{ports: [{port: 0}]}',
      '{ports: [{port: x}]}',
    ]) {
      expect(
        check(`{apiVersion: v1, kind: Service, metadata: {name: x, labels: {weft.dev/mesh: enabled}}, spec: ${spec}}`),
        spec,
      ).to.deep.equal(['Service x: SpecInvalid'])
    }
    expect(check('{apiVersion: v1, kind: Service, metadata: {name: x}}')).to.deep.equal(['Service x: SpecInvalid'])
  })
})
