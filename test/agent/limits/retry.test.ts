// Which failures are tried again, and the budget that bounds how many.

import { expect } from 'chai'
import { type Failure, Retries, RetryBudget } from '../../../agent/limits/retry.ts'
import type { ServicePolicy } from '../../../controller/contract/resources.ts'

const settings = {
  attempts: 1,
  budgetRatio: 0.2,
  budgetMin: 10,
  budgetWindowMs: 10_000,
  backoffMs: 25,
  backoffMaxMs: 250,
}

const refused: Failure = { reason: 'connect_failed', status: 0, isSent: false }
const reset: Failure = { reason: 'upstream_reset', status: 0, isSent: true }
const timeout: Failure = { reason: 'upstream_timeout', status: 0, isSent: true }
const answer = (status: number): Failure => ({ reason: null, status, isSent: true })

describe('limits retry', () => {
  describe('decision', () => {
    const on = (...conditions: string[]): ServicePolicy => ({ retry: { on: conditions } })
    const cases: [string, ServicePolicy, string, number, Failure, boolean][] = [
      ['nothing was sent', {}, 'GET', 1, refused, true],
      ['nothing was sent, even for POST', {}, 'POST', 1, refused, true],
      ['a reset', {}, 'GET', 1, reset, true],
      ['a reset of a POST', {}, 'POST', 1, reset, false],
      ['a reset of a PATCH', {}, 'PATCH', 1, reset, false],
      ['a reset of a PUT', {}, 'PUT', 1, reset, true],
      ['a method in lower case', {}, 'get', 1, reset, false],
      ['a second retry', {}, 'GET', 2, reset, false],
      ['a second retry, where two are allowed', { retry: { attempts: 2 } }, 'GET', 2, reset, true],
      ['none allowed', { retry: { attempts: 0 } }, 'GET', 1, refused, false],
      ['503 by default', {}, 'GET', 1, answer(503), false],
      ['503 on 5xx', on('5xx'), 'GET', 1, answer(503), true],
      ['500 on 5xx', on('5xx'), 'GET', 1, answer(500), true],
      ['500 on gateway-error', on('gateway-error'), 'GET', 1, answer(500), false],
      ['502 on gateway-error', on('gateway-error'), 'GET', 1, answer(502), true],
      ['503 of a POST on 5xx', on('5xx'), 'POST', 1, answer(503), false],
      ['429 on its code', on('429'), 'GET', 1, answer(429), true],
      ['404 on 5xx', on('5xx'), 'GET', 1, answer(404), false],
      ['200 on its code', on('200'), 'GET', 1, answer(200), false],
      ['a reset on connect alone', on('connect'), 'GET', 1, reset, false],
      ['a refused connection on reset alone', on('reset'), 'GET', 1, refused, false],
      ['a refused connection on 5xx', on('5xx'), 'POST', 1, refused, true],
      ['a reset on gateway-error', on('gateway-error'), 'GET', 1, reset, true],
      ['a time-out by default', {}, 'GET', 1, timeout, false],
      ['a time-out on gateway-error', on('gateway-error'), 'GET', 1, timeout, true],
      ['a time-out with a time for each try', { retry: { perTryMs: 100 } }, 'GET', 1, timeout, true],
      ['a time-out of a POST with a time for each try', { retry: { perTryMs: 100 } }, 'POST', 1, timeout, false],
      ['garbage', {}, 'GET', 1, { reason: 'upstream_invalid', status: 0, isSent: true }, true],
      [
        'a caller that is gone',
        on('5xx', 'connect', 'reset'),
        'GET',
        1,
        { reason: 'caller_gone', status: 0, isSent: true },
        false,
      ],
      ['a refusal by access rules', {}, 'GET', 1, { reason: 'denied', status: 0, isSent: false }, false],
      ['a peer without room', {}, 'GET', 1, { reason: 'overloaded', status: 0, isSent: false }, true],
      ['nothing named', on(), 'GET', 1, refused, false],
    ]
    for (const [title, policy, method, attempts, failure, expected] of cases) {
      it(`${title}: ${expected ? 'retried' : 'not retried'}`, () => {
        const ms = new Retries(settings, 1, () => 0.5).decide(policy, 'shop/a', method, attempts, failure, 0)
        expect(ms >= 0).to.equal(expected)
      })
    }

    it('backs off with full jitter, doubling to the most', () => {
      const most = new Retries({ ...settings, attempts: 9 }, 1, () => 1)
      const pauses = [1, 2, 3, 4, 5, 9].map((attempts) => most.decide({}, 'shop/a', 'GET', attempts, reset, 0))
      expect(pauses).to.deep.equal([25, 50, 100, 200, 250, 250])
      expect(new Retries(settings, 1, () => 0).decide({}, 'shop/a', 'GET', 1, reset, 0)).to.equal(0)
    })

    it('knows which requests may ever be repeated, and which answers', () => {
      const retries = new Retries(settings, 1, () => 0)
      expect(retries.isRepeatable({}, 'GET')).to.equal(true)
      expect(retries.isRepeatable({}, 'POST')).to.equal(false)
      expect(retries.isRepeatable({ retry: { attempts: 0 } }, 'GET')).to.equal(false)
      expect(retries.isRetriableStatus({}, 503)).to.equal(false)
      expect(retries.isRetriableStatus(on('429'), 429)).to.equal(true)
      expect(retries.isRetriableStatus(on('5xx'), 200)).to.equal(false)
    })
  })

  describe('budget', () => {
    it('always has ten a second, over ten seconds', () => {
      const budget = new RetryBudget(settings)
      const taken = Array.from({ length: 150 }, () => budget.withdraw(0)).filter(Boolean)
      expect(taken).to.have.length(100)
      expect(budget.withdraw(9_900)).to.equal(false)
      expect(budget.withdraw(10_000)).to.equal(true)
    })

    it('has a fifth of the requests beside it', () => {
      const budget = new RetryBudget({ ...settings, budgetMin: 0 })
      for (let i = 0; i < 1_000; i++) budget.deposit(i)
      expect(Array.from({ length: 300 }, () => budget.withdraw(1_000)).filter(Boolean)).to.have.length(200)
      for (let i = 0; i < 10; i++) budget.deposit(1_000)
      expect([1, 2, 3].map(() => budget.withdraw(1_000))).to.deep.equal([true, true, false])
    })

    it('forgets what has left the window, and survives long silence', () => {
      const budget = new RetryBudget({ ...settings, budgetMin: 0 })
      for (let i = 0; i < 100; i++) budget.deposit(500)
      expect(budget.withdraw(9_000)).to.equal(true)
      expect(budget.withdraw(10_600)).to.equal(false)
      budget.deposit(1e12)
      for (let i = 0; i < 4; i++) budget.deposit(1e12)
      expect(budget.withdraw(1e12)).to.equal(true)
      expect(budget.withdraw(1e12)).to.equal(false)
    })

    it('is each service its own, divided by threads, counted when exhausted, dropped with the service', () => {
      const retries = new Retries(settings, 4, () => 0)
      const decide = (service: string) => retries.decide({}, service, 'GET', 1, reset, 0) >= 0
      expect(Array.from({ length: 40 }, () => decide('shop/a')).filter(Boolean)).to.have.length(25)
      expect(retries.exhausted).to.equal(15)
      expect(decide('shop/b')).to.equal(true)
      for (let i = 0; i < 5; i++) retries.count('shop/a', 0)
      expect(decide('shop/a')).to.equal(true)
      expect(decide('shop/a')).to.equal(false)
      retries.keep((service) => service !== 'shop/a')
      expect(decide('shop/a')).to.equal(true)
    })
  })
})
