// Rate limits of a service and of each of its callers.

import { expect } from 'chai'
import { limitRate } from '../../../agent/limits/rate.ts'
import { limitMemory, SharedLimits } from '../../../agent/limits/shared.ts'

const wall = Date.UTC(2026, 0, 1)

describe('limits rate', () => {
  const fresh = () => new SharedLimits(limitMemory(1), 0, 1)
  const five = { perSecond: 5, burst: 5 }
  const two = { perSecond: 2, burst: 2 }

  it('lets everything pass without limits', () => {
    expect(limitRate(fresh(), undefined, 'shop/a', 'shop/x', wall)).to.equal(null)
    expect(limitRate(fresh(), { inFlightPerCaller: 1 }, 'shop/a', 'shop/x', wall)).to.equal(null)
  })

  it("limits a service's requests altogether, with Retry-After in whole seconds", () => {
    const shared = fresh()
    const limits = { rate: { perSecond: 0.4, burst: 1 } }
    expect(limitRate(shared, limits, 'shop/a', 'shop/x', wall)).to.equal(null)
    const refused = limitRate(shared, limits, 'shop/a', 'shop/y', wall)!
    expect(refused).to.include({ reason: 'rate_limited', status: 429, retryAfter: 3 })
    expect(refused.message).to.contain('shop/a takes 0.4 requests a second')
    expect(limitRate(shared, limits, 'shop/b', 'shop/y', wall)).to.equal(null)
  })

  it('limits each caller by itself', () => {
    const shared = fresh()
    const limits = { ratePerCaller: two }
    const passes = (caller: string) => limitRate(shared, limits, 'shop/a', caller, wall) === null
    expect([passes('x'), passes('x'), passes('x')]).to.deep.equal([true, true, false])
    expect([passes('y'), passes('y'), passes('y')]).to.deep.equal([true, true, false])
  })

  it("takes nothing from a caller's share when it is the service that is full, nor the other way round", () => {
    const shared = fresh()
    const limits = { rate: five, ratePerCaller: two }
    const passes = (caller: string, at = wall) => limitRate(shared, limits, 'shop/a', caller, at) === null
    const noisy = Array.from({ length: 100 }, () => passes('x')).filter(Boolean)
    expect(noisy).to.have.length(2)
    expect([passes('y'), passes('y'), passes('z')]).to.deep.equal([true, true, true])
    expect(passes('z')).to.equal(false)
    expect(passes('z', wall + 200)).to.equal(true)
  })
})
