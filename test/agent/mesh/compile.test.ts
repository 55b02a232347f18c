// Route matches compiled to run in linear time, against RE2 itself and against hostile expressions.

import { expect } from 'chai'
import { RE2JS } from 're2js'
import { work } from '../../../agent/mesh/automaton.ts'
import { compile, compileAll } from '../../../agent/mesh/compile.ts'
import { expression } from '../../../agent/mesh/expression.ts'
import type { RouteMatch } from '../../../controller/contract/resources.ts'
import { input, seededRandom } from '../../support/snapshot.ts'

const route = (given: Partial<RouteMatch>): RouteMatch => ({
  name: 'm',
  path: null,
  methods: null,
  headers: [],
  ...given,
})
const path = (source: string, text: string) => compile(route({ path: source })).test(input('GET', text))
const header = (source: string, value: string) =>
  compile(route({ headers: [{ name: 'X-Test', value: source }] })).test(input('GET', '/', { 'x-test': value }))

/** What a test costs in instructions of the automaton: the same on every machine, whatever else goes on. */
function stepsOf(run: () => unknown): number {
  const before = work.steps
  run()
  return work.steps - before
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!
}

/** What one match may cost, and what it may go beyond at its last character: once through the largest program. */
const stepsMost = 65_536 + 2_049

/** What the engine itself says. */
const oracle = (source: string, text: string, isPath: boolean) =>
  isPath ? RE2JS.compile(source).matcher(text).lookingAt() : RE2JS.compile(source).test(text)

