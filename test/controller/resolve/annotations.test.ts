// Annotations become policy; what can't be read is said and left out.

import { expect } from 'chai'
import type { Service } from '../../../controller/observe/objects.ts'
import { refOf } from '../../../controller/observe/objects.ts'
import { type Annotated, readAnnotations } from '../../../controller/resolve/annotations.ts'
import { type Problem, Problems } from '../../../controller/resolve/problem.ts'

function read(annotations: Record<string, string>): Annotated & { problems: Problem[] } {
  const service: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop', uid: 'u', resourceVersion: '1', annotations },
    spec: {},
  }
  const problems = new Problems(refOf(service))
  return { ...readAnnotations(service, problems), problems: problems.list }
}

describe('annotations', () => {
  it('has nothing to say without any', () => {
    expect(read({ 'example.com/x': 'y' })).to.deep.equal({
      policy: {},
      protocol: null,
      isDedicated: false,
      mirror: null,
      problems: [],
    })
  })

  it("takes ours before Traefik Mesh's, and its newer name before its older", () => {
    const old = { 'maesh.containo.us/retry-attempts': '1' }
    const newer = { ...old, 'mesh.traefik.io/retry-attempts': '2' }
    expect(read(old).policy.retry).to.deep.equal({ attempts: 1 })
    expect(read(newer).policy.retry).to.deep.equal({ attempts: 2 })
    expect(read({ ...newer, 'weft.dev/retry-attempts': '3' }).policy.retry).to.deep.equal({ attempts: 3 })
  })

  it('keeps our success rate before an expression', () => {
    const { policy } = read({
      'weft.dev/breaker-success-rate': '60',
      'mesh.traefik.io/circuit-breaker-expression': 'NetworkErrorRatio() > 0.1',
    })
    expect(policy.breaker).to.deep.equal({ successRate: 0.6 })
  })

  it("takes Traefik's scheme for a protocol, unless one is said", () => {
    expect(read({ 'mesh.traefik.io/scheme': 'h2c' }).protocol).to.equal('h2c')
    expect(read({ 'mesh.traefik.io/scheme': 'h2c', 'weft.dev/protocol': 'tcp' }).protocol).to.equal('opaque')
  })

  const timeouts: [string, number | null][] = [
    ['1ms', 1],
    ['0.5s', 500],
    ['0m30s500ms', 30_500],
    ['1m', 60_000],
    ['1m1ms', null],
    ['1h', null],
    ['0s', null],
    ['5', null],
    ['-1s', null],
    ['1 s', null],
    ['1d', null],
    ['9'.repeat(400), null],
  ]
  for (const [value, expected] of timeouts) {
    it(`reads the connect time-out ${value.slice(0, 10)} as ${expected}`, () => {
      const { policy, problems } = read({ 'weft.dev/connect-timeout': value })
      expect(policy.timeouts?.connectMs ?? null).to.equal(expected)
      expect(problems.length).to.equal(expected === null ? 1 : 0)
    })
  }

  it('names the annotation, the value and the fix', () => {
    const [problem] = read({ 'weft.dev/retry-attempts': '99' }).problems
    expect(problem).to.include({
      reason: 'AnnotationInvalid',
      severity: 'error',
      field: 'metadata.annotations[weft.dev/retry-attempts]',
    })
    expect(problem?.message).to.include('"99"').and.include('from 0 to 10')
  })

  it('ignores a value that is wrong and keeps the others', () => {
    const { policy } = read({ 'weft.dev/retry-attempts': 'x', 'weft.dev/retry-timeout': '1s' })
    expect(policy.retry).to.deep.equal({ perTryMs: 1000 })
  })

  it('drops both breaker pauses if the longest is the shorter one', () => {
    const { policy, problems } = read({ 'weft.dev/breaker-open': '10s', 'weft.dev/breaker-max-open': '1s' })
    expect(policy).to.deep.equal({})
    expect(problems).to.have.length(1)
  })

  it('says what has no effect alone', () => {
    for (const name of ['rate-burst', 'mirror-percent', 'fault-delay-percent', 'fault-abort-percent']) {
      expect(read({ [`weft.dev/${name}`]: '5' }).problems.map(({ reason }) => reason)).to.deep.equal([
        'AnnotationInvalid',
      ])
    }
    expect(read({ 'weft.dev/fault-header': 'x' }).problems).to.have.length(1)
    expect(read({ 'weft.dev/balance-header': 'x' }).problems).to.have.length(1)
  })

  for (const name of ['Host', 'content-length', 'Transfer-Encoding', 'Connection', 'X-Forwarded-Client-Cert']) {
    it(`never edits ${name}`, () => {
      expect(read({ 'weft.dev/request-header-set': `${name}: x` }).policy.headers).to.equal(undefined)
      expect(read({ 'weft.dev/request-header-remove': `x, ${name}` }).policy.headers).to.equal(undefined)
    })
  }

  it('lets no header value break out of its line', () => {
    expect(read({ 'weft.dev/response-header-add': 'x: a\rEvil: b' }).policy.headers).to.equal(undefined)
    expect(read({ 'weft.dev/response-header-add': 'x: a\u0000' }).policy.headers).to.equal(undefined)
    expect(read({ 'weft.dev/response-header-add': 'a b: c' }).policy.headers).to.equal(undefined)
  })

  it('lets no redirect break out of its line', () => {
    for (const value of ['308 /a', '308 /a b c', '308 a /b', '308 /a javascript:x', '200 /a /b', '308 /a?x /b']) {
      expect(read({ 'weft.dev/redirect': value }).policy.redirect, value).to.equal(undefined)
    }
  })

  it('suggests a name for one that does not exist', () => {
    const [problem] = read({ 'weft.dev/connect-timeout-ms': '5' }).problems
    expect(problem?.reason).to.equal('AnnotationUnknown')
    expect(problem?.message).to.include('did you mean weft.dev/connect-timeout?')
  })

  it('is not fooled by names of objects', () => {
    expect(read({ 'weft.dev/constructor': 'x', 'weft.dev/__proto__': 'y' }).problems).to.have.length(2)
  })
})
