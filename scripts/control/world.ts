// The cluster of the benchmark: its objects as an API server would send them, with all the fields that nobody here reads.

import type { KubeObject } from './api.ts'
import { ballast, owners } from './ballast.ts'

/** How large it is. */
export interface Size {
  services: number
  endpoints: number
  nodes: number
  splits: number
  targets: number
  /** Pods of the one large Deployment; they are among the endpoints. */
  deployment: number
}

export const fullSize: Size = {
  services: 5000,
  endpoints: 50_000,
  nodes: 1000,
  splits: 500,
  targets: 500,
  deployment: 500,
}

/** The same proportions in small, to see that all works. */
export const quickSize: Size = { services: 500, endpoints: 5000, nodes: 100, splits: 50, targets: 50, deployment: 100 }

/** Puts an object where it belongs. */
export type Put = (collection: string, object: KubeObject) => void

/** A pod that really listens, on loopback, and the one that calls it; both on the node of the real agent. */
export interface Live {
  node: string
  agent: string
  caller: string
  server: string
  port: number
}

const perNamespace = 50
const perService = 10
/** Every so-manieth Service speaks no HTTP and has an address of its own. */
const opaqueEvery = 100
const portNumbers = [80, 8080, 8000, 9080, 3000, 5000, 8081, 9090]

export const meshNamespace = 'weft-system'
export const deployment = { namespace: 'ns-0', name: 'big' }

export function namespaceOf(service: number): string {
  return `ns-${Math.floor(service / perNamespace)}`
}

/** A Service by its number; number 0 is the large Deployment's. */
export function nameOf(service: number): string {
  return service === 0 ? deployment.name : `service-${service}`
}

export function portOf(service: number): number {
  return service === 0 ? 80 : portNumbers[service % portNumbers.length]!
}

/** How many pods a Service has: none for the last few, so that the sum is right. */
export function podsOf(service: number, size: Size): number {
  if (service === 0) return size.deployment
  const before = size.deployment + (service - 1) * perService
  return Math.max(0, Math.min(perService, size.endpoints - before))
}

export function agentPod(node: number): string {
  return `weft-agent-${node}`
}

/** A pod's address: one block of 256 for each node. */
function addressOf(node: number, seat: number): string {
  return `10.${32 + (node >> 8)}.${node & 255}.${seat}`
}

/** Fills an API server. */
export function fill(put: Put, size: Size, live: Live): void {
  const namespaces = Math.ceil(size.services / perNamespace)
  for (let index = 0; index < namespaces; index++) addNamespace(put, `ns-${index}`)
  addNamespace(put, 'live')
  for (const name of ['default', 'kube-system', meshNamespace]) put('namespaces', core('Namespace', '', name, {}))
  const kubernetes = { clusterIP: '10.250.0.1', ports: [{ port: 443, protocol: 'TCP' }] }
  put('services', core('Service', 'default', 'kubernetes', { spec: kubernetes }))
  addNodes(put, size, live)
  for (let service = 0; service < size.services; service++) addService(put, service, size)
  addLive(put, live)
  addRules(put, size)
}

function addNamespace(put: Put, name: string): void {
  const object = core('Namespace', '', name, {})
  object.metadata['labels'] = { 'kubernetes.io/metadata.name': name, 'weft.dev/mesh': 'enabled' }
  put('namespaces', object)
}

/** Nodes, with their agents. */
function addNodes(put: Put, size: Size, live: Live): void {
  for (let node = 0; node < size.nodes; node++) {
    const address = node === 0 ? live.agent : addressOf(node, 2)
    const status = { addresses: [{ type: 'InternalIP', address: `10.16.${node >> 8}.${node & 255}` }] }
    put('nodes', core('Node', '', `node-${node}`, { spec: {}, status: { ...status, ...ballast.node } }))
    const labels = { 'app.kubernetes.io/name': 'weft-agent' }
    put(
      'pods',
      podObject(meshNamespace, agentPod(node), { node, address, account: 'weft-agent', owner: 'agent', labels }),
    )
  }
  put('serviceaccounts', core('ServiceAccount', meshNamespace, 'weft-agent', {}))
}

