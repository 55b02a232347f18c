// Data thread: a change + the snapshot in force → the next snapshot, which shares everything unchanged with its
// predecessor. Pure but for the new Endpoint objects it makes: nothing is in force before the holder commits it.

import type {
  EndpointSpec,
  EndpointsResource,
  Key,
  MeshResource,
  RouteMatch,
  ServicePolicy,
  ServiceResource,
  WorkloadResource,
} from '../../controller/contract/resources.ts'
import { joinPort } from '../address.ts'
import { Endpoint } from './endpoint.ts'
import type { Match } from './match.ts'
import { mergeChange, type Raw, type Touched } from './merge.ts'
import { Draft, noShards, type Shards } from './shards.ts'
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

/** A snapshot with what the next one is built from. */
export interface Stand {
  readonly snapshot: Snapshot
  readonly raw: Raw
  readonly services: Shards<Service>
  /** Every backend in use, by its key. */
  readonly backends: Shards<Backend>
  /** Services that lead to a backend, by its key. */
  readonly users: Shards<ReadonlySet<Key>>
  /** Keys of the backends that a Service is, by its own key. */
  readonly sides: Shards<ReadonlySet<string>>
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
    services: noShards(),
    locals: new Set(),
    ports: new Map(),
    workloads: new Map(),
    peers: noShards(),
    namespaces: noShards(),
    access: noShards(),
  },
  raw: {
    mesh: noShards(),
    service: noShards(),
    endpoints: noShards(),
    port: noShards(),
    peer: noShards(),
    workload: noShards(),
    namespace: noShards(),
    access: noShards(),
  },
  services: noShards(),
  backends: noShards(),
  users: noShards(),
  sides: noShards(),
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
  const steps = buildSteps(from, version, change, surroundings)
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/**
 * Builds it bit by bit: between any two steps the thread may do something else.
 * @throws as buildNext
 */
export function* buildSteps(
  from: Stand,
  version: string,
  change: Uint8Array,
  surroundings: Surroundings,
): Generator<void, Built> {
  const { raw, touched } = yield* mergeChange(from.raw, change)
  const builder = new Builder(from, raw, surroundings)
  yield* builder.run(touched)
  const before = from.snapshot
  const snapshot: Snapshot = {
    version,
    mesh: raw.mesh.get('mesh') ?? noMesh,
    services: builder.services.done(),
    locals: builder.locals(),
    ports: touched.port.size === 0 ? before.ports : byPort(raw.port),
    workloads: touched.workload.size === 0 ? before.workloads : byAddress(raw.workload.values()),
    peers: raw.peer,
    namespaces: raw.namespace,
    access: raw.access,
  }
  return { stand: { snapshot, raw, ...builder.indexes() }, retired: yield* builder.retired() }
}

function* backendsOf(service: Service): Generator<string> {
  for (const port of service.ports.values()) {
    yield port.own.key
    for (const split of port.splits) for (const choice of split.choices) yield choice.backend.key
  }
}

function isLocal({ ports }: Service): boolean {
  for (const { own } of ports.values()) if (own.endpoints.some((endpoint) => endpoint.isLocal)) return true
  return false
}

/** Makes the objects of the new snapshot, taking what it can from the one before. */
class Builder {
  readonly services: Draft<Service>
  readonly #from: Stand
  readonly #raw: Raw
  readonly #backends: Draft<Backend>
  readonly #users: Draft<ReadonlySet<Key>>
  readonly #sides: Draft<ReadonlySet<string>>
  readonly #surroundings: Surroundings
  #locals: Set<Key> | null = null
  /** Backends that are gone, or another object. */
  readonly #left = new Set<string>()

  constructor(from: Stand, raw: Raw, surroundings: Surroundings) {
    this.services = new Draft(from.services)
    this.#from = from
    this.#raw = raw
    this.#backends = new Draft(from.backends)
    this.#users = new Draft(from.users)
    this.#sides = new Draft(from.sides)
    this.#surroundings = surroundings
  }

  /** Rebuilds the services that a change concerns; all others stay the same objects. */
  *run(touched: Touched): Generator<void, void> {
    const concerned = new Set(touched.service)
    for (const key of this.#stale(touched)) {
      for (const user of this.#users.get(key) ?? []) concerned.add(user)
      this.#left.add(key)
      this.#backends.delete(key)
    }
    for (const name of concerned) {
      this.#rebuild(name)
      yield
    }
    for (const key of this.#left) {
      if (!this.#backends.has(key)) this.#unlist(key)
    }
  }

  /** Backends whose endpoints or policy may have changed. */
  #stale(touched: Touched): Set<string> {
    const stale = new Set<string>()
    for (const key of touched.endpoints) if (this.#from.backends.has(key)) stale.add(key)
    for (const name of touched.service) for (const key of this.#from.sides.get(name) ?? []) stale.add(key)
    return stale
  }

  #rebuild(name: Key): void {
    const old = this.services.get(name)
    const resource = this.#raw.service.get(name)
    const next = resource === undefined ? undefined : this.service(resource)
    if (next === undefined) this.services.delete(name)
    else this.services.set(name, next)
    const before = new Set(old === undefined ? [] : backendsOf(old))
    const after = new Set(next === undefined ? [] : backendsOf(next))
    for (const key of before) if (!after.has(key)) this.#use(key, name, false)
    for (const key of after) if (!before.has(key)) this.#use(key, name, true)
    this.#place(name, next !== undefined && isLocal(next))
  }

  /** Notes whether a service leads to a backend; one that none leads to is dropped. */
  #use(key: string, name: Key, isUsed: boolean): void {
    const users = new Set(this.#users.get(key))
    if (isUsed) users.add(name)
    else users.delete(name)
    if (users.size > 0) {
      this.#users.set(key, users)
      return
    }
    this.#users.delete(key)
    this.#backends.delete(key)
    this.#left.add(key)
  }

  #place(name: Key, isHere: boolean): void {
    const held = this.#locals ?? this.#from.snapshot.locals
    if (held.has(name) === isHere) return
    this.#locals ??= new Set(held)
    if (isHere) this.#locals.add(name)
    else this.#locals.delete(name)
  }

  #list(key: string, service: Key): void {
    const sides = this.#sides.get(service)
    if (!sides?.has(key)) this.#sides.set(service, new Set(sides).add(key))
  }

  #unlist(key: string): void {
    const service = key.slice(0, key.lastIndexOf(':'))
    const sides = new Set(this.#sides.get(service))
    sides.delete(key)
    if (sides.size === 0) this.#sides.delete(service)
    else this.#sides.set(service, sides)
  }

  locals(): ReadonlySet<Key> {
    return this.#locals ?? this.#from.snapshot.locals
  }

  indexes(): Pick<Stand, 'services' | 'backends' | 'users' | 'sides'> {
    return {
      services: this.services.done(),
      backends: this.#backends.done(),
      users: this.#users.done(),
      sides: this.#sides.done(),
    }
  }

  /** Endpoints that no backend has any more. */
  *retired(): Generator<void, Endpoint[]> {
    const retired: Endpoint[] = []
    for (const key of this.#left) {
      const backend = this.#from.backends.get(key)
      const successor = this.#backends.get(key)
      if (backend === undefined || successor === backend) continue
      const kept = new Set(successor?.endpoints)
      for (const endpoint of backend.endpoints) if (!kept.has(endpoint)) retired.push(endpoint)
      yield
    }
    return retired
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
    this.#list(key, service)
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
