// Rolling out agents of another image while pods of every node call, in a mesh of 400 Services of which 40 have addresses of
// their own: what Kubernetes writes for it, what requests notice (nothing), when long streams end.

import { expect } from 'chai'
import { until } from '../support/until.ts'
import { startCrowd, tellLosses, textOf } from './failures.ts'
import { callers, lines, openFleet, service } from './fleet.ts'
import { apply, kubectl, list, pods, rolledOut } from './kubectl.ts'
import { agentLabel, figure, image, metric, withMesh } from './mesh.ts'
import { callFrom, detachStreams } from './pod.ts'

const count = 400
const dedicated = 40
/** From SIGTERM to the end of what is still open: the grace period of 60 s less 5 s. */
const graceMs = 55_000

/** Writes of EndpointSlices that the API server has answered. */
async function sliceWrites(): Promise<number> {
  const lines = (await kubectl(['get', '--raw', '/metrics'])).split('\n')
  return lines
    .filter((line) => line.startsWith('apiserver_request_total{') && line.includes('resource="endpointslices"'))
    .filter((line) => /verb="(POST|PUT|PATCH|DELETE)"/.test(line))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

describe('rolling out agents on a cluster with 400 Services in the mesh', function () {
  this.timeout(300_000)
  const mesh = withMesh()
  const next = process.env['WEFT_IMAGE_NEXT'] || image

  before(async function () {
    this.timeout(300_000)
    await openFleet()
    const own = { annotations: { 'weft.dev/address': 'dedicated' } }
    const many = Array.from({ length: count }, (_, at) =>
      service('fleet', `many-${at}`, { app: 'roamer' }, { name: 'http', port: 8080 }, at < dedicated ? own : {}),
    )
    await apply(...many)
    const services = async () => (await list('fleet', 'services')).map(({ metadata }) => metadata.name)
    const isAliased = async () => {
      const names = await services()
      return names.filter((name) => /^many-\d+-mesh$/.test(name)).length === count
    }
    await until(isAliased, `${count} aliases`, 60_000)
    const [place] = await callers()
    for (const name of [`many-${dedicated - 1}`, `many-${count - 1}`]) {
      const answers = async () => (await callFrom(place!, `http://${name}-mesh.fleet:8080/`)).failed === 0
      await until(answers, `an answer of ${name}`, 60_000)
    }
  })

  after(async function () {
    this.timeout(120_000)
    const names = Array.from({ length: count }, (_, at) => `many-${at}`)
    await kubectl(['delete', 'services', '-n', 'fleet', ...names, '--wait=false', '--ignore-not-found'])
  })

  it('fails no request; long streams end when the grace ends', async () => {
    const places = await callers()
    const old = await pods('weft-system', agentLabel)
    const shared = await startCrowd({ callers: 4, pauseMs: 30 })
    const owned = await startCrowd({ callers: 2, pauseMs: 50, url: 'http://many-0-mesh.fleet:8080/' })
    const streams = await Promise.all(places.map((place) => detachStreams(place, { ...lines, count: 4 })))
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const writes = await sliceWrites()
    const since = Date.now()
    if (next === image) await kubectl(['rollout', 'restart', 'daemonset/weft-agent', '-n', 'weft-system'])
    else await kubectl(['set', 'image', 'daemonset/weft-agent', `agent=${next}`, '-n', 'weft-system'])
    // When each of the old ones was told to end; they may be gone before the last is replaced.
    const told: Record<string, number> = {}
    const names = old.map(({ metadata }) => metadata.name)
    let rolledMs = 0
    const rolled = rolledOut('weft-system', 'daemonset/weft-agent').then(() => {
      rolledMs = Date.now() - since
    })
    const isOver = async () => {
      const left = (await list('weft-system', 'pods', '-l', agentLabel)).filter(({ metadata }) =>
        names.includes(metadata.name),
      )
      for (const { metadata } of left) {
        const { name, deletionTimestamp, deletionGracePeriodSeconds: grace } = metadata
        if (deletionTimestamp) told[name] = Date.parse(deletionTimestamp) - grace * 1000
      }
      await new Promise((resolve) => setTimeout(resolve, 500))
      return left.length === 0
    }
    await until(isOver, 'the end of the old agents', 200_000)
    await rolled
    const goneMs = Date.now() - since
    const written = (await sliceWrites()) - writes
    const losses = [...(await shared.stop(since)), ...(await owned.stop(since))]
    const held = await Promise.all(streams.map((stream) => stream.stop()))
    tellLosses('agents rolled out', losses)
    figure(`nodes, time to roll out, until the last old agent was gone`, `${old.length}, ${rolledMs} ms, ${goneMs} ms`)
    figure('writes of EndpointSlices while rolling out', written)
    expect(
      losses.reduce((sum, { failed }) => sum + failed, 0),
      textOf(losses, since),
    ).to.equal(0)
    held.forEach(({ opened, ends, echoed }, at) => {
      const node = places[at]?.node ?? ''
      expect(opened, `streams from ${node}`).to.equal(4)
      expect(echoed, `lines from ${node}`).to.be.above(500)
      for (const { at: ended, how } of ends) {
        // The stream's own agent or, through the tunnel, the one at its other end: whichever drained first.
        const soonest = Math.min(...Object.values(told)) + graceMs
        expect(ended, `${how} from ${node}, ${ended - since} ms after the start`).to.be.within(
          soonest - 2500,
          soonest + 20_000,
        )
      }
    })
    const all = held.flatMap(({ ends }) => ends.map(({ at }) => at - since))
    figure(
      'long streams ended, in ms after the start',
      `${all.length} of ${held.length * 4}: ${Math.min(...all)} to ${Math.max(...all)}`,
    )
  })

  it('leaves agents at rest with their memory as it was', async () => {
    for (const node of mesh().nodes) {
      const resident = Math.round((await metric(node, 'process_resident_memory_bytes')) / 1024 / 1024)
      figure(`MiB of the agent of ${node}, 400 Services`, resident)
      expect(resident).to.be.below(200)
    }
  })
})
