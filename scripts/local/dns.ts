// A stand-in for CoreDNS with the block that Weft asks for: answers `cluster.local` from the API's Services and forwards
// `mesh.internal` to the agent of the node that asks. UDP only; the preload in names.ts is its only client.

import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import * as packet from 'dns-packet'
import type { Cluster } from './cluster.ts'
import { type EndpointSlice, isReady, type Pod, type Service } from './objects.ts'

export interface DnsOptions {
  cluster: Cluster
  /** Where to listen. */
  address: string
  port: number
  /** The node that an address belongs to, to find its agent. */
  nodeOf(address: string): string
  clusterDomain?: string
  meshDomain?: string
  /** The port on which agents answer for the mesh domain. */
  agentPort?: number
}

export interface DnsServer {
  /** `address:port` */
  readonly address: string
  close(): Promise<void>
}

/** CoreDNS's own default for its kubernetes plug-in, in seconds. */
const ttl = 5
const forwardTimeoutMs = 2000

/**
 * Starts the stand-in.
 * @throws the socket's error when the address can't be bound
 */
export async function startDns(options: DnsOptions): Promise<DnsServer> {
  const { cluster, clusterDomain = 'cluster.local', meshDomain = 'mesh.internal', agentPort = 15053 } = options
  const socket = createSocket('udp4')
  const forwards = new Set<ReturnType<typeof createSocket>>()
  socket.bind(options.port, options.address)
  await once(socket, 'listening')
  socket.on('error', () => {})
  socket.on('message', (message, from) => {
    const query = decode(message)
    const question = query?.questions?.[0]
    if (!query || !question) return
    const name = question.name.toLowerCase()
    if (name === meshDomain || name.endsWith(`.${meshDomain}`)) return forward(message, query, from)
    reply(query, answer(cluster, name, question.type, clusterDomain), from)
  })

  function reply(query: packet.Packet, found: Found, to: RemoteInfo): void {
    const rcode = rcodes.indexOf(found.rcode)
    const flags = packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | packet.AUTHORITATIVE_ANSWER | rcode
    const { id = 0, questions = [] } = query
    socket.send(packet.encode({ type: 'response', id, flags, questions, answers: found.answers }), to.port, to.address)
  }

  function forward(message: Buffer, query: packet.Packet, from: RemoteInfo): void {
    const agent = agentOf(cluster, options.nodeOf(from.address))
    if (agent === undefined) {
      reply(query, { rcode: 'SERVFAIL', answers: [] }, from)
      return
    }
    const upstream = createSocket('udp4')
    forwards.add(upstream)
    const end = () => {
      clearTimeout(timer)
      if (forwards.delete(upstream)) upstream.close()
    }
    const timer = setTimeout(() => {
      reply(query, { rcode: 'SERVFAIL', answers: [] }, from)
      end()
    }, forwardTimeoutMs)
    upstream.on('error', end)
    upstream.on('message', (response) => {
      socket.send(response, from.port, from.address)
      end()
    })
    upstream.send(message, agentPort, agent)
  }

  const { address, port } = socket.address()
  return {
    address: `${address}:${port}`,
    close: async () => {
      for (const upstream of forwards) upstream.close()
      forwards.clear()
      socket.close()
      await once(socket, 'close')
    },
  }
}

const rcodes = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'] as const

interface Found {
  rcode: (typeof rcodes)[number]
  answers: packet.Answer[]
}

function decode(message: Buffer): packet.Packet | undefined {
  try {
    return packet.decode(message)
  } catch {
    return undefined
  }
}

/** What CoreDNS answers for a name of the cluster domain (Kubernetes DNS specification 1.1.0: A records and aliases). */
export function answer(cluster: Cluster, name: string, type: string, domain: string, depth = 0): Found {
  if (!name.endsWith(`.${domain}`)) return { rcode: 'REFUSED', answers: [] }
  const labels = name.slice(0, -domain.length - 1).split('.')
  const [service, namespace, kind] = labels
  if (labels.length !== 3 || kind !== 'svc') return { rcode: 'NXDOMAIN', answers: [] }
  const found = cluster.get<Service>('services', namespace!, service!)
  if (!found) return { rcode: 'NXDOMAIN', answers: [] }
  if (found.spec.type === 'ExternalName') {
    const target = (found.spec.externalName ?? '').toLowerCase().replace(/\.$/, '')
    const alias: packet.Answer = { type: 'CNAME', name, ttl, class: 'IN', data: target }
    // An alias of an alias is followed as far as resolvers usually do, and no further.
    const next = depth < 8 ? answer(cluster, target, type, domain, depth + 1).answers : []
    return { rcode: 'NOERROR', answers: [alias, ...next] }
  }
  if (type !== 'A') return { rcode: 'NOERROR', answers: [] }
  const { clusterIP } = found.spec
  const addresses = clusterIP === 'None' ? headless(cluster, found) : clusterIP ? [clusterIP] : []
  return {
    rcode: 'NOERROR',
    answers: addresses.map((data) => ({ type: 'A', name, ttl, class: 'IN', data })),
  }
}

function headless(cluster: Cluster, service: Service): string[] {
  const { name, namespace } = service.metadata
  return cluster
    .list<EndpointSlice>('endpointslices', namespace)
    .filter((slice) => slice.metadata.labels?.['kubernetes.io/service-name'] === name)
    .flatMap((slice) => slice.endpoints ?? [])
    .filter((endpoint) => endpoint.conditions?.ready !== false)
    .flatMap((endpoint) => endpoint.addresses)
}

function agentOf(cluster: Cluster, node: string): string | undefined {
  const agents = cluster
    .list<Pod>('pods')
    .filter((pod) => pod.metadata.labels?.['app.kubernetes.io/name'] === 'weft-agent' && isReady(pod))
  const near = agents.find((pod) => pod.spec.nodeName === node) ?? agents[0]
  return near?.status?.podIP
}
