// The small PromQL of test/support, held against results that Prometheus's documentation defines.

import { expect } from 'chai'
import { openRecording } from '../support/promql.ts'

describe('support: PromQL', () => {
  const two = (first: string, second: string) => {
    const recording = openRecording()
    recording.add(0, { a: first })
    recording.add(10_000, { a: second })
    return recording
  }

  it('sums rates over series and instances, with anchored matchers', () => {
    const recording = openRecording()
    const page = (ok: number, bad: number, other: number) =>
      `# HELP x y\nx{w="podinfo",code="200"} ${ok}\nx{w="podinfo",code="503"} ${bad}\nx{w="podinfo-primary",code="200"} ${other}\n`
    recording.add(0, { a: page(0, 0, 0), b: page(100, 0, 0) })
    recording.add(10_000, { a: page(60, 10, 500), b: page(130, 0, 0) })
    expect(recording.query('sum(rate(x{w=~"podinfo"}[1m]))')).to.equal(10)
    expect(
      recording.query('sum(rate(x{w=~"podinfo", code!~"5.*"}[1m])) / sum(rate(x{w="podinfo"}[1m])) * 100'),
    ).to.equal(90)
    expect(recording.query('sum(rate(x{w=~"podinfo.*"}[1m]))')).to.equal(60)
    expect(recording.query('sum(rate(x{w!="podinfo"}[1m]))')).to.equal(50)
  })

  it('has no data where Prometheus has none', () => {
    const recording = two('', 'x{a="b"} 5')
    expect(recording.query('sum(rate(x[1m]))')).to.equal(null)
    expect(recording.query('sum(rate(y[1m])) / sum(rate(y[1m])) * 100')).to.equal(null)
    expect(two('x 1', 'x 1').query('sum(rate(x[1m])) / sum(rate(x[1m]))')).to.be.NaN
  })

  it('takes a counter that fell for one that began anew, and only the range', () => {
    expect(two('x 100', 'x 20').query('sum(rate(x[1m]))')).to.equal(2)
    const recording = two('x 0', 'x 100')
    recording.add(20_000, { a: 'x 110' })
    expect(recording.query('sum(rate(x[10s]))')).to.equal(1)
  })

  it('finds quantiles within a bucket, and not beyond the last', () => {
    const page = (...counts: number[]) =>
      ['1', '2', '4', '+Inf'].map((le, i) => `h_bucket{le="${le}"} ${counts[i]}`).join('\n')
    const of = (quantile: number, ...counts: number[]) =>
      two(page(0, 0, 0, 0), page(...counts)).query(`histogram_quantile(${quantile}, sum(rate(h_bucket[1m])) by (le))`)
    expect(of(0.5, 0, 100, 100, 100)).to.be.closeTo(1.5, 1e-9)
    expect(of(0.99, 50, 100, 100, 100)).to.be.closeTo(1.98, 1e-9)
    expect(of(0.99, 0, 0, 0, 100)).to.equal(4)
    expect(of(0.99, 0, 0, 0, 0)).to.equal(null)
  })

  it('refuses what it does not understand', () => {
    for (const query of ['avg(x)', 'sum(rate(x[1m])', 'sum(rate(x[1m])) by', 'rate(x[1m]) %', 'x']) {
      expect(() => two('x 1', 'x 2').query(query), query).to.throw()
    }
  })
})