/** What is particular about a pod. */
export interface PodFacts {
  node: number
  address: string
  account: string
  owner: string
  labels?: Record<string, string>
  isReady?: boolean
  isEnding?: boolean
}

export function podObject(namespace: string, name: string, facts: PodFacts): KubeObject {
  const { node, address, account, owner, labels = { app: owner }, isReady = true, isEnding = false } = facts
  const object = core('Pod', namespace, name, {
    spec: { ...ballast.podSpec, nodeName: `node-${node}`, serviceAccountName: account },
    status: {
      ...ballast.podStatus,
      phase: 'Running',
      podIP: address,
      podIPs: [{ ip: address }],
      hostIP: `10.16.${node >> 8}.${node & 255}`,
      startTime: '2026-11-01T00:00:00Z',
      conditions: [
        { type: 'Initialized', status: 'True' },
        { type: 'Ready', status: isReady ? 'True' : 'False' },
      ],
    },
  })
  object.metadata['labels'] = { ...labels, 'pod-template-hash': '5d9f7c6b8' }
  object.metadata['ownerReferences'] = owners(`${owner}-5d9f7c6b8`)
  object.metadata['managedFields'] = ballast.managedFields
  if (isEnding) object.metadata['deletionTimestamp'] = '2026-11-21T12:00:00Z'
  return object
}

/** One endpoint of a slice. */
export interface Seat {
  pod: string
  address: string
  node: number
  isReady: boolean
}

export function sliceObject(service: number, part: number, seats: readonly Seat[]): KubeObject {
  const namespace = namespaceOf(service)
  const name = nameOf(service)
  const object = {
    ...core('EndpointSlice', namespace, `${name}-${part}`, {}),
    apiVersion: 'discovery.k8s.io/v1',
    addressType: 'IPv4',
    endpoints: seats.map(({ pod, address, node, isReady }) => ({
      addresses: [address],
      conditions: { ready: isReady, serving: isReady, terminating: false },
      nodeName: `node-${node}`,
      targetRef: { kind: 'Pod', namespace, name: pod, uid: `uid-pods-${namespace}/${pod}` },
    })),
    ports: [{ name: 'main', port: 8080, protocol: 'TCP' }],
  }
  object.metadata['labels'] = { 'kubernetes.io/service-name': name }
  object.metadata['managedFields'] = ballast.managedFields
  return object
}

/** Pods of a Service with their places; `generation` goes into their names. */
export function seatsOf(service: number, size: Size, generation = 0): Seat[] {
  return Array.from({ length: podsOf(service, size) }, (_, index) => {
    // Spread over the nodes, so that each has as many.
    const place = service === 0 ? index : size.deployment + (service - 1) * perService + index
    const node = place % size.nodes
    const pod = `${nameOf(service)}-5d9f7c6b8-${generation}x${String(index).padStart(4, '0')}`
    return { pod, node, address: addressOf(node, 3 + Math.floor(place / size.nodes)), isReady: true }
  })
}

export const sliceLength = 100

function addService(put: Put, service: number, size: Size): void {
  const namespace = namespaceOf(service)
  const name = nameOf(service)
  const port = { name: 'main', port: portOf(service), targetPort: 8080, protocol: 'TCP' }
  const isOpaque = service % opaqueEvery === opaqueEvery - 1
  const ports = [isOpaque ? { ...port, appProtocol: 'tcp' } : port]
  const clusterIP = `10.200.${service >> 8}.${service & 255}`
  const spec = { type: 'ClusterIP', clusterIP, clusterIPs: [clusterIP], selector: { app: name }, ports }
  const object = core('Service', namespace, name, { spec: { ...ballast.serviceSpec, ...spec } })
  object.metadata['managedFields'] = ballast.managedFields
  put('services', object)
  put('serviceaccounts', core('ServiceAccount', namespace, name, {}))
  addPods(put, service, size, 0)
}

