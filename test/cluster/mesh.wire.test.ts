// The shop's way on the wire: every page from every node by every name, through the agent of the caller's own node, and
// nothing readable between nodes.

import { expect } from 'chai'
import { until } from '../support/until.ts'
import { capture, describeOnBed } from './bed.ts'
import { callers, echo, openFleet } from './fleet.ts'
import { kubectl, pods, rolledOut } from './kubectl.ts'
import { agentLabel, agentOn, figure, openNames, openShop, withMesh } from './mesh.ts'
import { callFrom, evaluate, failuresOf, type Place } from './pod.ts'

const logs = (isOn: boolean) => {
  return kubectl(['set', 'env', 'daemonset/weft-agent', '-n', 'weft-system', `WEFT_ACCESS_LOG${isOn ? '=true' : '-'}`])
}

/** Lines of the access log of a node's agent. */
async function accessLog(node: string): Promise<Record<string, string>[]> {
  const { metadata } = await agentOn(node)
  const said = await kubectl(['logs', '-n', 'weft-system', metadata.name])
  return said
    .split('\n')
    .filter((line) => line.includes('"direction":'))
    .map((line) => JSON.parse(line))
}

const pages = {
  alias: 'http://productpage-mesh.shop:9080/',
  'mesh domain': 'http://productpage.shop.mesh.internal:9080/',
}

describe('the way of a request on a cluster', function () {
  this.timeout(120_000)
  const mesh = withMesh()
  let places: Place[] = []
  let addresses: Record<string, string> = {}

  before(async function () {
    this.timeout(240_000)
    await logs(true)
    await Promise.all([openShop(mesh()), openFleet()])
    await openNames()
    await rolledOut('weft-system', 'daemonset/weft-agent')
    places = await callers()
    const found = await pods('visitors', 'app=caller')
    addresses = Object.fromEntries(found.map(({ spec, status }) => [spec.nodeName, status.podIP]))
  })

  after(async function () {
    this.timeout(120_000)
    await logs(false)
    await rolledOut('weft-system', 'daemonset/weft-agent')
  })

  for (const [name, url] of Object.entries(pages)) {
    it(`brings the page by ${name} from every node, by that node's agent`, async () => {
      expect(places.map(({ node }) => node)).to.have.members(mesh().nodes)
      for (const place of places) {
        const path = `/productpage?by=${encodeURIComponent(name)}`
        const script = `
          const response = await fetch('${new URL(path, url)}')
          const text = await response.text()
          console.log(response.status, text.includes('The Loom and the Lighthouse'), text.includes('No details'))`
        const isThere = async () => (await evaluate(place, script)) === '200 true false'
        await until(isThere, `the page by ${url} from ${place.node}`, 20_000)
        const isLogged = async () => {
          const seen = (await accessLog(place.node)).filter(
            (line) => line['direction'] === 'outbound' && line['host'] === new URL(url).hostname,
          )
          return seen.some((line) => line['src.addr'] === addresses[place.node])
        }
        await until(isLogged, `a line of ${place.pod} in the log of the agent of ${place.node}`, 10_000)
      }
      // Nobody's requests went to another node's agent.
      for (const node of mesh().nodes) {
        const strange = (await accessLog(node)).filter(
          (line) =>
            line['direction'] === 'outbound' &&
            Object.values(addresses).includes(line['src.addr'] ?? '') &&
            line['src.addr'] !== addresses[node],
        )
        expect(strange, `outbound on ${node}`).to.deep.equal([])
      }
    })
  }

  describeOnBed('between nodes', () => {
    it('shows no plain text of a marked request, while plain calls show theirs', async () => {
      const place = places.find(({ node }) => node === mesh().here)!
      const frames = await capture(mesh().there)
      const [other] = (await pods('fleet', 'app=echo')).filter(({ spec }) => spec.nodeName === mesh().there)
      const plain = `http://${other.status.podIP}:8080/`
      // Past the mesh: the proof that the capture sees what is to be seen.
      const past = await callFrom(place, `${plain}?plain-canary-past`, 20, {
        headers: { 'x-canary': 'plain-canary-head' },
      })
      expect(past.failed, failuresOf(past)).to.equal(0)
      const headers = { 'x-canary': 'mesh-canary-head' }
      const within = await callFrom(place, `${echo}?mesh-canary-path`, 200, { headers })
      expect(within.failed, failuresOf(within)).to.equal(0)
      expect(Object.keys(within.pods), 'pods of the other node among those that answered').to.include(
        other.metadata.name,
      )
      const bytes = await frames()
      expect(
        bytes.includes('plain-canary-past') && bytes.includes('plain-canary-head'),
        'the plain call is seen',
      ).to.equal(true)
      expect(bytes.includes('mesh-canary'), 'the marked request is seen').to.equal(false)
      figure('bytes captured between nodes, without a word of 200 marked requests', bytes.length)
    })
  })

  it('leaves ready agents', async () => {
    expect(await pods('weft-system', agentLabel)).to.have.length(mesh().nodes.length)
  })
})
