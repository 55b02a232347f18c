// Data thread: a change + the snapshot in force → the next snapshot, which shares everything unchanged with its
// predecessor. Pure but for the new Endpoint objects it makes: nothing is in force before the holder commits it.

import type { Remove, Set as SetMessage } from '../../controller/contract/messages.ts'
import type {
  EndpointSpec,
  EndpointsResource,
  Key,
  MeshResource,
  Resource,
  ResourceKind,
  RouteMatch,
  ServicePolicy,
  ServiceResource,
  WorkloadResource,
} from '../../controller/contract/resources.ts'
import { joinPort } from '../address.ts'
import { Endpoint } from './endpoint.ts'
import type { Match } from './match.ts'
import type { Backend, Port, Service, Snapshot, Split } from './snapshot.ts'

/** What building needs to know beside the resources. */
export interface Surroundings {
  /** This agent's node: its endpoints are local. */
  readonly node: string
  /** Compiles the matches of one split. @throws if one can't be */
  readonly compile: (matches: readonly RouteMatch[]) => readonly Match[]
  /** Clock's ms. */
  readonly now: () => number
}

type Raw = { readonly [K in ResourceKind]: ReadonlyMap<string, Extract<Resource, { kind: K }>> }

/** A snapshot with what the next one is built from. */
export interface Stand {
  readonly snapshot: Snapshot
  readonly raw: Raw
  /** Every backend in use, by its key. */
  readonly backends: ReadonlyMap<string, Backend>
}

export interface Built {
  readonly stand: Stand
  /** Endpoints that the new snapshot has no more: to be retired once it is in force. */
  readonly retired: Endpoint[]
}

const noMesh: MeshResource = {
  kind: 'mesh',
  name: 'mesh',
  trustDomain: '',
  clusterDomain: '',
  meshDomain: '',
  aliasSuffix: '',
  address: '',
  defaultAccess: 'deny',
}

/** Before the first snapshot: no service, and nothing permitted. */
export const emptyStand: Stand = {
  snapshot: {
    version: '',
    mesh: noMesh,
    services: new Map(),
    ports: new Map(),
    workloads: new Map(),
    peers: new Map(),
    namespaces: new Map(),
    access: new Map(),
  },
  raw: {
    mesh: new Map(),
    service: new Map(),
    endpoints: new Map(),
    port: new Map(),
    peer: new Map(),
    workload: new Map(),
    namespace: new Map(),
    access: new Map(),
  },
  backends: new Map(),
}

/** `namespace/name:port` */
function backendKey(service: Key, port: number): string {
  return `${service}:${port}`
}

/**
 * Builds the snapshot that a change leads to.
 * @param change NDJSON of validated `set` and `remove` messages
 * @throws if a match can't be compiled or a line is no JSON; `from` is unharmed
 */
export function buildNext(from: Stand, version: string, change: Uint8Array, surroundings: Surroundings): Built {
  const { raw, touched } = mergeChange(from.raw, change)
  const backends = new Map(from.backends)
  const services = buildServices(from, raw, touched, backends, surroundings)
  const before = from.snapshot
  const snapshot: Snapshot = {
    version,
    mesh: raw.mesh.get('mesh') ?? noMesh,
    services,
    ports: touched.port.size === 0 ? before.ports : byPort(raw.port),
    workloads: touched.workload.size === 0 ? before.workloads : byAddress(raw.workload.values()),
    peers: raw.peer,
    namespaces: raw.namespace,
    access: raw.access,
  }
  return { stand: { snapshot, raw, backends }, retired: retiredBetween(from.backends, backends) }
}

type Touched = Record<ResourceKind, Set<string>>

/** The raw resources after a change; maps of kinds that it doesn't touch stay the same objects. */
function mergeChange(before: Raw, change: Uint8Array): { raw: Raw; touched: Touched } {
  const kinds = Object.keys(before) as ResourceKind[]
  const touched = Object.fromEntries(kinds.map((kind) => [kind, new Set<string>()])) as Touched
  const raw = { ...before } as Record<ResourceKind, Map<string, Resource>>
  const open = (kind: ResourceKind, name: string) => {
    if (touched[kind].size === 0) raw[kind] = new Map(raw[kind])
    touched[kind].add(name)
    return raw[kind]
  }
  for (const line of linesOf(change)) {
    const message = JSON.parse(line) as SetMessage | Remove
    if (message.type === 'set')
      open(message.resource.kind, message.resource.name).set(message.resource.name, message.resource)
    else open(message.kind, message.name).delete(message.name)
  }
  return { raw: raw as Raw, touched }
}

function linesOf(change: Uint8Array): string[] {
  // toString on shared memory copies it, which is what we want: the bytes are not ours.
  const joined = Buffer.from(change.buffer, change.byteOffset, change.byteLength).toString('utf8')
  return joined === '' ? [] : joined.split('\n')
}

/** Rebuilds the services that a change concerns; all others stay the same objects. */
function buildServices(
  from: Stand,
  raw: Raw,
  touched: Touched,
  backends: Map<string, Backend>,
  surroundings: Surroundings,
): ReadonlyMap<Key, Service> {
  const stale = staleBackends(from, touched)
  if (stale.size === 0 && touched.service.size === 0) return from.snapshot.services
  for (const key of stale) backends.delete(key)

  const builder = new Builder(from, raw, backends, surroundings)
  const services = new Map(from.snapshot.services)
  for (const [name, service] of services) {
    if (touched.service.has(name) || usesAny(service, stale)) services.delete(name)
  }
  for (const [name, resource] of raw.service) {
    if (!services.has(name)) services.set(name, builder.service(resource))
  }
  if (touched.service.size > 0) dropUnused(services, backends)
  return services
}

