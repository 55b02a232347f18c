// What the one conformance suite for SMI demands of a mesh, with its objects as it applies them: from the manifests through
// the controller's stages and an agent's data thread to real servers.

import { createServer, type IncomingMessage, type Server } from 'node:http'
import { expect } from 'chai'
import { ownNetwork } from '../support/addresses.ts'
import { type AgentUnderTest, startAgent } from '../support/agent.ts'
import { type RawSocket, rawConnect } from '../support/raw.ts'
import { passOf, worldOf } from '../support/world.ts'

const network = ownNetwork()
const caller = `${network}.11`
const port = 9091
/** Pods by address: app-svc has both of the first, the others one each. */
const pods: Record<string, string> = {
  'app-a': `${network}.21`,
  'app-b': `${network}.22`,
  'app-c': `${network}.23`,
}

const ground = [
  '{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {weft.dev/mesh: enabled, weft.dev/access: deny}}}',
  ...['service-a', 'service-b'].map((name) => `{apiVersion: v1, kind: ServiceAccount, metadata: {name: ${name}}}`),
  `{apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {nodeName: node1, serviceAccountName: service-a}, status: {phase: Running, podIP: ${caller}}}`,
  ...Object.entries(pods).map(
    ([name, ip]) =>
      `{apiVersion: v1, kind: Pod, metadata: {name: ${name}}, spec: {nodeName: node1, serviceAccountName: service-b}, status: {phase: Running, podIP: ${ip}}}`,
  ),
  ...Object.entries({ 'app-svc': ['app-a', 'app-b'], 'app-b': ['app-b'], 'app-c': ['app-c'] }).flatMap(
    ([name, behind]) => [
      `{apiVersion: v1, kind: Service, metadata: {name: ${name}}, spec: {ports: [{name: http, port: ${port}, targetPort: ${port}}]}}`,
      `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: ${name}-1, labels: {kubernetes.io/service-name: ${name}}}, addressType: IPv4, endpoints: [${behind.map((pod) => `{addresses: [${pods[pod]}], conditions: {ready: true}}`)}], ports: [{name: http, port: ${port}, protocol: TCP}]}`,
    ],
  ),
]

// As the suite has them: matches at the top of v1alpha4, and a port in a string.
const group =
  '{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {name: routes}, matches: [{name: metrics, pathRegex: /metrics, methods: [GET]}]}'
const tcp = (ports: string) =>
  `{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: tcp}, spec: {matches: {ports: ${ports}}}}`
const target = (rule: string) =>
  `{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: t}, spec: {destination: {kind: ServiceAccount, name: service-b, namespace: shop, port: "${port}"}, rules: [${rule}], sources: [{kind: ServiceAccount, name: service-a, namespace: shop}]}}`
const byTcp = target('{kind: TCPRoute, name: tcp}')
const byPath = target('{kind: HTTPRouteGroup, name: routes, matches: [metrics]}')

