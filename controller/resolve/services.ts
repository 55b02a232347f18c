// Service nodes of the topology: those that are enrolled, those that splits and mirrors of enrolled ones name, and for a
// while those that have just left the mesh.

import type { Key, ServicePolicy } from '../contract/resources.ts'
import { keyOf, refOf, type Service } from '../observe/objects.ts'
import { keysChanged } from '../observe/view.ts'
import { emptyWorld, type World } from '../observe/world.ts'
import { readAnnotations } from './annotations.ts'
import { type EndpointSource, endpointsOf, sliceNameOf } from './endpoints.ts'
import { isEnrolled } from './enrol.ts'
import { type Guard, isHostAllowed, makeGuard, TakenIndex } from './guard.ts'
import { reportAffinity, reportPerRequest, reportProtocol } from './limits.ts'
import { namespaceOf, readServiceName, toKey } from './names.ts'
import { PodIndex } from './pods.ts'
import { Problems, quote } from './problem.ts'
import { carriedAs, type Spoken, spokenOn } from './protocol.ts'
import { Relation } from './relation.ts'
import type { Settings } from './settings.ts'
import { SliceIndex } from './slices.ts'
import { createdAt } from './splits.ts'
import type { PortNode, ServiceNode, Topology } from './topology.ts'

/** How long a Service that left the mesh is remembered, so that late requests learn why they are refused. */
export const withdrawnForMs = 10 * 60_000

/** A node on its way. */
export interface ReadService {
  node: ServiceNode
  problems: Problems
  /** Whether it needs a shadow Service. */
  isDedicated: boolean
}

/** A Service as it was read, before what other objects mean for it is hung on its node: never changed. */
interface Reading {
  node: ServiceNode
  isDedicated: boolean
}

/**
 * Reads Services into nodes, each at most once in a pass. It follows the world from one state to the next, and reads again
 * only those for which something is different.
 */
export class ServiceReader {
  /** Nodes of the pass under way, to be changed by whoever puts the topology together. */
  found = new Map<Key, ReadService>()
  readonly pods: PodIndex
  private world: World = emptyWorld
  private before: readonly ServiceNode[] = []
  private readonly settings: Settings
  private readonly slices = new SliceIndex()
  private readonly taken: TakenIndex
  private readonly guard: Guard
  /** Enrolled Services, and others that have a problem. */
  private readonly roll = new Map<Key, Reading>()
  /** Others that something names. */
  private readonly named = new Map<Key, Reading>()
  /** Services by what else was looked at while they were read. */
  private readonly byPod = new Relation()
  private readonly byMirror = new Relation()
  private stale: ReadonlySet<Key> = new Set()

  constructor(settings: Settings) {
    this.settings = settings
    this.pods = new PodIndex(settings)
    this.taken = new TakenIndex(settings)
    this.guard = makeGuard(emptyWorld, settings, this.pods, this.taken)
  }

  /**
   * Goes on to another world.
   * @param previous the topology of the one before
   * @returns Services for which something is different; they have been read again
   */
  follow(world: World, previous: Topology | null): ReadonlySet<Key> {
    const before = this.world
    this.world = world
    this.before = previous?.services ?? []
    const stale = this.slices.follow(world)
    const { addresses, keys } = this.pods.follow(world)
    for (const address of new Set([...addresses, ...this.taken.follow(world)])) {
      for (const key of this.slices.usersOf(address)) stale.add(key)
    }
    for (const pod of keys) for (const key of this.byPod.of(pod)) stale.add(key)
    for (const service of keysChanged(before.services, world.services)) {
      stale.add(service)
      for (const key of this.byMirror.of(service)) stale.add(key)
    }
    const namespaces = new Set(keysChanged(before.namespaces, world.namespaces))
    if (namespaces.size > 0) {
      for (const [key, { metadata }] of world.services) if (namespaces.has(metadata.namespace ?? '')) stale.add(key)
    }
    for (const key of stale) this.judge(key)
    this.stale = stale
    return stale
  }

  /** Reads a Service anew if it is enrolled or has a problem. */
  private judge(key: Key): void {
    this.roll.delete(key)
    this.named.delete(key)
    this.byPod.forget(key)
    this.byMirror.forget(key)
    const service = this.world.services.get(key)
    if (service === undefined) return
    const problems = new Problems(refOf(service))
    const namespace = this.world.namespaces.get(service.metadata.namespace ?? '')
    const isWanted = isEnrolled(service, namespace, this.settings, problems)
    if (!isWanted && problems.list.length === 0) return
    this.roll.set(key, this.read(service, isWanted && !this.isRefused(service), problems))
  }

  /** Begins a pass: all enrolled Services; others only if they have a problem. @returns the enrolled ones */
  readEnrolled(): ReadService[] {
    this.found = new Map()
    const enrolled: ReadService[] = []
    for (const [key, reading] of this.roll) {
      const read = this.open(key, reading)
      if (read.node.isEnrolled) enrolled.push(read)
    }
    return enrolled
  }

