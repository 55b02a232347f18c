// How pods of a real cluster get into the mesh: aliases, the HTTP proxy, dedicated addresses, identities.

import { expect } from 'chai'
import { until } from '../support/until.ts'
import { apply, kubectl, list } from './kubectl.ts'
import { metric, openShop, reviews, withMesh } from './mesh.ts'
import { callFrom, evaluate, failuresOf } from './pod.ts'

describe('addresses on a cluster', function () {
  this.timeout(60_000)
  const mesh = withMesh()

  before(async function () {
    this.timeout(120_000)
    await openShop(mesh())
  })

  it('lead from an alias to the mesh Service', async () => {
    const [service] = await list('weft-system', 'services', '--field-selector=metadata.name=weft')
    for (const name of ['reviews-mesh', 'reviews-mesh.shop', 'reviews-mesh.shop.svc.cluster.local']) {
      const script = `import { lookup } from 'node:dns/promises'; console.log((await lookup('${name}')).address)`
      expect(await evaluate('productpage', script), name).to.equal(service.spec.clusterIP)
    }
  })

  it("lead to the agent of the caller's node, and on through the other node's", async () => {
    const { here, there } = mesh()
    const counts = async () => {
      const of = (node: string, direction: string) =>
        metric(node, 'weft_requests_total', { direction, namespace: 'shop' })
      return Promise.all([of(here, 'outbound'), of(there, 'outbound'), of(here, 'inbound'), of(there, 'inbound')])
    }
    const before = await counts()
    const result = await callFrom('productpage', reviews, 20)
    expect(result.failed, failuresOf(result)).to.equal(0)
    expect(Object.keys(result.services)).to.deep.equal(['reviews-v1'])
    let grown: number[] = []
    const isCounted = async () => {
      const now = await counts()
      grown = now.map((count, at) => count - (before[at] ?? 0))
      return grown[0] === 20 && grown[3] === 20
    }
    await until(isCounted, () => `20 requests out on ${here} and in on ${there}: ${grown}`, 10_000)
    expect(grown).to.deep.equal([20, 0, 0, 20])
  })

  it('let the page find its parts', async () => {
    const script = `
      const page = await (await fetch('http://productpage-mesh:9080/')).text()
      console.log(page.includes('The Loom and the Lighthouse'), page.includes('No details'), page.includes('"version":"v1"'))`
    expect(await evaluate('details', script)).to.equal('true false true')
  })

  it('are not needed where the agent is the HTTP proxy', async () => {
    const script = `
      import http from 'node:http'
      const proxy = { host: 'weft.weft-system', port: 15001, path: 'http://reviews.shop:9080/reviews/0', headers: { host: 'reviews.shop:9080' } }
      http.get(proxy, (response) => { console.log(response.statusCode, response.headers['x-shop-service']); response.resume() })`
    expect(await evaluate('details', script)).to.equal('200 reviews-v1')
  })

  it('carry what is not HTTP to a Service of its own', async () => {
    const port = { name: 'tcp-raw', port: 7000, targetPort: 9080, appProtocol: 'tcp' }
    const spec = { selector: { app: 'reviews', version: 'v1' }, ports: [port] }
    await apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'raw', namespace: 'shop' }, spec })
    const isAddressed = async () =>
      (await list('shop', 'services')).some(({ metadata }) => metadata.name === 'raw-mesh')
    await until(isAddressed, 'the alias raw-mesh')
    const script = `
      import net from 'node:net'
      const socket = net.connect(7000, 'raw-mesh')
      // Before kube-proxy knows the new address, packets to it are lost, and so is the connection for good.
      socket.setTimeout(2000, () => { console.log('silence'); socket.destroy() })
      socket.on('error', (error) => console.log(error.code))
      socket.end('GET /healthz HTTP/1.1\\r\\nhost: whatever\\r\\nconnection: close\\r\\n\\r\\n')
      socket.setEncoding('latin1').once('data', (head) => console.log(head.split('\\r\\n')[0]))`
    const answer = () => evaluate('productpage', script)
    await until(async () => (await answer()) === 'HTTP/1.1 200 OK', 'an answer through the opaque port', 20_000)
    await kubectl(['delete', 'service', 'raw', '-n', 'shop'])
  })

  it('are known by identity: a TrafficTarget tells callers on one node apart', async () => {
    const account = (name: string) => ({ kind: 'ServiceAccount', name, namespace: 'shop' })
    const metadata = { name: 'reviews', namespace: 'shop' }
    const group = {
      apiVersion: 'specs.smi-spec.io/v1alpha4',
      kind: 'HTTPRouteGroup',
      metadata,
      spec: { matches: [{ name: 'read', pathRegex: '/reviews/.*', methods: ['GET'] }] },
    }
    const target = {
      apiVersion: 'access.smi-spec.io/v1alpha3',
      kind: 'TrafficTarget',
      metadata,
      spec: {
        destination: account('reviews'),
        rules: [{ kind: 'HTTPRouteGroup', name: 'reviews', matches: ['read'] }],
        sources: [account('productpage')],
      },
    }
    const answerTo = async (app: string, url = reviews) => {
      const { failed, failures } = await callFrom(app, url)
      return failed === 0 ? '200' : failures[0]?.what
    }
    await apply(group, target)
    await until(async () => (await answerTo('details')) === '403 denied', 'the refusal of another account', 20_000)
    expect(await answerTo('productpage')).to.equal('200')
    expect(await answerTo('productpage', 'http://reviews-mesh:9080/other')).to.equal('403 denied')
    await kubectl(['delete', 'traffictarget,httproutegroup', 'reviews', '-n', 'shop'])
    await until(async () => (await answerTo('details')) === '200', 'the end of the refusals', 20_000)
  })
})