describe('mesh compile', () => {
  describe('path', () => {
    const cases: [string, string, boolean][] = [
      ['/metrics', '/metrics', true],
      ['/metrics', '/metricsX', true],
      ['/metrics', '/a/metrics', false],
      ['/metrics', '/Metrics', false],
      ['/metrics$', '/metrics', true],
      ['/metrics$', '/metrics/x', false],
      ['^/metrics', '/metrics/x', true],
      ['/api/.*', '/api/', true],
      ['/api/.*', '/api', false],
      ['/api/.*$', '/api/v1', true],
      ['.*', '/', true],
      ['', '/', true],
      ['.*\\.jpg$', '/a/b.jpg', true],
      ['.*\\.jpg$', '/a/b.jpg/c', false],
      ['.*\\.jpg', '/a/bXjpg', false],
      ['/a|/b$', '/a/x', true],
      ['/a|/b$', '/b', true],
      ['/a|/b$', '/b/x', false],
      ['/(a|b)/.*', '/b/x', true],
      ['/(?:a|b)/.*', '/c/x', false],
      ['/v[0-9]+/users', '/v12/users/7', true],
      ['/v[0-9]+/users', '/vx/users/7', false],
      ['(?i)/API', '/api', true],
      ['/a\\.b', '/a.b', true],
      ['/a\\.b', '/axb', false],
      ['/a.b', '/axb', true],
      ['\\Q/a.*', '/a.*', true],
      ['\\Q/a.*', '/a', false],
      ['/a\\.*', '/a', true],
      ['/a\\\\.*', '/a', false],
      ['/x$|/y', '/xz', false],
    ]
    for (const [source, text, expected] of cases) {
      it(`${source} ${expected ? 'matches' : 'does not match'} ${text}`, () => {
        expect(path(source, text)).to.equal(expected)
        expect(oracle(source, text, true)).to.equal(expected)
      })
    }
  })

  describe('methods', () => {
    const cases: [string[] | null, string, boolean][] = [
      [null, 'GET', true],
      [['*'], 'PURGE', true],
      [['GET', 'HEAD'], 'HEAD', true],
      [['GET'], 'get', false],
      [['get'], 'GET', false],
      [['GET'], 'POST', false],
      [['POST', '*'], 'GET', true],
      [[], 'GET', false],
    ]
    for (const [methods, method, expected] of cases) {
      it(`${JSON.stringify(methods)} ${expected ? 'takes' : 'refuses'} ${method}`, () => {
        expect(compile(route({ methods })).test(input(method, '/'))).to.equal(expected)
      })
    }
  })

  describe('headers', () => {
    const cases: [string, string, boolean][] = [
      ['.*Firefox.*', 'Mozilla Firefox/1', true],
      ['Firefox', 'Mozilla Firefox/1', true],
      ['^Firefox', 'Mozilla Firefox/1', false],
      ['1$', 'Mozilla Firefox/1', true],
      ['^yes$', 'yes', true],
      ['^yes$', 'yes, yes', false],
      ['t|True', 'true', true],
      ['^(.*?;)?(type=insider)(;.*)?$', 'a=1;type=insider;b=2', true],
      ['^(.*?;)?(type=insider)(;.*)?$', 'a=1;type=outsider', false],
      ['', 'anything', true],
      ['^$', '', true],
      ['^$', 'x', false],
    ]
    for (const [source, value, expected] of cases) {
      it(`${source} ${expected ? 'matches' : 'does not match'} ${value}`, () => {
        expect(header(source, value)).to.equal(expected)
        expect(oracle(source, value, false)).to.equal(expected)
      })
    }

    it('never matches an absent header', () => {
      for (const source of ['', '.*', '^$']) {
        const match = compile(route({ headers: [{ name: 'x-test', value: source }] }))
        expect(match.test(input('GET', '/'))).to.equal(false)
      }
    })

    it('asks for all of several headers, and for path and method too', () => {
      const match = compile(
        route({
          path: '/a',
          methods: ['GET'],
          headers: [
            { name: 'a', value: '1' },
            { name: 'b', value: '2' },
          ],
        }),
      )
      expect(match.test(input('GET', '/a', { a: '1', b: '2' }))).to.equal(true)
      expect(match.test(input('GET', '/a', { a: '1' }))).to.equal(false)
      expect(match.test(input('POST', '/a', { a: '1', b: '2' }))).to.equal(false)
      expect(match.test(input('GET', '/b', { a: '1', b: '2' }))).to.equal(false)
    })

    it('asks for every line of a header that came in several (CVE-2020-25017)', () => {
      const match = compile(route({ headers: [{ name: 'role', value: '^admin' }] }))
      const lines = (...values: string[]) => ({
        ...input('GET', '/', { role: values.join(', ') }),
        headerLines: () => values,
      })
      expect(match.test(lines('admin'))).to.equal(true)
      expect(match.test(lines('admin, user'))).to.equal(true)
      expect(match.test(lines('admin', 'admin2'))).to.equal(true)
      expect(match.test(lines('admin', 'user'))).to.equal(false)
      expect(match.test(lines('user', 'admin'))).to.equal(false)
    })
  })

  it('never matches what is not well-formed or too large', () => {
    for (const source of [
      '[',
      '(',
      '(?=a)',
      'a**',
      '\\8',
      'a{1001}',
      'a{513}',
      `/${'a'.repeat(1_024)}`,
      '(a{30}){30}',
    ]) {
      expect(path(source, `/${'a'.repeat(2_000)}`), source).to.equal(false)
      expect(header(source, 'a'.repeat(2_000)), source).to.equal(false)
    }
  })

  it('never matches characters beyond latin1', () => {
    expect(path('/[^a]+x', '/\u0100x')).to.equal(false)
    expect(path('/[^a]+x', '/\u00ffx')).to.equal(true)
  })

  it('says the same as the engine, for random expressions and texts', () => {
    const random = seededRandom(11)
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!
    const atoms = [
      'a',
      'b',
      '/',
      '.',
      '\\.',
      '[ab]',
      '[^a]',
      '\\w',
      '\\d',
      '(a|b)',
      '(?:a/|b)',
      '(ab)',
      '\\b',
      '\\B',
      '^',
      '$',
      '.*',
      '|',
    ]
    const quantifiers = ['', '', '', '', '*', '+', '?', '{2}', '{1,3}', '*?']
    let compared = 0
    for (let i = 0; i < 4_000; i++) {
      const source = Array.from({ length: 1 + Math.floor(random() * 6) }, () => pick(atoms) + pick(quantifiers)).join(
        '',
      )
      try {
        RE2JS.compile(source)
      } catch {
        expect(expression(source, true).test('a', 1e6)).to.equal(false)
        continue
      }
      for (let j = 0; j < 5; j++) {
        const text = Array.from({ length: Math.floor(random() * 8) }, () => pick(['a', 'b', '/', '.', '1', ' '])).join(
          '',
        )
        for (const isPath of [true, false]) {
          const told = `${source} on ${JSON.stringify(text)}, ${isPath ? 'path' : 'header'}`
          expect(expression(source, isPath).test(text, 1e6), told).to.equal(oracle(source, text, isPath))
          compared++
        }
      }
    }
    expect(compared).to.be.greaterThan(10_000)
  })

  it('turns simple expressions into comparisons', () => {
    for (const source of ['/a', '/a/.*', '^/a$', '.*', '/(a|b)/c', '.*Firefox.*', '/a|/b', '/a\\.b', '/a-b_c']) {
      expect(expression(source, true).isSlow, source).to.equal(false)
    }
    for (const source of ['/a+', '/[ab]', '/a.b', '(?i)a', '/(a|b)*', '/(a|(b))']) {
      expect(expression(source, true).isSlow, source).to.equal(true)
    }
  })

  it('takes a bounded number of steps, and less than a millisecond, for 10,000 hostile expressions and texts', () => {
    const random = seededRandom(5)
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!
    const shapes: (() => string)[] = [
      () => `(a|a)*${'b'.repeat(1 + Math.floor(random() * 9))}`,
      () => `(${pick(['a', 'aa', 'x+x', '.*a', '[a-z]+', 'a|ab|b'])}+)+${pick(['$', 'b', 'y$', '\\B!'])}`,
      () => `(a|b)*a(a|b){${Math.floor(random() * 150)}}`,
      () => `(?:a?){${Math.floor(random() * 120)}}a{${Math.floor(random() * 120)}}b`,
      () => `(.*a){${Math.floor(random() * 150)}}b`,
      () => `((a*)*)*${'(b?)*'.repeat(Math.floor(random() * 20))}c`,
      () => 'a'.repeat(Math.floor(random() * 500)) + pick(['', '.*b', '[^b]*b']),
      () => `(?i)(?:[a-m]|[b-z]){${Math.floor(random() * 60)}}!`,
      () => `.*${'a'.repeat(Math.floor(random() * 64))}b`,
      () => `^(.*?,){${Math.floor(random() * 100)}}P`,
    ]
    const texts = [
      'a'.repeat(16_000),
      'ab'.repeat(8_000),
      `${'a'.repeat(8_000)}b`,
      'a,'.repeat(8_000),
      `/${'x'.repeat(15_000)}`,
    ]
    // Warm up, so that it is the code that is measured and not its compilation.
    for (let i = 0; i < 200; i++) path(pick(shapes)(), pick(texts))
    const requests = texts.map((text) => input('GET', text, { 'x-test': text }))
    const slowMs: number[] = []
    for (let i = 0; i < 10_000; i++) {
      const source = pick(shapes)()
      const match =
        i % 2 === 0
          ? compile(route({ path: source }))
          : compile(route({ headers: [{ name: 'x-test', value: source }] }))
      const request = pick(requests)
      const began = performance.now()
      const steps = stepsOf(() => match.test(request))
      if (steps > stepsMost / 2) slowMs.push(performance.now() - began)
      expect(steps, source).to.be.at.most(stepsMost)
    }
    // Those that come near the bound tell what the bound is worth; the median, as the machine may do something else too.
    expect(slowMs.length).to.be.greaterThan(1_000)
    expect(median(slowMs)).to.be.lessThan(1)
  }).timeout(120_000)

  it('takes no more steps for a header that comes in many lines', () => {
    // Each line matches, at its very end.
    const lines = Array.from({ length: 100 }, () => `${'ab'.repeat(30)}x`)
    const match = compile(route({ headers: [{ name: 'x-test', value: '(a|b)*a(a|b){41}x' }] }))
    expect(match.test(input('GET', '/', { 'x-test': lines[0]! }))).to.equal(true)
    const request = { ...input('GET', '/', { 'x-test': lines.join(', ') }), headerLines: () => lines }
    expect(stepsOf(() => match.test(request))).to.be.at.most(2 * stepsMost)
  })

  it('bounds what a long list costs together', () => {
    const hostile = Array.from({ length: 500 }, (_, i) => route({ name: `m${i}`, path: `(a|b)*a(a|b){100}c{${i}}` }))
    const matches = compileAll(hostile)
    const request = input('GET', 'ab'.repeat(4_000))
    const steps = stepsOf(() => {
      for (const match of matches) expect(match.test(request)).to.equal(false)
    })
    // Each of a list so long has the least budget that there is.
    expect(steps).to.be.at.most(500 * (2_048 + 2_049))
    const many = compileAll(Array.from({ length: 500 }, (_, i) => route({ path: `/v[0-9]+/thing${i}/[a-z0-9-]+/end` })))
    const found = many.filter((match) => match.test(input('GET', `/v2/thing7/${'a-'.repeat(100)}/end`)))
    expect(found).to.have.length(1)
  })
})