/** Pods and slices of a Service. */
export function addPods(put: Put, service: number, size: Size, generation: number): void {
  const namespace = namespaceOf(service)
  const name = nameOf(service)
  const seats = seatsOf(service, size, generation)
  for (const { pod, node, address } of seats) {
    put('pods', podObject(namespace, pod, { node, address, account: name, owner: name }))
  }
  for (let part = 0; part * sliceLength < Math.max(1, seats.length); part++) {
    const some = seats.slice(part * sliceLength, (part + 1) * sliceLength)
    put('discovery.k8s.io/endpointslices', sliceObject(service, part, some))
  }
}

function addLive(put: Put, { caller, server, port }: Live): void {
  const spec = { type: 'ClusterIP', clusterIP: '10.249.0.1', ports: [{ name: 'main', port: 80, protocol: 'TCP' }] }
  put('services', core('Service', 'live', 'web', { spec }))
  for (const [name, address] of [
    ['caller', caller],
    ['web', server],
  ] as const) {
    put('pods', podObject('live', `${name}-5d9f7c6b8-0`, { node: 0, address, account: name, owner: name }))
    put('serviceaccounts', core('ServiceAccount', 'live', name, {}))
  }
  put('discovery.k8s.io/endpointslices', {
    ...core('EndpointSlice', 'live', 'web-0', {}),
    metadata: { name: 'web-0', namespace: 'live', labels: { 'kubernetes.io/service-name': 'web' } },
    apiVersion: 'discovery.k8s.io/v1',
    addressType: 'IPv4',
    endpoints: [{ addresses: [server], conditions: { ready: true } }],
    ports: [{ name: 'main', port, protocol: 'TCP' }],
  })
}

/** A split of two Services that have the same port number. */
export function splitObject(index: number, weight: number, size: Size): KubeObject {
  const namespaces = Math.ceil(size.services / perNamespace)
  const root = (index % namespaces) * perNamespace + 1 + Math.floor(index / namespaces)
  const backends = [
    { service: nameOf(root), weight: 100 - weight },
    { service: nameOf(root + portNumbers.length), weight },
  ]
  const spec = { service: nameOf(root), backends }
  const object = core('TrafficSplit', namespaceOf(root), `split-${index}`, { spec })
  return { ...object, apiVersion: 'split.smi-spec.io/v1alpha4' }
}

function addRules(put: Put, size: Size): void {
  const namespaces = Math.ceil(size.services / perNamespace)
  for (let index = 0; index < namespaces; index++) {
    const matches = ['/api/.*', '/admin', '/health'].map((pathRegex, at) => ({
      name: `m${at}`,
      pathRegex,
      methods: ['GET'],
    }))
    const group = core('HTTPRouteGroup', `ns-${index}`, 'routes', { spec: { matches } })
    put('specs.smi-spec.io/httproutegroups', { ...group, apiVersion: 'specs.smi-spec.io/v1alpha4' })
  }
  for (let index = 0; index < size.splits; index++) put('split.smi-spec.io/trafficsplits', splitObject(index, 10, size))
  for (let index = 0; index < size.targets; index++) {
    const service = 1 + index * Math.floor((size.services - 1) / size.targets)
    const namespace = namespaceOf(service)
    const source = (number: number) => ({
      kind: 'ServiceAccount',
      name: nameOf(number),
      namespace: namespaceOf(number),
    })
    const target = core('TrafficTarget', namespace, `target-${index}`, {
      spec: {
        destination: { kind: 'ServiceAccount', name: nameOf(service), namespace },
        sources: [source(service + 1), source((service + 7) % size.services), source((service + 99) % size.services)],
        rules: [{ kind: 'HTTPRouteGroup', name: 'routes', matches: ['m0', 'm2'] }],
      },
    })
    put('access.smi-spec.io/traffictargets', { ...target, apiVersion: 'access.smi-spec.io/v1alpha4' })
  }
}

function core(kind: string, namespace: string, name: string, fields: Record<string, unknown>): KubeObject {
  return { apiVersion: 'v1', kind, metadata: { name, ...(namespace === '' ? {} : { namespace }) }, ...fields }
}
