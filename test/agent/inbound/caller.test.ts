// Who calls, by the certificate of the stream alone.

import { expect } from 'chai'
import { inboundCaller, sourceAccount } from '../../../agent/inbound/caller.ts'
import { callerNamespace } from '../../../agent/outbound/caller.ts'
import { parseIdentity } from '../../../controller/contract/identity.ts'
import { workload } from '../../support/snapshot.ts'

const agent = 'weft-system/weft-agent'
const identity = (account: string) => {
  const [namespace, name] = account.split('/')
  return parseIdentity(`spiffe://cluster.local/ns/${namespace}/sa/${name}`)!
}

describe('inbound caller', () => {
  it('is the account of the certificate', () => {
    const caller = inboundCaller('10.0.2.2', identity('shop/productpage'), agent)
    expect(sourceAccount(caller)).to.equal('shop/productpage')
    expect(callerNamespace(caller)).to.equal('shop')
    expect(caller.address).to.equal('10.0.2.2')
  })

  it("has no identity behind the agents' own certificate", () => {
    const caller = inboundCaller('10.0.2.2', identity(agent), agent)
    expect(caller).to.deep.equal({ address: '10.0.2.2', workload: null })
    expect(sourceAccount(caller)).to.equal(null)
  })

  it("is not mistaken for an agent by the account's name alone", () => {
    expect(sourceAccount(inboundCaller('10.0.2.2', identity('shop/weft-agent'), agent))).to.equal('shop/weft-agent')
  })

  it("is a local caller's account too", () => {
    expect(sourceAccount({ address: '10.0.1.5', workload: workload('10.0.1.5', 'shop/a') })).to.equal('shop/a')
  })
})
