// Two agents on two "nodes" with a service on the second, certificates and all: the smallest mesh that has a tunnel. A
// second pod of the service stands beside the caller; `place` decides which of the two is the service's endpoint.

import { createServer, type IncomingMessage, Server, type ServerResponse } from 'node:http'
import { createServer as createTcp, type Socket, type Server as TcpServer } from 'node:net'
import type { IdentityMessage } from '../../agent/identity/messages.ts'
import { formatIdentity } from '../../controller/contract/identity.ts'
import type { Resource, WorkloadResource } from '../../controller/contract/resources.ts'
import { ownNetwork } from './addresses.ts'
import { type AgentUnderTest, startAgent } from './agent.ts'
import { testLeaf, testRoot } from './certificates.ts'
import { type Gone, mesh, workload } from './resources.ts'

/** Accounts of the two nodes' pods, and of the agents. */
export const client = 'shop/client'
export const other = 'shop/other'
export const server = 'shop/web'
export const agents = 'weft-system/weft-agent'

export interface PairOptions {
  /** Access rules, namespaces and the like, for both agents. */
  resources?: Resource[]
  /** The service's port; by default one HTTP port 80. */
  protocol?: 'http' | 'tcp'
  policy?: Extract<Resource, { kind: 'service' }>['policy']
  handler?: (request: IncomingMessage, response: ServerResponse) => void
  onSocket?: (socket: Socket) => void
  flags?: string[]
}

/** The caller's node, or the other. */
export type Place = 'near' | 'far'

/** A pod of the service. */
export interface Pod {
  readonly address: string
  /** Of its main port: HTTP, or what the options make of it. */
  readonly port: number
  /** Of its opaque port, where it sends back what comes. */
  readonly echoPort: number
  /** Connections that it has got on either port. */
  connections: number
  /** Requests and opaque connections that have come through to it. */
  reached: number
  close(): void
}

/** The mesh port that leads to the service's opaque port, 6379. */
export const echoMeshPort = 16385

export interface Pair {
  readonly near: AgentUnderTest
  readonly far: AgentUnderTest
  /** Address of the calling pod. */
  readonly caller: string
  /** A pod of no account in particular, beside it: tests make it whose they like. */
  readonly visitor: string
  /** The service's pod on the other node, and its HTTP port. */
  readonly endpoint: { address: string; port: number }
  readonly pods: Readonly<Record<Place, Pod>>
  readonly root: ReturnType<typeof testRoot>
  /** Changes both agents' configuration. */
  apply(...resources: (Resource | Gone)[]): Promise<void>
  /** Makes the pod of that node the service's only endpoint. */
  place(where: Place): Promise<void>
  stop(): Promise<void>
}

/** Messages that give a thread the trust and certificates of these accounts. */
export function identities(root: ReturnType<typeof testRoot>, ...accounts: string[]): IdentityMessage[] {
  const certificates = accounts.map((account): IdentityMessage => {
    const { pem, key } = testLeaf(root, formatIdentity('cluster.local', account))
    return { type: 'certificate', account, key, chain: pem, expires: Date.now() + 3_600_000 }
  })
  return [{ type: 'trust', bundle: root.pem, trustDomain: 'cluster.local' }, ...certificates]
}

/** Starts both agents and the service's pods. Callers connect from `caller`. */
export async function startPair(options: PairOptions = {}): Promise<Pair> {
  const net = ownNetwork()
  const [nearAddress, farAddress, caller, visitor] = [`${net}.1`, `${net}.2`, `${net}.11`, `${net}.14`] as const
  const pods = { near: await startPod(`${net}.13`, options), far: await startPod(`${net}.12`, options) }
  const root = testRoot()
  const shared: Resource[] = [
    mesh,
    serviceOf(options),
    ...endpointsOf(pods.far, 'node2'),
    { kind: 'port', name: '16384', port: 80, service: options.protocol === 'tcp' ? web : null },
    { kind: 'port', name: String(echoMeshPort), port: 6379, service: web },
    { kind: 'peer', name: 'node1', address: nearAddress, port: 15008 },
    { kind: 'peer', name: 'node2', address: farAddress, port: 15008 },
    ...(options.resources ?? []),
  ]
  const podOf = (address: string, account: string): WorkloadResource =>
    workload(address, { account, pod: `${account}-1` })
  const near = await startAgent({
    address: nearAddress,
    node: 'node1',
    flags: options.flags ?? [],
    identities: identities(root, agents, client, other),
    resources: [...shared, podOf(nearAddress, agents), podOf(caller, client), podOf(pods.near.address, server)],
  })
  const far = await startAgent({
    address: farAddress,
    node: 'node2',
    flags: options.flags ?? [],
    identities: identities(root, agents, server),
    resources: [...shared, podOf(farAddress, agents), podOf(pods.far.address, server)],
  })
  const apply = async (...resources: (Resource | Gone)[]) => {
    await near.apply(...resources)
    await far.apply(...resources)
  }
  return {
    near,
    far,
    caller,
    visitor,
    endpoint: { address: pods.far.address, port: pods.far.port },
    pods,
    root,
    apply,
    place: (where) => apply(...endpointsOf(pods[where], where === 'near' ? 'node1' : 'node2')),
    stop: async () => {
      await near.stop()
      await far.stop()
      pods.near.close()
      pods.far.close()
    },
  }
}

const web = { name: 'shop/web', uid: 'uid-web' }

function serviceOf({ protocol = 'http', policy = {} }: PairOptions): Resource {
  return {
    kind: 'service',
    ...web,
    enrolled: true,
    address: '',
    ports: [
      { number: 80, name: 'main', protocol, splits: [] },
      { number: 6379, name: 'echo', protocol: 'tcp', splits: [] },
    ],
    policy,
  }
}

function endpointsOf({ address, port, echoPort }: Pod, node: string): Resource[] {
  const spec = { address, node, pod: 'shop/web-1', podUid: `uid-${address}`, account: server, workload: 'web' }
  return [
    { kind: 'endpoints', name: 'shop/web:80', endpoints: [{ ...spec, port }] },
    { kind: 'endpoints', name: 'shop/web:6379', endpoints: [{ ...spec, port: echoPort }] },
  ]
}

async function startPod(address: string, options: PairOptions): Promise<Pod> {
  const main =
    options.onSocket === undefined
      ? createServer(options.handler ?? ((_request, response) => response.end('hello')))
      : createTcp({ allowHalfOpen: true }, options.onSocket)
  const echoing = new Set<Socket>()
  const echo = createTcp((socket) => {
    echoing.add(socket)
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  await new Promise<void>((resolve) => main.listen(0, address, resolve))
  await new Promise<void>((resolve) => echo.listen(0, address, resolve))
  const portOf = (listening: Server | TcpServer) => (listening.address() as { port: number }).port
  const pod: Pod = {
    address,
    port: portOf(main),
    echoPort: portOf(echo),
    connections: 0,
    reached: 0,
    close: () => {
      if (main instanceof Server) main.closeAllConnections()
      main.close()
      for (const socket of echoing) socket.destroy()
      echo.close()
    },
  }
  for (const listening of [main, echo]) {
    const isHttp = listening instanceof Server
    listening.on('connection', () => {
      pod.connections++
      if (!isHttp) pod.reached++
    })
    if (isHttp) listening.on('request', () => pod.reached++)
  }
  return pod
}
