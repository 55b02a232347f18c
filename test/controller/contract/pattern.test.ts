// The bound on regular expressions that controller and agent must agree on.

import { expect } from 'chai'
import { RE2JS } from 're2js'
import { patternProblem, patternSize } from '../../../controller/contract/pattern.ts'

describe('contract pattern', () => {
  const sizes: [string, number][] = [
    ['', 0],
    ['abc', 3],
    ['a{50}', 50],
    ['a{2,50}', 50],
    ['a{50,}', 50],
    ['a{0}', 1],
    ['(ab){50}', 100],
    ['(?:ab){50}', 100],
    ['((a{7}){7}){7}', 343],
    ['(?P<name>a)', 1],
    ['(?i)a', 1],
    ['[a-z]{10}', 10],
    ['[]{3}]{10}', 10],
    ['[[:alpha:]{3}]{10}', 10],
    ['\\{3\\}', 3],
    ['a{x}', 4],
    ['\\pL', 65],
    ['\\p{Greek}{2}', 130],
  ]
  for (const [source, size] of sizes) {
    it(`${source || '(nothing)'} is ${size} steps`, () => expect(patternSize(source)).to.equal(size))
  }

  it('accepts what people write', () => {
    for (const source of ['/api/v[0-9]+/(users|orders)/[a-z0-9-]+', '^(.*?;)?(type=insider)(;.*)?$', '.*']) {
      expect(patternProblem(source)).to.equal(null)
    }
  })

  it('says what is too large', () => {
    expect(patternProblem('a'.repeat(1_025))).to.contain('1025 characters')
    expect(patternProblem('(a{30}){30}')).to.contain('900 steps')
  })

  it('leaves nothing large to the compiler', () => {
    const sources = [
      'a{512}',
      '(a?){256}',
      '((a|b)?){128}',
      '(|a){250}',
      `${'(a'.repeat(200)}${')'.repeat(200)}`,
      '\\pL'.repeat(7),
      '(?i)k{500}',
      '(((a{8}){8}){8})',
      '[^a]{512}',
    ]
    for (const source of sources) {
      if (patternProblem(source) !== null) continue
      const { prog } = (RE2JS.compile(source) as unknown as { re2Input: { prog: { numInst(): number } } }).re2Input
      expect(prog.numInst(), source).to.be.lessThan(2_048)
    }
  })
})
