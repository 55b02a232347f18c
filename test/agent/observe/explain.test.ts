// /debug/permit: questions read strictly, answered with the rule that decides.

import { expect } from 'chai'
import { answerPermit, readPermitQuestion } from '../../../agent/observe/explain.ts'
import type { AccessRule } from '../../../controller/contract/resources.ts'
import { endpointSpec, snapshot, workload } from '../../support/snapshot.ts'

const rule = (name: string, given: Partial<AccessRule>): AccessRule => ({
  name: `shop/${name}`,
  sources: ['shop/web'],
  ports: null,
  http: null,
  ...given,
})
const match = (path: string) => ({ name: 'm', path, methods: ['GET'], headers: [{ name: 'x-team', value: '^a' }] })

describe('agent/observe/explain', () => {
  const rules = [
    rule('other', { sources: ['shop/other'] }),
    rule('port', { ports: [9090] }),
    rule('route', { ports: [8080], http: [match('/api')] }),
  ]
  const guarded = snapshot({
    access: [
      { kind: 'access', name: 'shop/reviews', rules },
      { kind: 'access', name: 'shop/broken', rules: [] },
    ],
    workloads: [workload('10.0.0.5', 'shop/web'), workload('10.0.0.6', 'shop/reviews')],
    defaultAccess: 'deny',
  })

  function ask(text: string) {
    const question = readPermitQuestion(new URLSearchParams(text))
    if (typeof question === 'string') throw new Error(question)
    return answerPermit(guarded, question)
  }

  it('names the rule that allows', () => {
    const answer = ask('source=shop/web&destination=shop/reviews&port=8080&path=/api/1&header=X-Team: a1')
    expect(answer).to.deep.equal({
      allowed: true,
      cause: 'rule',
      rule: 'shop/route',
      why: 'shop/route allows it',
      source: 'shop/web',
      destination: 'shop/reviews',
      port: 8080,
      request: 'GET /api/1',
      rules: [
        { rule: 'shop/other', cause: 'source' },
        { rule: 'shop/port', cause: 'port' },
        { rule: 'shop/route', cause: 'rule' },
      ],
      snapshot: '1',
    })
  })

  const denials: [string, string, string, string][] = [
    ['another path', 'path=/x&header=x-team:a', 'route', 'shop/route'],
    ['a path that only looks right', 'path=/api/../x&header=x-team:a', 'route', 'shop/route'],
    ['another method', 'method=POST&path=/api&header=x-team:a', 'route', 'shop/route'],
    ['a missing header', 'path=/api', 'route', 'shop/route'],
    ['an opaque connection', '', 'opaque', 'shop/route'],
  ]
  for (const [what, request, cause, name] of denials) {
    it(`names the rule that came closest: ${what}`, () => {
      const answer = ask(`source=shop/web&destination=shop/reviews&port=8080&${request}`)
      expect([answer.allowed, answer.cause, answer.rule]).to.deep.equal([false, cause, name])
      expect(answer.why).to.include(name)
    })
  }

  it('tells modes, unknown sources and broken targets apart', () => {
    const why = (text: string) => ask(`port=80&${text}`).why
    expect(why('source=shop/web&destination=other/x')).to.equal(
      'no TrafficTarget names the destination, and its namespace is in mode deny',
    )
    expect(why('source=a/b&destination=shop/reviews')).to.equal('no TrafficTarget of the destination names the source')
    expect(why('source=a/b&destination=shop/broken')).to.include('none is valid')
    expect(ask('destination=shop/reviews&port=80')).to.include({ source: null, cause: 'source' })
  })

  it('takes addresses of pods', () => {
    const answer = ask('source=10.0.0.5&destination=10.0.0.6&port=9090')
    expect(answer).to.include({ allowed: true, source: 'shop/web', destination: 'shop/reviews', rule: 'shop/port' })
    expect(ask('source=10.0.0.99&destination=10.0.0.6&port=9090')).to.include({ source: null, allowed: false })
    expect(endpointSpec('10.0.0.6').account).to.equal('shop/reviews')
  })

  const flaws: [string, string][] = [
    ['destination=shop/reviews', 'port'],
    ['destination=shop/reviews&port=0', 'port'],
    ['destination=shop/reviews&port=65536', 'port'],
    ['destination=shop/reviews&port=http', 'port'],
    ['port=80', 'destination'],
    ['destination=reviews&port=80', 'destination'],
    ['source=web&destination=shop/reviews&port=80', 'source'],
    ['destination=shop/reviews&port=80&path=api', 'path'],
    ['destination=shop/reviews&port=80&path=/a%00', 'path'],
    ['destination=shop/reviews&port=80&header=a:b', 'header'],
    ['destination=shop/reviews&port=80&path=/&header=a', 'header'],
    ['destination=shop/reviews&port=80&pth=/', 'pth'],
  ]
  for (const [text, field] of flaws) {
    it(`refuses ${text}, naming ${field}`, () => {
      const question = readPermitQuestion(new URLSearchParams(text))
      expect(question).to.be.a('string')
      expect(question).to.include(field)
    })
  }
})
