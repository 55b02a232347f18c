// HTTPRouteGroup, ruling by ruling: which requests a match takes, from the manifests to the agent's test of a request. The
// numbers are the sections of the SMI facts that the project goes by.

import { expect } from 'chai'
import type { MatchInput } from '../../agent/mesh/match.ts'
import { type Decided, decide } from '../support/decide.ts'
import { input } from '../support/snapshot.ts'

/** A group `g` that a target of `dest` names, so that what it takes is what `web` may do. */
function group(matches: string, version = 4, isTop = false): string {
  const field = `matches: ${matches}`
  return `{apiVersion: specs.smi-spec.io/v1alpha${version}, kind: HTTPRouteGroup, metadata: {name: g}, ${isTop ? field : `spec: {${field}}`}}`
}

const ground = [
  ...['dest', 'web'].map((name) => `{apiVersion: v1, kind: ServiceAccount, metadata: {name: ${name}}}`),
  '{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: t}, spec: {destination: {kind: ServiceAccount, name: dest}, sources: [{kind: ServiceAccount, name: web}], rules: [{kind: HTTPRouteGroup, name: g}]}}',
]

const decided = (...documents: string[]): Decided => decide([...ground, ...documents])
const takes = (document: string, request: MatchInput) => decided(document).allows('web', 'dest', 80, request)
const withHeaders = (headers: Record<string, string>) => input('GET', '/', headers)

describe('SMI HTTPRouteGroup', () => {
  describe('1.3 headers', () => {
    for (const [form, headers] of [
      ['a map (the text of the specification)', '{user-agent: ".*iPhone.*", cookie: "^(.*?;)?(type=insider)(;.*)?$"}'],
      ['a list of maps (the SDK)', '[{user-agent: ".*iPhone.*"}, {cookie: "^(.*?;)?(type=insider)(;.*)?$"}]'],
      ['a list with one map of two', '[{user-agent: ".*iPhone.*", cookie: "^(.*?;)?(type=insider)(;.*)?$"}]'],
    ]) {
      it(`${form}: all of them must fit`, () => {
        const document = group(`[{name: m, headers: ${headers}}]`)
        expect(takes(document, withHeaders({ 'user-agent': 'an iPhone', cookie: 'a=b;type=insider' }))).to.equal(true)
        expect(takes(document, withHeaders({ 'user-agent': 'an iPhone', cookie: 'type=outsider' }))).to.equal(false)
        expect(takes(document, withHeaders({ 'user-agent': 'an iPhone' }))).to.equal(false)
      })
    }

    it('names are compared without regard to case', () => {
      expect(takes(group('[{name: m, headers: {X-Team: blue}}]'), withHeaders({ 'x-team': 'blue' }))).to.equal(true)
    })

    it('an expression is sought anywhere in the value', () => {
      expect(takes(group('[{name: m, headers: {x: "t|True"}}]'), withHeaders({ x: 'true' }))).to.equal(true)
      expect(takes(group('[{name: m, headers: {x: ^hello$}}]'), withHeaders({ x: 'hello you' }))).to.equal(false)
    })

    it('a header that is absent fits nothing, not even what fits an empty text', () => {
      for (const expression of ['".*"', '""', '"^$"'])
        expect(takes(group(`[{name: m, headers: {x: ${expression}}}]`), withHeaders({})), expression).to.equal(false)
    })

    it('several values are one text, joined by a comma and a space', () => {
      expect(takes(group('[{name: m, headers: {x: "^a, b$"}}]'), withHeaders({ x: 'a, b' }))).to.equal(true)
    })
  })

  describe('1.3 what is not given does not matter', () => {
    for (const [title, match, request] of [
      ['a name alone takes everything', '{name: m}', input('PURGE', '/x')],
      [
        'headers without path and methods take any of those',
        '{name: m, headers: {x: y}}',
        input('PUT', '/z', { x: 'y' }),
      ],
      ['an empty pathRegex is none', '{name: m, pathRegex: ""}', input('GET', '/x')],
      ['an empty list of methods is none', '{name: m, methods: []}', input('PATCH', '/x')],
    ] as const) {
      it(title, () => expect(takes(group(`[${match}]`), request)).to.equal(true))
    }
  })

  describe('1.3 shapes of all versions in any version', () => {
    for (const version of [1, 2, 3, 4]) {
      it(`v1alpha${version}: matches in spec and at the top`, () => {
        for (const isTop of [true, false]) {
          const document = group('[{name: m, pathRegex: /x, headers: [{a: b}]}]', version, isTop)
          expect(takes(document, input('GET', '/x', { a: 'b' }))).to.equal(true)
          expect(takes(document, input('GET', '/x'))).to.equal(false)
        }
      })
    }
  })

  describe('1.3 expressions', () => {
    for (const [title, match] of [
      ['an unclosed group', 'pathRegex: "/(a"'],
      ['look-ahead', 'pathRegex: "/(?=a)"'],
      ['a back-reference', "pathRegex: '/(a)\\1'"],
      ['a header value', 'headers: {x: "["}'],
      ['one that would close our bracket', 'pathRegex: "a)|(.*"'],
    ] as const) {
      it(`${title}: the match takes nothing, the others go on, and the group says so`, () => {
        const all = decided(group(`[{name: bad, ${match}}, {name: good, pathRegex: /good}]`))
        expect(all.allows('web', 'dest', 80, input('GET', '/a', { x: '[' }))).to.equal(false)
        expect(all.allows('web', 'dest', 80, input('GET', '/good'))).to.equal(true)
        expect(all.said).to.deep.equal(['HTTPRouteGroup g: RegexInvalid'])
      })
    }

    it('one that would keep a backtracking engine busy for years is answered at once', () => {
      const document = group('[{name: m, pathRegex: "/(a+)+$"}]')
      const startedAt = performance.now()
      expect(takes(document, input('GET', `/${'a'.repeat(5000)}!`))).to.equal(false)
      expect(performance.now() - startedAt).to.be.below(1000)
    })
  })
})
