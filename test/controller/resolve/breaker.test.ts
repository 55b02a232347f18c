// Circuit-breaker expressions of Traefik Mesh, mapped or refused.

import { expect } from 'chai'
import { readBreakerExpression } from '../../../controller/resolve/breaker.ts'
import { BadValue } from '../../../controller/resolve/values.ts'

describe('circuit-breaker expressions of Traefik', () => {
  const mapped: [string, object][] = [
    ['NetworkErrorRatio() > 0.30', { successRate: 0.7 }],
    ['NetworkErrorRatio()>=0.5', { successRate: 0.5 }],
    ['ResponseCodeRatio(500, 600, 0, 600) > 0.25', { successRate: 0.75 }],
    ['ResponseCodeRatio(500,600,100,600) > 0.25', { successRate: 0.75 }],
    // Either alone opens it, so the stricter one counts.
    ['NetworkErrorRatio() > 0.30 || ResponseCodeRatio(500, 600, 0, 600) > 0.10', { successRate: 0.9 }],
    ['((NetworkErrorRatio() > 0.3) || (NetworkErrorRatio() > 0.4))', { successRate: 0.7 }],
    ['LatencyAtQuantileMS(50.0) > 100', { successRate: 0.5, slowMs: 100 }],
    ['LatencyAtQuantileMS(99.9) > 2000', { successRate: 0.999, slowMs: 2000 }],
  ]
  for (const [text, expected] of mapped) {
    it(`maps ${text}`, () => expect(readBreakerExpression(text)).to.deep.equal(expected))
  }

  const refused = [
    '',
    'NetworkErrorRatio()',
    'NetworkErrorRatio() < 0.3',
    'NetworkErrorRatio() > 1',
    'NetworkErrorRatio() > 0',
    'NetworkErrorRatio(1) > 0.3',
    'NetworkErrorRatio() > 0.3 && NetworkErrorRatio() > 0.2',
    '!(NetworkErrorRatio() > 0.3)',
    'ResponseCodeRatio(400, 600, 0, 600) > 0.3',
    'ResponseCodeRatio(500, 600, 200, 600) > 0.3',
    'LatencyAtQuantileMS(100) > 10',
    'LatencyAtQuantileMS(50) > 0.2',
    'LatencyAtQuantileMS(50) > 10 || NetworkErrorRatio() > 0.3',
    'true',
    '((((',
    '('.repeat(600),
  ]
  for (const text of refused) {
    it(`refuses ${text.slice(0, 70) || 'nothing'}`, () => expect(() => readBreakerExpression(text)).to.throw(BadValue))
  }
})
