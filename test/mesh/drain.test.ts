// An agent is replaced while 200 kept connections are in use and 50 new ones come each second, behind a kube-proxy that
// follows its endpoints seconds late, as the real one does: no request is lost.

import http from 'node:http'
import { expect } from 'chai'
import type { LocalMesh } from '../../scripts/local/mesh.ts'
import { type Deployment, isReady, type Pod } from '../../scripts/local/objects.ts'
import { startLoad } from '../support/load.ts'
import { startTestMesh } from '../support/localmesh.ts'
import { until } from '../support/until.ts'

describe('mesh: replacing an agent', function () {
  this.timeout(90_000)
  let mesh: LocalMesh

  before(async () => {
    mesh = await startTestMesh({ nodes: 1, proxyDelayMs: 3_000 })
  })
  after(() => mesh?.stop())

  it('loses no request of 200 kept connections and 50 new ones a second', async () => {
    const [from] = mesh.cluster.list<Pod>('pods', 'shop').filter(isReady)
    const target = {
      host: mesh.clusterIP('weft-system', 'weft')!,
      port: 9080,
      path: '/reviews/0',
      headers: { host: 'reviews-mesh.shop' },
      localAddress: from!.status!.podIP!,
    }
    const kept = startLoad({ ...target, from: target.localAddress, callers: 200, pauseMs: 200 })
    const failures: string[] = []
    let fresh = 0
    const timer = setInterval(() => {
      const request = http.get({ ...target, agent: false }, (response) => {
        response.resume()
        response.on('error', (error) => failures.push(`cut short: ${error.message}`))
        if (response.statusCode === 200) response.on('end', () => fresh++)
        else failures.push(`${response.statusCode} ${response.headers['x-weft-error']}`)
      })
      request.on('error', (error) => failures.push(error.message))
    }, 20)
    try {
      await until(() => kept.succeeded() > 400 && fresh > 50, 'traffic', 20_000)
      const agents = () => mesh.pods('weft-system', { 'app.kubernetes.io/name': 'weft-agent' })
      const [old] = agents()
      const set = mesh.cluster.get<Deployment>('daemonsets', 'weft-system', 'weft-agent')!
      const changed = structuredClone(set)
      changed.spec.template.metadata!.annotations = { ...changed.spec.template.metadata!.annotations, turn: '2' }
      mesh.cluster.update('daemonsets', changed)
      await until(
        () => agents().every(({ metadata }) => metadata.uid !== old!.metadata.uid),
        'the old agent to end',
        70_000,
      )
      const [keptBefore, freshBefore] = [kept.succeeded(), fresh]
      await until(() => kept.succeeded() > keptBefore + 400 && fresh > freshBefore + 50, 'traffic after it', 20_000)
    } finally {
      clearInterval(timer)
      await kept.stop()
    }
    expect(kept.summary(), 'on kept connections').to.equal('')
    expect(failures, 'on new connections').to.deep.equal([])
  })
})
