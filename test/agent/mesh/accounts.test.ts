// Which accounts a node needs certificates for.

import { expect } from 'chai'
import { accountsOf } from '../../../agent/mesh/accounts.ts'
import { Reader } from '../../../agent/mesh/store.ts'
import type { Resource } from '../../../controller/contract/resources.ts'
import { endpoints, mesh, service, spec, workload } from '../../support/resources.ts'

describe('agent/mesh/accounts', () => {
  it('lists the accounts of live pods, and those of them that serve the mesh', () => {
    const resources: Resource[] = [
      mesh,
      service('shop/a'),
      endpoints(
        'shop/a:80',
        spec('10.0.0.1', { account: 'shop/serves' }),
        spec('10.0.1.1', { node: 'node2', account: 'shop/elsewhere' }),
        spec('10.0.0.9', { account: 'shop/gone' }),
      ),
      endpoints('other/no-service:80', spec('10.0.0.2', { account: 'shop/calls' })),
      workload('10.0.0.1', { account: 'shop/serves' }),
      workload('10.0.0.2', { account: 'shop/calls' }),
      workload('10.0.0.3', { account: 'shop/ended', live: false }),
    ]
    const reader = new Reader('1', null)
    for (const resource of resources) reader.take({ type: 'set', resource }, JSON.stringify({ type: 'set', resource }))
    const wanted = reader.finish({ type: 'commit', version: '1', count: resources.length })
    const { present, ahead } = accountsOf(wanted, 'node1')
    expect([...present].sort()).to.deep.equal(['shop/calls', 'shop/serves'])
    expect([...ahead]).to.deep.equal(['shop/serves'])
  })
})
