// Splits, scaling, new agents and an absent controller on a real cluster, all of it under load.

import { expect } from 'chai'
import { until } from '../support/until.ts'
import { apply, gone, kubectl, list, pods, rolledOut } from './kubectl.ts'
import { agentLabel, agentOn, controllerLabel, openShop, reviews, split, untilWell, withMesh } from './mesh.ts'
import { callFrom, failuresOf, startLoad } from './pod.ts'

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('changes on a cluster, under load', function () {
  this.timeout(120_000)
  const mesh = withMesh()

  before(async function () {
    this.timeout(120_000)
    await openShop(mesh())
  })

  beforeEach(async () => {
    await apply(split(100, 0))
    const onlyOld = async () =>
      Object.keys((await callFrom('productpage', reviews, 3)).services).join() === 'reviews-v1'
    await until(onlyOld, 'all traffic at reviews v1', 20_000)
  })

  it('move traffic within a second of a TrafficSplit', async () => {
    const load = await startLoad('productpage', { url: reviews })
    await sleep(1000)
    await apply(split(0, 100))
    const appliedAt = Date.now()
    await sleep(2000)
    const result = await load.stop()
    expect(result.failed, failuresOf(result)).to.equal(0)
    expect(result.services['reviews-v2']?.first, 'first answer of v2').to.be.below(appliedAt + 500)
    expect(result.services['reviews-v1']?.last, 'last answer of v1').to.be.below(appliedAt + 1000)
  })

  it('divide each request anew, also on one connection', async () => {
    await apply(split(70, 30))
    const isDivided = async () => Object.keys((await callFrom('productpage', reviews, 30)).services).length === 2
    await until(isDivided, 'answers of both versions', 20_000)
    const result = await callFrom('productpage', reviews, 4000)
    expect(result.failed, failuresOf(result)).to.equal(0)
    // Four standard deviations.
    expect((result.services['reviews-v2']?.count ?? 0) / 4000).to.be.closeTo(0.3, 0.03)
  })

  it('scale a backend up and down, and delete a pod', async () => {
    const load = await startLoad('productpage', { url: reviews })
    const scale = (count: number) => kubectl(['scale', 'deployment/reviews-v1', '-n', 'shop', `--replicas=${count}`])
    await scale(3)
    await rolledOut('shop', 'deployment/reviews-v1')
    await sleep(1000)
    const names = (await pods('shop', 'app=reviews,version=v1')).map(({ metadata }) => metadata.name)
    await kubectl(['delete', 'pod', '-n', 'shop', names[0] ?? '', '--wait=false'])
    await sleep(1000)
    await rolledOut('shop', 'deployment/reviews-v1')
    await scale(1)
    await until(async () => (await pods('shop', 'app=reviews,version=v1')).length === 1, 'one pod')
    const [kept] = await pods('shop', 'app=reviews,version=v1')
    await gone(
      'shop',
      'app=reviews,version=v1',
      names.filter((name) => name !== kept.metadata.name),
    )
    const result = await load.stop()
    expect(result.failed, failuresOf(result)).to.equal(0)
    expect(Object.keys(result.pods), 'pods that answered').to.include.members(names)
  })

  it('roll out new agents', async () => {
    const old = (await pods('weft-system', agentLabel)).map(({ metadata }) => metadata.name)
    const load = await startLoad('productpage', { url: reviews })
    await kubectl(['rollout', 'restart', 'daemonset/weft-agent', '-n', 'weft-system'])
    await rolledOut('weft-system', 'daemonset/weft-agent')
    await gone('weft-system', agentLabel, old)
    const result = await load.stop()
    expect(result.failed, failuresOf(result)).to.equal(0)
  })

  describe('without a controller', () => {
    const scale = (count: number) => {
      return kubectl(['scale', 'deployment/weft-controller', '-n', 'weft-system', `--replicas=${count}`])
    }

    it('serve on, and take up afterwards what they missed', async () => {
      const load = await startLoad('productpage', { url: reviews })
      const names = (await pods('weft-system', controllerLabel)).map(({ metadata }) => metadata.name)
      await scale(0)
      await kubectl(['delete', 'pod', '-n', 'weft-system', ...names, '--grace-period=0', '--force'])
      await gone('weft-system', controllerLabel, names)
      await apply(split(0, 100))
      await sleep(8000)
      await scale(2)
      await rolledOut('weft-system', 'deployment/weft-controller')
      // Agents that were refused for some time look again every 15 s.
      const isNews = async () => Object.keys((await callFrom('productpage', reviews)).services).join() === 'reviews-v2'
      await until(isNews, 'the split that was applied meanwhile', 30_000)
      const result = await load.stop()
      expect(result.failed, failuresOf(result)).to.equal(0)
    })

    it('start agents again from their copy on disk', async () => {
      await scale(0)
      await gone(
        'weft-system',
        controllerLabel,
        (await list('weft-system', 'pods', '-l', controllerLabel)).map(({ metadata }) => metadata.name),
      )
      const { metadata } = await agentOn(mesh().here)
      const end = ['exec', '-n', 'weft-system', metadata.name, '--', 'node', '-e', 'process.kill(1)']
      await kubectl(end)
      const restarted = async () => {
        const { containerStatuses } = (await agentOn(mesh().here)).status
        return containerStatuses[0].restartCount === 1 && containerStatuses[0].ready
      }
      await until(restarted, 'the agent after its restart', 60_000)
      // Details lies on the node; without the authority there is no certificate for another one.
      const near = await callFrom('productpage', 'http://details-mesh:9080/details/0')
      expect(near.failed, failuresOf(near)).to.equal(0)
      const far = await callFrom('productpage', reviews)
      expect(far.failures.map(({ what }) => what)).to.deep.equal(['503 no_identity'])
      await scale(2)
      await rolledOut('weft-system', 'deployment/weft-controller')
      await until(
        async () => (await callFrom('productpage', reviews)).failed === 0,
        'an answer of another node',
        30_000,
      )
    })
  })
})

describe('the mesh on a cluster, after all of that', function () {
  this.timeout(60_000)
  withMesh()

  it('is well, and nothing in the logs is not', async () => {
    await untilWell()
    for (const label of [agentLabel, controllerLabel]) {
      for (const { metadata } of await pods('weft-system', label)) {
        const lines = (await kubectl(['logs', '-n', 'weft-system', metadata.name])).trim().split('\n')
        const parsed = lines.map((line) => JSON.parse(line) as { level: string; msg: string })
        expect(parsed.filter(({ level }) => level === 'error' || level === 'fatal')).to.deep.equal([])
        expect(lines.length, `lines of ${metadata.name}`).to.be.below(200)
      }
    }
  })
})