  private open(key: Key, { node, isDedicated }: Reading): ReadService {
    const problems = new Problems(node.ref)
    problems.list.push(...node.problems)
    const ports = node.ports.map((port) => ({ ...port, splits: [] }))
    const read = { node: { ...node, ports, problems: problems.list }, problems, isDedicated }
    this.found.set(key, read)
    return read
  }

  /** Outside names are in the mesh only where a flag allows them. */
  private isRefused({ spec }: Service): boolean {
    return spec.type === 'ExternalName' && !isHostAllowed(spec.externalName ?? '', this.settings)
  }

  /** Reads a Service that something names, if it exists. */
  readNamed(key: Key): void {
    if (this.found.has(key)) return
    const reading = this.reading(key)
    if (reading !== null) this.open(key, reading)
  }

  private reading(key: Key): Reading | null {
    const known = this.roll.get(key) ?? this.named.get(key)
    const service = known === undefined ? this.world.services.get(key) : undefined
    if (service === undefined) return known ?? null
    const reading = this.read(service, false, new Problems(refOf(service)))
    this.named.set(key, reading)
    return reading
  }

  /** Keeps Services that were enrolled a short while ago. */
  readWithdrawn(nowMs: number): void {
    for (const { key, ref, isEnrolled, withdrawnMs, shadow } of this.before) {
      const since = isEnrolled ? nowMs : withdrawnMs
      if (since === null || nowMs - since >= withdrawnForMs) continue
      if (this.found.get(key)?.node.isEnrolled || this.world.services.get(key)?.metadata.uid !== ref.uid) continue
      this.readNamed(key)
      const read = this.found.get(key)
      if (!read) continue
      read.node.withdrawnMs = since
      read.node.shadow = shadow
    }
  }

  /**
   * The nodes of the topology before with the endpoints of now: for a world in which nothing else is different. What other
   * objects mean for them stays.
   * @returns the same list if there is nothing new
   */
  renewed(): readonly ServiceNode[] {
    let nodes: ServiceNode[] | null = null
    for (const key of this.stale) {
      const at = indexOf(this.before, key)
      const reading = at < 0 ? null : this.reading(key)
      if (reading === null) continue
      const old = this.before[at]!
      const node = renew(old, reading.node)
      if (JSON.stringify(node) === JSON.stringify(old)) continue
      nodes ??= [...this.before]
      nodes[at] = node
      this.note(node, reading)
    }
    return nodes ?? this.before
  }

  /** The same nodes before any split was hung on them, each copied when it is asked for. */
  undivided(nodes: readonly ServiceNode[]): Undivided {
    return new Undivided(nodes)
  }

  /** Notes what a node of the topology was made of. */
  private note(node: ServiceNode, { node: read }: Reading): void {
    origins.set(node, read)
  }

  /**
   * Ends a pass. Nodes that are as they were are the objects that they were, so that whoever made something of them need
   * not do so again.
   * @returns all nodes found, sorted by key
   */
  settle(): ServiceNode[] {
    const nodes = [...this.found.values()].map(({ node }) => node).sort((a, b) => (a.key < b.key ? -1 : 1))
    const kept = nodes.map((node) => {
      const origin = (this.roll.get(node.key) ?? this.named.get(node.key))!
      const old = this.before[indexOf(this.before, node.key)]
      if (old !== undefined && origins.get(old) === origin.node && isSettled(old, node)) return old
      this.note(node, origin)
      return node
    })
    return kept
  }

  private read(service: Service, isEnrolled: boolean, problems: Problems): Reading {
    if (this.isRefused(service)) {
      problems.warn(
        'HostRefused',
        'spec.externalName',
        `${quote(service.spec.externalName)} is outside of the mesh; if it may be reached, the controller needs --foreign-hosts`,
      )
    }
    const annotated = readAnnotations(service, problems)
    const ports = this.readPorts(service, annotated.protocol, isEnrolled, problems)
    const node: ServiceNode = {
      key: keyOf(service),
      ref: problems.object,
      isEnrolled,
      createdAt: createdAt(service),
      withdrawnMs: null,
      ports,
      policy: annotated.policy,
      alias: null,
      shadow: null,
      sharedSinceMs: null,
      problems: problems.list,
    }
    const mirror = annotated.mirror === null ? null : this.readMirror(node, annotated.mirror, problems)
    if (mirror) node.policy.mirror = mirror
    if (service.spec.internalTrafficPolicy === 'Local') node.policy.nodeLocal = true
    if (isEnrolled && service.spec.sessionAffinity === 'ClientIP') reportAffinity(problems)
    return {
      node,
      isDedicated: isEnrolled && (annotated.isDedicated || ports.some(({ protocol }) => protocol !== 'http')),
    }
  }

