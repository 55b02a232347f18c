// HTTPRouteGroups in all their versions, and the regular expressions in them.

import { expect } from 'chai'
import type { SmiObject } from '../../../controller/observe/objects.ts'
import { readGroup } from '../../../controller/resolve/groups.ts'
import { regexFault } from '../../../controller/resolve/regex.ts'

function group(matches: unknown, isTop = false): SmiObject {
  return {
    apiVersion: 'specs.smi-spec.io/v1alpha4',
    kind: 'HTTPRouteGroup',
    metadata: { name: 'g', namespace: 'shop', uid: 'u', resourceVersion: '1' },
    ...(isTop ? { matches } : { spec: { matches } }),
  }
}

const only = (match: object) => {
  const { matches, problems } = readGroup(group([{ name: 'm', ...match }]))
  return {
    match: matches[0] ?? null,
    reasons: problems.map(({ reason }) => reason),
    fields: problems.map(({ field }) => field),
  }
}

describe('HTTPRouteGroups', () => {
  it('reads matches in spec and at the top', () => {
    expect(readGroup(group([{ name: 'a' }])).matches).to.deep.equal(readGroup(group([{ name: 'a' }], true)).matches)
  })

  it('matches everything with a name alone', () => {
    expect(only({}).match).to.deep.equal({ name: 'm', path: null, methods: null, headers: [] })
  })

  it('reads headers as a map, as a list, and ANDs what is said twice', () => {
    const expected = [
      { name: 'x-a', value: '1' },
      { name: 'x-b', value: '2' },
    ]
    expect(only({ headers: { 'X-A': '1', 'x-b': '2' } }).match?.headers).to.deep.equal(expected)
    expect(only({ headers: [{ 'X-A': '1' }, { 'x-b': '2' }] }).match?.headers).to.deep.equal(expected)
    expect(only({ headers: [{ 'X-A': '1', 'x-b': '2' }] }).match?.headers).to.deep.equal(expected)
    expect(only({ headers: [{ a: '1' }, { A: '2' }] }).match?.headers).to.have.length(2)
  })

  it('takes * and an empty list for every method', () => {
    expect(only({ methods: ['GET', '*'] }).match?.methods).to.equal(null)
    expect(only({ methods: [] }).match?.methods).to.equal(null)
    expect(only({ methods: ['GET', 'GET'] }).match?.methods).to.deep.equal(['GET'])
  })

  it('leaves a lower-case method as it is, and warns', () => {
    const { match, reasons } = only({ methods: ['get'] })
    expect(match?.methods).to.deep.equal(['get'])
    expect(reasons).to.deep.equal(['MatchInvalid'])
  })

  const broken: [string, object, string][] = [
    ['a broken path', { pathRegex: '(' }, 'spec.matches[0].pathRegex'],
    ['a path that closes our bracket', { pathRegex: 'a)|(b' }, 'spec.matches[0].pathRegex'],
    ['look-ahead', { pathRegex: '/(?=a)' }, 'spec.matches[0].pathRegex'],
    ['a back-reference', { pathRegex: '/(a)\\1' }, 'spec.matches[0].pathRegex'],
    ['a path that is no string', { pathRegex: 5 }, 'spec.matches[0].pathRegex'],
    ['an endless path', { pathRegex: 'a'.repeat(1025) }, 'spec.matches[0].pathRegex'],
    ['a repetition that explodes', { pathRegex: '((a{30}){30}){30}' }, 'spec.matches[0].pathRegex'],
    ['a program that is too large', { pathRegex: '(abcdefghij){200}' }, 'spec.matches[0].pathRegex'],
    ['methods that are no list', { methods: 'GET' }, 'spec.matches[0].methods'],
    ['a method that is none', { methods: ['GET /'] }, 'spec.matches[0].methods'],
    ['headers that are no map', { headers: 'x' }, 'spec.matches[0].headers'],
    ['headers in a list of strings', { headers: ['x'] }, 'spec.matches[0].headers'],
    ['a broken header', { headers: [{ 'x-a': '[' }] }, 'spec.matches[0].headers[0].x-a'],
    ['a header name that is none', { headers: { 'a b': 'x' } }, 'spec.matches[0].headers.a b'],
    ['a header value that is no string', { headers: { a: 1 } }, 'spec.matches[0].headers.a'],
  ]
  for (const [what, match, field] of broken) {
    it(`never matches with ${what}`, () => {
      const result = only(match)
      expect(result.match).to.equal(null)
      expect(result.fields).to.deep.equal([field])
    })
  }

  it('keeps the names of broken matches, so that rules that name them fail as a whole', () => {
    const { matches, names } = readGroup(group([{ name: 'ok' }, { name: 'bad', pathRegex: '(' }]))
    expect(matches.map(({ name }) => name)).to.deep.equal(['ok'])
    expect(names).to.deep.equal(['ok', 'bad'])
  })

  it('takes a thousand expressions, and says which match goes beyond', () => {
    const matches = Array.from({ length: 600 }, (_, index) => ({
      name: `m${index}`,
      pathRegex: `/${index}`,
      headers: [{ 'x-a': 'b' }],
    }))
    const { matches: read, problems } = readGroup(group(matches))
    expect(read).to.have.length(500)
    expect(problems.map(({ reason, field }) => `${reason} ${field}`)).to.deep.equal(['SpecInvalid spec.matches[500]'])
    expect(readGroup(group(matches.slice(0, 500))).problems).to.deep.equal([])
  })

  it('matches nothing without matches, without names, with wrong shapes', () => {
    for (const matches of [undefined, null, [], {}, 'x', [{}], [{ name: '' }], [null], [5]]) {
      const node = readGroup(group(matches))
      expect(node.matches).to.deep.equal([])
      expect(node.problems).to.have.length(1)
    }
  })
})

describe('regular expressions', () => {
  it('takes what is linear, however hostile it looks, and refuses what is large', () => {
    expect(regexFault('(x+x+)+y')).to.equal(null)
    expect(regexFault('^(([a-z])+.)+[A-Z]([a-z])+$')).to.equal(null)
    expect(regexFault('(abcdefghij){200}')).to.include('simplify')
  })

  it('gives the same answer when asked again', () => {
    for (let turn = 0; turn < 2; turn++) expect(regexFault('(')).to.include('missing closing )')
  })
})
