// Weights in every form that the versions of TrafficSplit know.

import { expect } from 'chai'
import { readWeight } from '../../../controller/resolve/weight.ts'

describe('weights', () => {
  const cases: [unknown, number | null][] = [
    [0, 0],
    [1, 1000],
    [90, 90_000],
    ['0', 0],
    ['95', 95_000],
    [' 5 ', 5000],
    ['+5', 5000],
    ['500m', 500],
    ['1.5', 1500],
    ['.5', 500],
    ['1.', 1000],
    ['1e2', 100_000],
    ['1k', 1_000_000],
    ['1Ki', 1_024_000],
    ['0.007', 7],
    [0.007, 7],
    [0.5, 500],
    // Kubernetes rounds quantities up to thousandths.
    ['1u', 1],
    ['1500u', 2],
    [-1, null],
    ['-1', null],
    ['', null],
    ['heavy', null],
    ['5 %', null],
    ['1m5', null],
    ['0x10', null],
    ['1e400', null],
    ['1E', null],
    [1e10, null],
    [Number.NaN, null],
    [null, null],
    [undefined, null],
    [{}, null],
    [true, null],
  ]
  for (const [value, expected] of cases) {
    it(`reads ${JSON.stringify(value) ?? 'nothing'} as ${expected}`, () => expect(readWeight(value)).to.equal(expected))
  }
})
