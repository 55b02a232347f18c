// Service nodes of the topology: those that are enrolled, those that splits and mirrors of enrolled ones name, and for a
// while those that have just left the mesh.

import type { Key, ServicePolicy } from '../contract/resources.ts'
import { type EndpointSlice, keyOf, refOf, type Service } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import { readAnnotations } from './annotations.ts'
import { type EndpointSource, endpointsOf, groupSlices, sliceNameOf } from './endpoints.ts'
import { isEnrolled } from './enrol.ts'
import { isHostAllowed } from './guard.ts'
import { namespaceOf, readServiceName, toKey } from './names.ts'
import { Problems, quote } from './problem.ts'
import { carriedAs, type Spoken, spokenOn } from './protocol.ts'
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

/** Reads Services into nodes, each at most once. */
export class ServiceReader {
  readonly found = new Map<Key, ReadService>()
  readonly world: World
  readonly source: EndpointSource
  private readonly slices: ReadonlyMap<Key, EndpointSlice[]>
  private readonly before: ReadonlyMap<Key, ServiceNode>

  /** @param previous the topology before; null at first */
  constructor(world: World, source: EndpointSource, previous: Topology | null) {
    this.world = world
    this.source = source
    this.slices = groupSlices(world)
    this.before = new Map(previous?.services.map((node) => [node.key, node]))
  }

  /** Reads all enrolled Services; others only if they have a problem. */
  readEnrolled(): ReadService[] {
    const enrolled: ReadService[] = []
    for (const service of this.world.services.values()) {
      const problems = new Problems(refOf(service))
      const namespace = this.world.namespaces.get(service.metadata.namespace ?? '')
      const isWanted = isEnrolled(service, namespace, this.source.settings, problems)
      if (isWanted && !this.isRefused(service)) enrolled.push(this.add(service, true, problems))
      else if (isWanted || problems.list.length > 0) this.add(service, false, problems)
    }
    return enrolled
  }

  /** Outside names are in the mesh only where a flag allows them. */
  private isRefused({ spec }: Service): boolean {
    return spec.type === 'ExternalName' && !isHostAllowed(spec.externalName ?? '', this.source.settings)
  }

  /** Reads a Service that something names, if it exists. */
  readNamed(key: Key): void {
    const service = this.found.has(key) ? undefined : this.world.services.get(key)
    if (service) this.add(service, false, new Problems(refOf(service)))
  }

  /** Keeps Services that were enrolled a short while ago. */
  readWithdrawn(nowMs: number): void {
    for (const { key, ref, isEnrolled, withdrawnMs, shadow } of this.before.values()) {
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

  private add(service: Service, isEnrolled: boolean, problems: Problems): ReadService {
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
      problems: problems.list,
    }
    const mirror = annotated.mirror === null ? null : this.readMirror(node, annotated.mirror, problems)
    if (mirror) node.policy.mirror = mirror
    const isDedicated = isEnrolled && (annotated.isDedicated || ports.some(({ protocol }) => protocol !== 'http'))
    const read = { node, problems, isDedicated }
    this.found.set(node.key, read)
    return read
  }

  private readPorts(service: Service, annotated: Spoken | null, isEnrolled: boolean, problems: Problems): PortNode[] {
    const slices = this.slices.get(keyOf(service)) ?? []
    const before = this.before.get(keyOf(service))
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
        endpoints: endpointsOf(service, port, sliceName, slices, this.source, problems),
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
    const name = readServiceName(to, own, this.source.settings)
    if ('error' in name) {
      problems.error('MirrorInvalid', field, `${name.error}; nothing is mirrored`)
      return null
    }
    const key = toKey(own, name.name)
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

function reportProtocol(index: number, protocol: string, problems: Problems): void {
  problems.warn(
    'ProtocolUnsupported',
    `spec.ports[${index}].protocol`,
    `${protocol} is not carried by the mesh; clients must use the plain Service for this port`,
  )
}

function reportPerRequest(index: number, spoken: Spoken, problems: Problems): void {
  problems.warn(
    'PerRequestFeaturesUnavailable',
    `spec.ports[${index}]`,
    `${spoken} is carried as opaque TCP for now: splits and balancing work per connection; retries, matches, time-outs per request, header edits, mirroring and HTTP rules of TrafficTargets do not apply`,
  )
}
