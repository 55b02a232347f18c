// Two agents on two "nodes" with a service on the second, certificates and all: the smallest mesh that has a tunnel.

import { createServer, type IncomingMessage, Server, type ServerResponse } from 'node:http'
import { createServer as createTcp, type Socket } from 'node:net'
import type { IdentityMessage } from '../../agent/identity/messages.ts'
import { formatIdentity } from '../../controller/contract/identity.ts'
import type { Resource, WorkloadResource } from '../../controller/contract/resources.ts'
import { type AgentUnderTest, startAgent } from './agent.ts'
import { testLeaf, testRoot } from './certificates.ts'
import { mesh, workload } from './resources.ts'

/** Accounts of the two nodes' pods, and of the agents. */
export const client = 'shop/client'
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

export interface Pair {
  readonly near: AgentUnderTest
  readonly far: AgentUnderTest
  /** Address of the calling pod. */
  readonly caller: string
  /** `address:port` of the service's pod. */
  readonly endpoint: { address: string; port: number }
  readonly root: ReturnType<typeof testRoot>
  /** Changes both agents' configuration. */
  apply(...resources: Resource[]): Promise<void>
  stop(): Promise<void>
}

let pairs = 0

/** Messages that give a thread the trust and certificates of these accounts. */
export function identities(root: ReturnType<typeof testRoot>, ...accounts: string[]): IdentityMessage[] {
  const certificates = accounts.map((account): IdentityMessage => {
    const { pem, key } = testLeaf(root, formatIdentity('cluster.local', account))
    return { type: 'certificate', account, key, chain: pem, expires: Date.now() + 3_600_000 }
  })
  return [{ type: 'trust', bundle: root.pem, trustDomain: 'cluster.local' }, ...certificates]
}

/** Starts both agents and the service's pod. Callers connect from `caller`. */
export async function startPair(options: PairOptions = {}): Promise<Pair> {
  pairs++
  const net = `127.${60 + (process.pid % 150)}.${pairs}`
  const [nearAddress, farAddress, caller, pod] = [`${net}.1`, `${net}.2`, `${net}.11`, `${net}.12`] as const
  const listening =
    options.onSocket === undefined
      ? createServer(options.handler ?? ((_request, response) => response.end('hello')))
      : createTcp({ allowHalfOpen: true }, options.onSocket)
  await new Promise<void>((resolve) => listening.listen(0, pod, resolve))
  const { port } = listening.address() as { port: number }
  const root = testRoot()
  const protocol = options.protocol ?? 'http'
  const shared: Resource[] = [
    mesh,
    {
      kind: 'service',
      name: 'shop/web',
      uid: 'uid-web',
      enrolled: true,
      address: '',
      ports: [{ number: 80, name: 'main', protocol, splits: [] }],
      policy: options.policy ?? {},
    },
    {
      kind: 'endpoints',
      name: 'shop/web:80',
      endpoints: [
        {
          address: pod,
          port,
          node: 'node2',
          pod: 'shop/web-1',
          podUid: `uid-${pod}`,
          account: server,
          workload: 'web',
        },
      ],
    },
    {
      kind: 'port',
      name: '16384',
      port: 80,
      service: protocol === 'tcp' ? { name: 'shop/web', uid: 'uid-web' } : null,
    },
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
    identities: identities(root, agents, client),
    resources: [...shared, podOf(nearAddress, agents), podOf(caller, client)],
  })
  const far = await startAgent({
    address: farAddress,
    node: 'node2',
    flags: options.flags ?? [],
    identities: identities(root, agents, server),
    resources: [...shared, podOf(farAddress, agents), podOf(pod, server)],
  })
  return {
    near,
    far,
    caller,
    endpoint: { address: pod, port },
    root,
    apply: async (...resources) => {
      await near.apply(...resources)
      await far.apply(...resources)
    },
    stop: async () => {
      await near.stop()
      await far.stop()
      if (listening instanceof Server) listening.closeAllConnections()
      listening.close()
    },
  }
}
