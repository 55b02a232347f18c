// `weft ca` as people run it, beside a controller's authority.

import { expect } from 'chai'
import { pino } from 'pino'
import { type RunningAuthority, startAuthority } from '../../controller/authority/start.ts'
import { systemClock } from '../../controller/clock.ts'
import { emptyWorld } from '../../controller/observe/world.ts'
import { runCli } from '../support/cli.ts'
import { eachCluster } from '../support/kubecluster.ts'

eachCluster(
  'weft ca',
  (cluster) => {
    let namespace = ''
    let running: RunningAuthority | null = null

    beforeEach(async () => {
      namespace = await cluster.test.namespace()
    })
    afterEach(async () => {
      await running?.stop()
      running = null
    })

    const weft = (...args: string[]) =>
      runCli('--kubeconfig', cluster.kubeconfig, '--mesh-namespace', namespace, 'ca', ...args)

    function controller(): RunningAuthority {
      running = startAuthority({
        api: cluster.api,
        clock: systemClock,
        log: pino({ level: 'silent' }),
        world: () => emptyWorld,
        isLeader: () => true,
        namespace,
        trustDomain: 'cluster.local',
        agentSelector: { 'app.kubernetes.io/name': 'weft-agent' },
        controller: 'controller-1',
        lifetimeMs: 3_600_000,
      })
      return running
    }

    it('says that there is no root before a controller has run', async () => {
      expect(await weft('status')).to.deep.include({ code: 79, out: '' })
    })

    it('asks for a new root and shows where it stands', async () => {
      const { authority } = await controller().opened
      const before = await weft('status')
      expect(before.err).to.equal('')
      expect(before.out).to.match(/^Phase {5}steady since .*\nSigning {3}O=weft, CN=weft root [0-9a-f]{8}, expires 203/)
      const rotate = await weft('rotate')
      expect(rotate).to.deep.include({ code: 0, err: '' })
      await authority.tick()

      const pod = {
        metadata: { name: 'weft-agent-1', labels: { 'app.kubernetes.io/name': 'weft-agent' } },
        spec: { serviceAccountName: 'weft-agent', nodeName: 'n1', containers: [{ name: 'c', image: 'i' }] },
      }
      const base = `/api/v1/namespaces/${namespace}`
      await cluster.test.request('POST', `${base}/serviceaccounts`, { metadata: { name: 'weft-agent' } })
      expect((await cluster.test.request('POST', `${base}/pods`, pod)).status).to.equal(201)
      const ready = { status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } }
      const type = { 'content-type': 'application/merge-patch+json' }
      await cluster.test.request('PATCH', `${base}/pods/weft-agent-1/status`, ready, type)

      const during = JSON.parse((await weft('status', '-o', 'json')).out)
      expect(during).to.deep.include({ phase: 'trusting', waiting: [`${namespace}/weft-agent-1`], problem: '' })
      expect(during.incoming.id).to.not.equal(during.signing.id)
      expect((await weft('rotate')).err).to.include('a rotation is under way (trusting)')
    })

    it('leaves a root alone that was given', async () => {
      const { authority } = await controller().opened
      const path = `/api/v1/namespaces/${namespace}/secrets/weft-root`
      const patch = { metadata: { labels: { 'app.kubernetes.io/managed-by': 'somebody' } } }
      await cluster.test.request('PATCH', path, patch, { 'content-type': 'application/merge-patch+json' })
      const { code, err } = await weft('rotate')
      expect(code).to.equal(79)
      expect(err).to.include('was given, not made by the mesh')
      await authority.tick()
      expect(authority.status().phase).to.equal('steady')
    })
  },
  { crds: false },
)