  private readPorts(service: Service, annotated: Spoken | null, isEnrolled: boolean, problems: Problems): PortNode[] {
    const key = keyOf(service)
    const slices = this.slices.of(key)
    const before = this.before[indexOf(this.before, key)]
    const { guard, settings, pods } = this
    const isAddressed = (pod: Key) => {
      this.byPod.add(pod, key)
      return pods.isAddressed(pod)
    }
    const source: EndpointSource = { guard, settings, pods: { isAddressed } }
    const known = before?.ref.uid === service.metadata.uid ? before.ports : []
    const ports: PortNode[] = []
    for (const [index, port] of (service.spec.ports ?? []).entries()) {
      if ((port.protocol ?? 'TCP') !== 'TCP') {
        if (isEnrolled) reportProtocol(index, port.protocol ?? '', problems)
        continue
      }
      const spoken = spokenOn(port, annotated)
      if (isEnrolled && (spoken === 'grpc' || spoken === 'h2c')) reportPerRequest(index, spoken, problems)
      const sliceName = sliceNameOf(service, port, slices, known.find(({ number }) => number === port.port)?.sliceName)
      ports.push({
        number: port.port,
        name: port.name ?? '',
        sliceName,
        protocol: carriedAs(spoken),
        meshPort: null,
        splits: [],
        endpoints: endpointsOf(service, port, sliceName, slices, source, problems),
      })
    }
    return ports
  }

  /** The mirror must be a Service of the same namespace with the ports of this one. */
  private readMirror(
    node: ServiceNode,
    { to, percent, field }: { to: string; percent: number; field: string },
    problems: Problems,
  ): ServicePolicy['mirror'] | null {
    const own = namespaceOf(node.key)
    const name = readServiceName(to, own, this.settings)
    if ('error' in name) {
      problems.error('MirrorInvalid', field, `${name.error}; nothing is mirrored`)
      return null
    }
    const key = toKey(own, name.name)
    this.byMirror.add(key, node.key)
    const numbers = new Set(this.world.services.get(key)?.spec.ports?.map(({ port }) => port))
    if (key === node.key)
      problems.error('MirrorInvalid', field, "a Service can't mirror to itself; nothing is mirrored")
    else if (!this.world.services.has(key)) {
      problems.warn('BackendNotFound', field, `there is no Service ${key}; until it exists nothing is mirrored`)
    } else if (!node.ports.some(({ number }) => numbers.has(number))) {
      problems.error('MirrorInvalid', field, `${key} has none of this Service's ports; nothing is mirrored`)
    } else return { service: key, percent }
    return null
  }
}

/** Nodes of a topology that are divided anew. */
class Undivided {
  private readonly nodes: readonly ServiceNode[]
  private readonly copies = new Map<number, ServiceNode>()

  constructor(nodes: readonly ServiceNode[]) {
    this.nodes = nodes
  }

  has(key: Key): boolean {
    return indexOf(this.nodes, key) >= 0
  }

  get(key: Key): ServiceNode | undefined {
    const at = indexOf(this.nodes, key)
    return at < 0 ? undefined : this.copy(at)
  }

  private copy(at: number): ServiceNode {
    const node = this.nodes[at]!
    const copy = this.copies.get(at) ?? { ...node, ports: node.ports.map((port) => ({ ...port, splits: [] })) }
    this.copies.set(at, copy)
    return copy
  }

  /** @returns all nodes as they are now; those that came out as they were are the same objects */
  settle(): ServiceNode[] {
    const settled = [...this.nodes]
    for (let at = 0; at < this.nodes.length; at++) {
      if (this.nodes[at]!.ports.some(({ splits }) => splits.length > 0)) this.copy(at)
    }
    for (const [at, copy] of this.copies) {
      const node = this.nodes[at]!
      if (isSettled(node, copy)) continue
      origins.set(copy, origins.get(node)!)
      settled[at] = copy
    }
    return settled
  }
}

/** What each node of a topology was read as. */
const origins = new WeakMap<ServiceNode, ServiceNode>()

/** A node with the endpoints and the problems of a newer reading, and all else as it was. */
function renew(old: ServiceNode, read: ServiceNode): ServiceNode {
  const ports = read.ports.map((port, at) => {
    const { meshPort, splits } = old.ports[at]!
    return { ...port, meshPort, splits }
  })
  const later = old.problems.slice(origins.get(old)!.problems.length)
  return { ...old, ports, problems: [...read.problems, ...later] }
}

/** Whether two nodes that were read from the same are the same in what was hung on them. */
function isSettled(a: ServiceNode, b: ServiceNode): boolean {
  if (a.alias !== b.alias || a.withdrawnMs !== b.withdrawnMs || a.sharedSinceMs !== b.sharedSinceMs) return false
  if (!isEqual(a.shadow, b.shadow) || !isEqual(a.problems, b.problems)) return false
  return a.ports.every(({ meshPort, splits }, at) => {
    const other = b.ports[at]!
    return meshPort === other.meshPort && isEqual(splits, other.splits)
  })
}

function isEqual(a: object | null, b: object | null): boolean {
  if (a === null || b === null) return a === b
  if (Array.isArray(a) && Array.isArray(b) && a.length + b.length === 0) return true
  return JSON.stringify(a) === JSON.stringify(b)
}

/** Place of a key in a list that is sorted by key; -1: it is not there. */
function indexOf(nodes: readonly ServiceNode[], key: Key): number {
  let [low, high] = [0, nodes.length - 1]
  while (low <= high) {
    const middle = (low + high) >> 1
    const found = nodes[middle]!.key
    if (found === key) return middle
    if (found < key) low = middle + 1
    else high = middle - 1
  }
  return -1
}
