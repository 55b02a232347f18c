// Whole agents on both IP families: the controller's link, the second node's agent and its pod are on ::1, the first node
// and its callers on IPv4. What is on the data path alone stands in ipv6.test.ts.

import type { IncomingHttpHeaders } from 'node:http'
import { expect } from 'chai'
import { call } from '../support/call.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'
import { startWholeMesh, type WholeMesh } from '../support/wholemesh.ts'

eachCluster(
  'mesh: whole agents on IPv6',
  (cluster) => {
    let mesh: WholeMesh
    let seen: IncomingHttpHeaders = {}

    before(async () => {
      const answer = (request: { headers: IncomingHttpHeaders }, response: { end(text: string): unknown }) => {
        seen = request.headers
        response.end('hello')
      }
      mesh = await startWholeMesh(cluster, answer, { isIpv6: true })
      await mesh.startAgent('node1')
      await mesh.startAgent('node2')
      await until(() => mesh.agents.every(({ agent }) => agent.ready.isReady), 'both agents')
    })
    after(() => mesh?.stop())

    it('get snapshot and certificates over a link on IPv6', async () => {
      expect(mesh.asked.map(({ path }) => path)).to.include.members(['/v1/snapshot', '/v1/sign'])
      const { accounts } = JSON.parse(await mesh.agents[1]!.page('/debug/identities'))
      const names = accounts.map(({ account }: { account: string }) => account)
      expect(names).to.have.members([mesh.agentAccount, 'shop/web'])
    })

    it('open all their ports on IPv6', async () => {
      expect(await (await fetch('http://[::1]:15020/readyz')).text()).to.equal('ok\n')
      const answer = await call({ host: '::1', port: 15001, headers: { host: 'web-mesh.shop' } })
      expect([answer.status, answer.body], 'from the pod of that node to itself').to.deep.equal([200, 'hello'])
    })

    it('carry a request from IPv4 to IPv6, each end with its identity', async () => {
      const client = mesh.addCaller('node1', 'shop/client')
      const request = () => call({ ...mesh.entry, from: client, headers: { host: 'web-mesh.shop' } })
      const answer = await request()
      expect([answer.status, answer.body]).to.deep.equal([200, 'hello'])
      expect(seen['x-forwarded-client-cert']).to.equal(
        'By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/shop/sa/client',
      )
      const [{ value }] = JSON.parse(await mesh.agents[0]!.page('/debug/pools'))
      expect(value.dialled[0]).to.include({ source: 'shop/client', destination: 'shop/web', peer: '[::1]:15008' })
      expect(value.endpoints[0].endpoint).to.match(/^\[::1\]:\d+$/)
    })
  },
  { only: 'local' },
)