describe('SMI conformance', () => {
  const servers: Server[] = []
  const seen: { pod: string; request: IncomingMessage }[] = []
  let agent: AgentUnderTest
  let socket: RawSocket

  before(async () => {
    for (const [pod, address] of Object.entries(pods)) {
      const server = createServer((request, response) => {
        seen.push({ pod, request })
        response.end(pod)
      })
      await new Promise<void>((resolve) => server.listen(port, address, resolve))
      servers.push(server)
    }
    agent = await startAgent({ address: `${network}.1`, resources: [] })
  })

  after(async () => {
    await agent.stop()
    for (const server of servers) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  })

  beforeEach(async () => {
    seen.length = 0
    socket = await rawConnect(agent.entryPort, agent.address, caller)
  })
  afterEach(() => socket.destroy())

  /** Brings these objects into force, beside the ground. */
  async function enforce(...documents: string[]): Promise<void> {
    const { translation } = passOf(worldOf([...ground, ...documents].join('\n---\n')))
    const all = [...translation.common, ...translation.nodes.get('node1')!]
    await agent.apply(
      // What an earlier test had is gone.
      { kind: 'access', name: 'shop/service-b', gone: true },
      ...all.map(({ resource }) => resource),
    )
  }

  /** Asks on the one connection that the suite's client keeps. @returns status and body */
  async function ask(path: string, host = 'app-svc', more = ''): Promise<string> {
    socket.send(`GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\n${more}\r\n`)
    const answer = await socket.readMessage()
    return `${answer.slice(9, 12)} ${answer.slice(answer.indexOf('\r\n\r\n') + 4)}`
  }

  const status = async (path: string, ...more: [string?, string?]) => (await ask(path, ...more)).slice(0, 3)

  it('denies where no TrafficTarget permits, with a response', async () => {
    await enforce()
    expect(await status('/metrics')).to.equal('403')
    // The connection goes on: a reset would count as nothing.
    expect(await status('/metrics')).to.equal('403')
    expect(seen).to.deep.equal([])
  })

  it('permits HTTP of every path by a TCPRoute alone, and denies other ports with a response', async () => {
    await enforce(tcp(`[${port}]`), byTcp)
    expect([await status('/metrics'), await status('/')]).to.deep.equal(['200', '200'])
    await enforce(tcp('[9092]'), byTcp)
    expect(await status('/metrics')).to.equal('403')
    await enforce(tcp('[]'), byTcp)
    expect(await status('/metrics')).to.equal('200')
  })

  it('permits what an HTTPRouteGroup names, and nothing else', async () => {
    await enforce(group, byPath)
    const asked = [
      await status('/metrics'),
      await status('/metrics?x=1'),
      await status('/'),
      await status('/x/metrics'),
    ]
    expect(asked).to.deep.equal(['200', '200', '403', '403'])
  })

  it('lets a permitted request through once, with all its headers', async () => {
    await enforce(group, byPath)
    await ask('/metrics', 'app-svc', 'X-One: 1\r\nX-Two: a\r\nX-Two: b\r\n')
    expect(seen).to.have.length(1)
    expect(seen[0]!.request.headers).to.include({ 'x-one': '1', 'x-two': 'a, b', host: `app-svc:${port}` })
    expect(seen[0]!.request.url).to.equal('/metrics')
  })

  it('understands the Host of a name that ends with a dot, and a port', async () => {
    await enforce(tcp('[]'), byTcp)
    expect(await status('/', 'app-svc.shop.svc.cluster.local.')).to.equal('200')
  })

  it('reaches all pods of a Service over one connection', async () => {
    await enforce(tcp('[]'), byTcp)
    const reached = () => new Set(seen.map(({ pod }) => pod))
    // The quicker one is preferred, but never for long.
    for (const began = performance.now(); reached().size < 2 && performance.now() - began < 5000; ) {
      expect(await status('/')).to.equal('200')
    }
    expect(reached()).to.deep.equal(new Set(['app-a', 'app-b']))
  })

  it('divides each request of one connection by itself', async () => {
    const split = (b: number, c: number) =>
      `{apiVersion: split.smi-spec.io/v1alpha4, kind: TrafficSplit, metadata: {name: s}, spec: {service: app-svc, backends: [{service: app-b, weight: ${b}}, {service: app-c, weight: ${c}}]}}`
    const pods = async (turns: number) => {
      seen.length = 0
      for (let turn = 0; turn < turns; turn++) await ask('/')
      return [...new Set(seen.map(({ pod }) => pod))].sort()
    }
    await enforce(tcp('[]'), byTcp, split(50, 50))
    expect(await pods(60)).to.deep.equal(['app-b', 'app-c'])
    await enforce(tcp('[]'), byTcp, split(100, 0))
    expect(await pods(20)).to.deep.equal(['app-b'])
    await enforce(tcp('[]'), byTcp, split(0, 100))
    expect(await pods(20)).to.deep.equal(['app-c'])
  })
})
