// The validating webhook's judgement: what is refused, what is warned of, and what is let through on purpose.

import { expect } from 'chai'
import { parse } from 'yaml'
import { type ReviewAnswer, ReviewError, review } from '../../../controller/admission/review.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'

type Fields = Record<string, unknown>

const read = (yaml: string) => parse(yaml) as Fields & { metadata: Fields }

function ask(object: Fields | null, oldObject: Fields | null = null, change: Fields = {}): ReviewAnswer['response'] {
  const operation = oldObject === null ? 'CREATE' : 'UPDATE'
  const request = { uid: 'u1', operation, namespace: 'shop', object, oldObject, ...change }
  const answer = review({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request }, defaultSettings)
  expect(answer).to.include({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' })
  expect(answer.response.uid).to.equal('u1')
  return answer.response
}

const split = (backends: string, more = '', version = 'v1alpha4') =>
  read(
    `{apiVersion: split.smi-spec.io/${version}, kind: TrafficSplit, metadata: {name: s, namespace: shop${more}}, spec: {service: web, backends: ${backends}}}`,
  )
const good = '[{service: a, weight: 1}]'
const bad = '[{service: a, weight: 1}, {service: b, weight: -1}]'

describe('admission: reviews', () => {
  it('let good objects through, whether what they name exists or not', () => {
    expect(ask(split(good))).to.deep.equal({ uid: 'u1', allowed: true })
  })

  it('let through what Flagger and Argo Rollouts write, to the last step', () => {
    for (const [version, canary, primary] of [
      ['v1alpha1', '"0"', '"100"'],
      ['v1alpha1', '100m', '0'],
      ['v1alpha2', 0, 100],
      ['v1alpha3', 100, 0],
    ]) {
      const backends = `[{service: web-canary, weight: ${canary}}, {service: web, weight: ${primary}}]`
      expect(ask(split(backends, '', String(version))), backends).to.deep.equal({ uid: 'u1', allowed: true })
    }
  })

  it('refuse what is wrong by itself, and say which field and how to mend it', () => {
    const { allowed, status, warnings } = ask(split(bad))
    expect(allowed).to.equal(false)
    expect(warnings).to.equal(undefined)
    expect(status).to.deep.include({ code: 422, reason: 'Invalid' })
    expect(status?.message).to.match(/^spec\.backends\[1\]\.weight: -1 is no weight; write a whole number/)
    expect(status?.details.causes).to.have.length(1)
    expect(status?.details.causes[0]).to.include({ reason: 'WeightInvalid', field: 'spec.backends[1].weight' })
  })

  const wrong: [string, string][] = [
    [
      '{apiVersion: split.smi-spec.io/v1alpha2, kind: TrafficSplit, metadata: {name: x}, spec: {service: web.other, backends: [{service: a, weight: 1}]}}',
      'only Services of the object',
    ],
    [
      '{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {name: x}, spec: {matches: [{name: m, pathRegex: "("}]}}',
      'RE2',
    ],
    [
      '{apiVersion: specs.smi-spec.io/v1alpha2, kind: HTTPRouteGroup, metadata: {name: x}, matches: [{name: m, headers: [{a: "(?=b)"}]}]}',
      'RE2',
    ],
    [
      '{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: x}, spec: {matches: {ports: [70000]}}}',
      'port',
    ],
    [
      '{apiVersion: specs.smi-spec.io/v1alpha4, kind: UDPRoute, metadata: {name: x}, spec: {matches: {ports: [0]}}}',
      'port',
    ],
    [
      '{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: x}, spec: {destination: {kind: ServiceAccount, name: a, namespace: other}, sources: [{kind: ServiceAccount, name: b}], rules: [{kind: TCPRoute, name: r}]}}',
      "not the target's own namespace",
    ],
    [
      '{apiVersion: access.smi-spec.io/v1alpha1, kind: TrafficTarget, metadata: {name: x}, destination: {kind: ServiceAccount, name: a}, specs: [{kind: TCPRoute, name: r}]}',
      'sources',
    ],
  ]
  for (const [text, message] of wrong) {
    const object = read(text)
    it(`refuse a wrong ${object['kind']} of ${object['apiVersion']}: ${message}`, () => {
      const { allowed, status } = ask(object)
      expect(allowed).to.equal(false)
      expect(status?.message).to.include(message)
    })
  }

  it('warn of what is in force but hardly as meant', () => {
    const { allowed, warnings } = ask(split('[{service: a, weight: 1}, {service: a, weight: 1}]'))
    expect(allowed).to.equal(true)
    expect(warnings).to.have.length(1)
    expect(warnings?.[0]).to.match(/^spec\.backends\[1\]\.service: "a" is listed twice/)
  })

  it('let an update through that makes nothing worse', () => {
    const labelled = split(bad, ', labels: {a: b}')
    expect(ask(labelled, split(bad)).allowed).to.equal(true)
    expect(ask(labelled, split(bad)).warnings?.[0]).to.include('-1 is no weight')
    // The bad one has moved.
    const moved = split('[{service: c, weight: 1}, {service: a, weight: 1}, {service: b, weight: -1}]')
    expect(ask(moved, split(bad)).allowed).to.equal(true)
    // And one more is worse.
    expect(ask(split('[{service: a, weight: x}, {service: b, weight: -1}]'), split(bad)).allowed).to.equal(false)
    expect(ask(split(bad), split(good)).allowed).to.equal(false)
  })

  it('let everything through that is being deleted, or is nothing of ours', () => {
    expect(ask(split(bad, ', deletionTimestamp: "2026-01-01T00:00:00Z"'), split(good)).allowed).to.equal(true)
    expect(ask(null, split(bad), { operation: 'DELETE' }).allowed).to.equal(true)
    expect(ask(read('{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}}'))).to.deep.equal({
      uid: 'u1',
      allowed: true,
    })
  })

  it('judge objects that have only the beginning of a name yet', () => {
    const { metadata, ...rest } = split(bad)
    expect(metadata['name']).to.equal('s')
    expect(ask({ ...rest, metadata: { generateName: 'web-' } }).allowed).to.equal(false)
    expect(ask({ ...rest, metadata: {} }).allowed).to.equal(false)
  })

  it('bound what they say', () => {
    const backends = Array.from({ length: 100 }, () => `{service: ${'a'.repeat(60)}, weight: 1}`)
    const { warnings = [] } = ask(split(`[${backends}]`))
    expect(warnings).to.have.length(12)
    for (const warning of warnings) expect(warning.length).to.be.at.most(256)
  })

  for (const body of [null, [], {}, { kind: 'AdmissionReview', apiVersion: 'admission.k8s.io/v1beta1' }]) {
    it(`are no answer to ${JSON.stringify(body)}`, () => {
      expect(() => review(body, defaultSettings)).to.throw(ReviewError)
    })
  }

  it('are no answer to requests without their fields', () => {
    const wrap = (request: unknown) => ({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request })
    expect(() => review(wrap({}), defaultSettings)).to.throw(ReviewError, 'request.uid')
    expect(() => review(wrap({ uid: 'u', object: [] }), defaultSettings)).to.throw(ReviewError, 'request.object')
  })
})
