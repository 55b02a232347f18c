// Which accounts an agent asks certificates for, and for how long readiness waits for them.

import { expect } from 'chai'
import { type Follower, followAccounts } from '../../../agent/identity/follow.ts'
import type { IdentityPart } from '../../../agent/identity/identity.ts'
import { Reader, type Wanted } from '../../../agent/mesh/store.ts'
import type { Resource } from '../../../controller/contract/resources.ts'
import { FakeClock } from '../../support/clock.ts'
import { mesh, service, workload } from '../../support/resources.ts'

function snapshot(...accounts: string[]): Wanted {
  const resources: Resource[] = [
    mesh,
    service('shop/a'),
    ...accounts.map((account, index) => workload(`10.0.0.${index + 1}`, { account })),
  ]
  const reader = new Reader('1', null)
  for (const resource of resources) reader.take({ type: 'set', resource }, JSON.stringify({ type: 'set', resource }))
  return reader.finish({ type: 'commit', version: '1', count: resources.length })
}

describe('identity: accounts of the node', () => {
  let clock: FakeClock
  let retained: string[]
  let trouble: string
  let expiries: number[]
  let follower: Follower

  beforeEach(() => {
    clock = new FakeClock()
    retained = []
    trouble = ''
    expiries = [1]
    follower = followAccounts(clock, {
      retain: (present, ahead) => retained.push(`${[...present].sort()}; ${[...ahead].sort()}`),
      trouble: () => trouble,
      list: () => expiries.map((expires) => ({ account: 'a/b', expires, renewAt: 0, failures: 0, problem: '' })),
    } as Partial<IdentityPart> as IdentityPart)
  })
  afterEach(() => follower.stop())

  it('are followed at once, and in bursts together', () => {
    follower.applied(snapshot('shop/a', 'other/b'))
    expect(retained).to.deep.equal(['other/b,shop/a; shop/a'])
    follower.applied(snapshot('shop/c'))
    follower.applied(snapshot('shop/d'))
    expect(retained).to.have.length(1)
    clock.tick(250)
    expect(retained.slice(1)).to.deep.equal(['shop/d; shop/d'])
    clock.tick(250)
    follower.applied(snapshot('shop/e'))
    expect(retained.slice(2)).to.deep.equal(['shop/e; shop/e'])
    follower.applied(snapshot('shop/f'))
    follower.stop()
    clock.tick(1_000)
    expect(retained).to.have.length(3)
  })

  it('hold up readiness until they have certificates, then never again', () => {
    expiries = [1, 0, 0]
    expect(follower.blocker()).to.equal(null)
    follower.applied(snapshot('shop/a'))
    expect(follower.blocker()).to.equal('the certificates of 2 accounts')
    expiries = [1, 1, 1]
    expect(follower.blocker()).to.equal(null)
    expiries = [1, 1, 0]
    expect(follower.blocker()).to.equal(null)
  })

  it('hold it up for three seconds where no authority answers', () => {
    trouble = "the agent's own certificate: ECONNREFUSED"
    follower.applied(snapshot('shop/a'))
    clock.tick(2_999)
    follower.applied(snapshot('shop/b'))
    expect(follower.blocker()).to.equal(trouble)
    clock.tick(1)
    expect(follower.blocker()).to.equal(null)
  })
})
