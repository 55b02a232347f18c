// What an agent costs its node: memory and CPU at rest and at 1,000 requests a second, on a node with 20 more pods.

import { expect } from 'chai'
import { callers, echo, openFleet, runs, workload } from './fleet.ts'
import { apply, kubectl, rolledOut } from './kubectl.ts'
import { figure, metric, withMesh } from './mesh.ts'
import { detachLoad, failuresOf } from './pod.ts'

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const neighbours = 20
const perSecond = 1000

/** What the agent of a node uses over some time. */
async function usage(node: string, ms: number): Promise<{ mebibytes: number; cores: number }> {
  const seconds = () => metric(node, 'process_cpu_seconds_total')
  const before = await seconds()
  const start = performance.now()
  await sleep(ms)
  const cores = ((await seconds()) - before) / ((performance.now() - start) / 1000)
  return { mebibytes: (await metric(node, 'process_resident_memory_bytes')) / 1024 / 1024, cores }
}

describe('the footprint of an agent', function () {
  this.timeout(180_000)
  const mesh = withMesh()

  before(async function () {
    this.timeout(240_000)
    await openFleet()
    const idle = runs('setInterval(() => {}, 1e9)', 'caller')
    idle.nodeSelector = { 'kubernetes.io/hostname': mesh().here }
    await apply(workload('Deployment', 'visitors', 'neighbour', idle, { replicas: neighbours }))
    await rolledOut('visitors', 'deployment/neighbour')
    await sleep(3000)
  })

  after(() => kubectl(['delete', 'deployment', 'neighbour', '-n', 'visitors', '--ignore-not-found', '--wait=false']))

  it('at rest and at 1,000 requests a second', async () => {
    const rest = await usage(mesh().here, 10_000)
    const tell = (what: string, { mebibytes, cores }: typeof rest) =>
      figure(
        `agent ${what}, ${neighbours} pods more`,
        `${Math.round(mebibytes)} MiB, ${Math.round(cores * 1000)} m CPU`,
      )
    tell('at rest', rest)
    const place = (await callers()).find(({ node }) => node === mesh().here)!
    const load = await detachLoad(place, { url: echo, callers: 16, pauseMs: 0, perSecond, keptOnly: true })
    await sleep(5000)
    const busy = await usage(mesh().here, 15_000)
    const result = await load.stop()
    const rate = result.requests / 20
    tell(`at ${perSecond} requests/s`, busy)
    figure('requests in 20 s and a little more, p50, p99', `${result.requests}, ${result.p50Ms} ms, ${result.p99Ms} ms`)
    expect(result.failed, failuresOf(result)).to.equal(0)
    expect(rate).to.be.above(perSecond * 0.8)
    expect(rest.mebibytes).to.be.below(140)
    expect(busy.mebibytes).to.be.below(220)
  })
})
