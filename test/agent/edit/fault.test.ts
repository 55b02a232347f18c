// Injected faults: who gets them, and how many.

import { expect } from 'chai'
import { faultAbort, faultDelayMs } from '../../../agent/edit/fault.ts'
import { input } from '../../support/snapshot.ts'

const get = input('GET', '/', { 'x-chaos': '' })
const plain = input('GET', '/')

describe('edit fault', () => {
  it('does nothing without a policy', () => {
    expect(faultDelayMs({}, get, 0)).to.equal(0)
    expect(faultAbort({}, get, 0)).to.equal(null)
    expect(faultAbort({ fault: { delay: { ms: 5, percent: 100 } } }, get, 0)).to.equal(null)
    expect(faultDelayMs({ fault: { abort: { status: 500, percent: 100 } } }, get, 0)).to.equal(0)
  })

  it('delays its percentage of requests, a minute at most', () => {
    const policy = { fault: { delay: { ms: 250, percent: 10 } } }
    expect(faultDelayMs(policy, plain, 0.0999)).to.equal(250)
    expect(faultDelayMs(policy, plain, 0.1)).to.equal(0)
    expect(faultDelayMs({ fault: { delay: { ms: 1e9, percent: 100 } } }, plain, 0.99)).to.equal(60_000)
    expect(faultDelayMs({ fault: { delay: { ms: 5, percent: 0 } } }, plain, 0)).to.equal(0)
  })

  it('aborts its percentage of requests with its status', () => {
    const policy = { fault: { abort: { status: 418, percent: 50 } } }
    expect(faultAbort(policy, plain, 0.49)).to.include({ reason: 'fault_abort', status: 418, retryable: false })
    expect(faultAbort(policy, plain, 0.5)).to.equal(null)
    expect(faultAbort({ fault: { abort: { status: 200, percent: 100 } } }, plain, 0.5)).to.include({ status: 503 })
  })

  it('spares requests without the header', () => {
    const policy = {
      fault: { delay: { ms: 5, percent: 100 }, abort: { status: 500, percent: 100 }, header: 'X-Chaos' },
    }
    expect(faultDelayMs(policy, plain, 0)).to.equal(0)
    expect(faultAbort(policy, plain, 0)).to.equal(null)
    expect(faultDelayMs(policy, get, 0)).to.equal(5)
    expect(faultAbort(policy, get, 0)!.status).to.equal(500)
  })
})
