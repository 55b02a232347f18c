// Which accounts a node needs certificates for.

import { expect } from 'chai'
import { accountsOf } from '../../../agent/mesh/accounts.ts'
import { Reader } from '../../../agent/mesh/store.ts'
import type { Resource } from '../../../controller/contract/resources.ts'
import { endpoints, mesh, service, spec, workload } from '../../support/resources.ts'

describe('agent/mesh/accounts', () => {
  it('lists the accounts of live pods, and those of them whose namespaces are in the mesh', () => {
    const resources: Resource[] = [
      workload('10.0.0.1', { account: 'shop/serves' }),
      workload('10.0.0.2', { account: 'other/calls' }),
      workload('10.0.0.3', { account: 'shop/ended', live: false }),
      workload('10.0.0.4', { account: 'shopping/calls' }),
      mesh,
      service('shop/a'),
      endpoints('shop/a:80', spec('10.0.1.1', { node: 'node2', account: 'shop/elsewhere' })),
    ]
    const reader = new Reader('1', null)
    for (const resource of resources) reader.take({ type: 'set', resource }, JSON.stringify({ type: 'set', resource }))
    const wanted = reader.finish({ type: 'commit', version: '1', count: resources.length })
    const { present, ahead } = accountsOf(wanted)
    expect([...present].sort()).to.deep.equal(['other/calls', 'shop/serves', 'shopping/calls'])
    expect([...ahead]).to.deep.equal(['shop/serves'])
  })
})