/** Backends whose endpoints or policy may have changed. */
function staleBackends(from: Stand, touched: Touched): Set<string> {
  const stale = new Set<string>()
  for (const [key, backend] of from.backends) {
    if (touched.endpoints.has(key) || touched.service.has(backend.service)) stale.add(key)
  }
  return stale
}

function retiredBetween(from: Stand['backends'], to: Stand['backends']): Endpoint[] {
  const retired: Endpoint[] = []
  for (const [key, backend] of from) {
    const successor = to.get(key)
    if (successor === backend) continue
    const kept = new Set(successor?.endpoints)
    for (const endpoint of backend.endpoints) if (!kept.has(endpoint)) retired.push(endpoint)
  }
  return retired
}

function usesAny(service: Service, keys: ReadonlySet<string>): boolean {
  for (const port of service.ports.values()) for (const key of backendsOf(port)) if (keys.has(key)) return true
  return false
}

function* backendsOf(port: Port): Generator<string> {
  yield port.own.key
  for (const split of port.splits) for (const choice of split.choices) yield choice.backend.key
}

function dropUnused(services: ReadonlyMap<Key, Service>, backends: Map<string, Backend>): void {
  const used = new Set<string>()
  for (const service of services.values()) {
    for (const port of service.ports.values()) for (const key of backendsOf(port)) used.add(key)
  }
  for (const key of backends.keys()) if (!used.has(key)) backends.delete(key)
}

/** Makes the objects of the new snapshot, taking what it can from the one before. */
class Builder {
  readonly #from: Stand
  readonly #raw: Raw
  readonly #backends: Map<string, Backend>
  readonly #surroundings: Surroundings

  constructor(from: Stand, raw: Raw, backends: Map<string, Backend>, surroundings: Surroundings) {
    this.#from = from
    this.#raw = raw
    this.#backends = backends
    this.#surroundings = surroundings
  }

  service(resource: ServiceResource): Service {
    const slash = resource.name.indexOf('/')
    const ports = new Map<number, Port>()
    const service: Service = {
      key: resource.name,
      namespace: resource.name.slice(0, slash),
      name: resource.name.slice(slash + 1),
      uid: resource.uid,
      enrolled: resource.enrolled,
      address: resource.address,
      policy: resource.policy,
      ports,
    }
    for (const { number, protocol, splits } of resource.ports) {
      const own = this.#backend(resource.name, number)
      ports.set(number, { service, number, protocol, own, splits: splits.map((split) => this.#split(split, number)) })
    }
    return service
  }

  #split(split: ServiceResource['ports'][number]['splits'][number], port: number): Split {
    const choices = split.backends.map(({ service, weight }) => ({ backend: this.#backend(service, port), weight }))
    return {
      name: split.name,
      matches: split.matches === null ? null : this.#surroundings.compile(split.matches),
      total: choices.reduce((sum, { weight }) => sum + weight, 0),
      choices,
    }
  }

  #backend(service: Key, port: number): Backend {
    const key = backendKey(service, port)
    const made = this.#backends.get(key)
    if (made !== undefined) return made
    const policy: ServicePolicy = this.#raw.service.get(service)?.policy ?? {}
    const backend: Backend = {
      key,
      service,
      port,
      policy,
      endpoints: this.#endpoints(key, this.#raw.endpoints.get(key), policy.nodeLocal === true),
    }
    this.#backends.set(key, backend)
    return backend
  }

  #endpoints(key: string, resource: EndpointsResource | undefined, isNodeLocal: boolean): Endpoint[] {
    if (resource === undefined) return []
    const before = new Map(this.#from.backends.get(key)?.endpoints.map((endpoint) => [endpoint.key, endpoint]))
    const endpoints = new Map<string, Endpoint>()
    for (const spec of resource.endpoints) {
      if (isNodeLocal && spec.node !== this.#surroundings.node) continue
      const address = joinPort(spec.address, spec.port)
      const old = before.get(address)
      endpoints.set(address, old !== undefined && isSame(old.spec, spec) ? old : this.#endpoint(key, spec))
    }
    return [...endpoints.values()]
  }

  #endpoint(key: string, spec: EndpointSpec): Endpoint {
    const { node, now } = this.#surroundings
    return new Endpoint(key, spec, spec.node === node, now())
  }
}

function isSame(a: EndpointSpec, b: EndpointSpec): boolean {
  return (
    a.address === b.address &&
    a.port === b.port &&
    a.node === b.node &&
    a.pod === b.pod &&
    a.podUid === b.podUid &&
    a.account === b.account &&
    a.workload === b.workload
  )
}

function byPort(raw: Raw['port']): Snapshot['ports'] {
  return new Map(Array.from(raw.values(), (resource) => [Number(resource.name), resource]))
}

/** Of two pods with one address the younger has it; at the same age the live one, so that the order of lines is no matter. */
function byAddress(workloads: Iterable<WorkloadResource>): Snapshot['workloads'] {
  const index = new Map<string, WorkloadResource>()
  for (const workload of workloads) {
    for (const address of [workload.address, workload.secondAddress]) {
      if (address === undefined) continue
      const other = index.get(address)
      if (other === undefined || isAfter(workload, other)) index.set(address, workload)
    }
  }
  return index
}

function isAfter(a: WorkloadResource, b: WorkloadResource): boolean {
  if (a.startedAt !== b.startedAt) return a.startedAt > b.startedAt
  if (a.live !== b.live) return a.live
  return a.name > b.name
}
