// The second stage of the controller: Kubernetes and SMI objects become the topology. This file puts the parts together;
// every part is a pure function in the file that carries its name.

import type { Key } from '../contract/resources.ts'
import { keyOf, refOf } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import { chooseAlias, chooseShadows, keepShadows, serviceAddresses } from './aliases.ts'
import { divide } from './divide.ts'
import { readNamespace } from './enrol.ts'
import { readGroup } from './groups.ts'
import { chooseLocks, readLock } from './lock.ts'
import { allocate, dedicatedOwner, readRecord, restMs, sharedOwner, type Wish } from './meshports.ts'
import { namespaceOf, toKey } from './names.ts'
import { Problems } from './problem.ts'
import { readPortRoute } from './routes.ts'
import { type ReadService, ServiceReader, withdrawnForMs } from './services.ts'
import type { Settings } from './settings.ts'
import { readSplits } from './splits.ts'
import { enforcedAccounts, readTarget } from './targets.ts'
import type { NamespaceNode, PortBook, ServiceNode, Topology } from './topology.ts'

/** What a resolver goes on from: it has followed the world up to the topology that it is kept for. */
interface Memory {
  reader: ServiceReader
  world: World
  settings: Settings
}

/**
 * Each is taken by the pass that goes on from its topology. Without one, everything is read anew: that is the only
 * difference.
 */
const memories = new WeakMap<Topology, Memory>()

/**
 * Works out the mesh from the world.
 * @param previous the topology before, for what the cluster does not record (yet); null at first
 * @param nowMs milliseconds since the epoch
 */
export function resolve(world: World, settings: Settings, previous: Topology | null, nowMs: number): Topology {
  const kept = previous === null ? undefined : memories.get(previous)
  // Whatever goes wrong from here on, the next pass begins anew.
  if (previous !== null) memories.delete(previous)
  const memory = kept?.settings === settings ? kept : null
  const reader = memory?.reader ?? new ServiceReader(settings)
  reader.follow(world, previous)
  const isSame = memory !== null && previous !== null && isSameBeside(memory.world, world) && isLasting(previous, nowMs)
  const topology: Topology = isSame
    ? { ...previous, services: reader.renewed() as ServiceNode[], nodes: reader.pods.nodes }
    : putTogether(reader, world, settings, previous, nowMs)
  memories.set(topology, { reader, world, settings })
  return topology
}

/** What pods, nodes and slices say goes into endpoints, peers and workloads, and into nothing else. */
const onlyEndpoints: readonly (keyof World)[] = ['pods', 'nodes', 'slices']

function isSameBeside(before: World, after: World): boolean {
  const parts = Object.keys(after) as (keyof World)[]
  return parts.every((part) => before[part] === after[part] || onlyEndpoints.includes(part))
}

/** Whether nothing ends by the time alone. */
function isLasting({ services, portBook }: Topology, nowMs: number): boolean {
  if (portBook.resting.some(({ sinceMs }) => nowMs - sinceMs >= restMs)) return false
  const isKept = (sinceMs: number | null) => sinceMs === null || nowMs - sinceMs < withdrawnForMs
  return services.every(({ withdrawnMs, sharedSinceMs }) => isKept(withdrawnMs) && isKept(sharedSinceMs))
}

function putTogether(
  reader: ServiceReader,
  world: World,
  settings: Settings,
  previous: Topology | null,
  nowMs: number,
): Topology {
  const routes = readRoutes(world)
  const splits = readSplits(world.splits.values(), routes.groups, settings)
  const targets = [...world.targets.values()].map((object) =>
    readTarget(object, { ...routes, accounts: world.accounts }),
  )

  const enrolled = reader.readEnrolled()
  for (const { node } of splits)
    for (const key of [node.root, ...node.backends.map(({ service }) => service)]) reader.readNamed(key)
  for (const { node } of enrolled) if (node.policy.mirror) reader.readNamed(node.policy.mirror.service)
  reader.readWithdrawn(nowMs)

  const services = new Map([...reader.found].map(([key, { node }]) => [key, node]))
  divide(splits, services, settings)
  for (const { node, problems } of enrolled) {
    // A namespace on its way out takes no new objects; a Service without TCP ports has nothing to be an alias of.
    const isLeaving = world.namespaces.get(namespaceOf(node.key))?.status?.phase === 'Terminating'
    if (!isLeaving && node.ports.length > 0) node.alias = chooseAlias(node, world, settings, problems)
  }
  chooseShadows(
    enrolled.filter(({ isDedicated }) => isDedicated),
    world,
    settings,
  )
  keepShadows(enrolled, previous?.services ?? [], nowMs)
  const { sharedPorts, portBook } = assignPorts(enrolled, world, settings, previous?.portBook ?? null, nowMs)
  const locks = chooseLocks(enrolled, world)

  const mesh = world.services.get(toKey(settings.namespace, settings.meshService))
  return {
    mesh: serviceAddresses(mesh),
    namespaces: readNamespaces(world, settings),
    services: reader.settle(),
    splits: sorted(splits.map(({ node }) => node)),
    groups: sorted([...routes.groups.values()]),
    portRoutes: [...sorted([...routes.tcpRoutes.values()]), ...sorted([...routes.udpRoutes.values()])],
    targets: sorted(targets),
    locks,
    accounts: enforcedAccounts(sorted(targets)).map(({ key, targets }) => ({ key, targets })),
    nodes: reader.pods.nodes,
    sharedPorts,
    portBook,
  }
}

function readRoutes(world: World) {
  return {
    groups: new Map([...world.routeGroups.values()].map((object) => [keyOf(object), readGroup(object)])),
    tcpRoutes: new Map(
      [...world.tcpRoutes.values()].map((object) => [keyOf(object), readPortRoute(object, 'TCPRoute')]),
    ),
    udpRoutes: new Map(
      [...world.udpRoutes.values()].map((object) => [keyOf(object), readPortRoute(object, 'UDPRoute')]),
    ),
  }
}

/** Only those that differ from the defaults or have a problem. */
function readNamespaces(world: World, settings: Settings): NamespaceNode[] {
  const nodes: NamespaceNode[] = []
  for (const namespace of world.namespaces.values()) {
    const problems = new Problems(refOf(namespace))
    const access = readNamespace(namespace, settings, problems)
    readLock(namespace, problems)
    if (access === settings.defaultAccess && problems.list.length === 0) continue
    nodes.push({ name: namespace.metadata.name, access, problems: problems.list })
  }
  return nodes.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Gives every HTTP port number and every port of a dedicated address its mesh port. */
function assignPorts(
  enrolled: ReadService[],
  world: World,
  settings: Settings,
  previous: PortBook | null,
  nowMs: number,
): Pick<Topology, 'sharedPorts' | 'portBook'> {
  const wishes: Wish[] = []
  const byOwner = new Map<string, ReadService>()
  const shared = new Map<number, ReadService[]>()
  for (const read of enrolled) {
    const { node } = read
    for (const { number, protocol } of node.ports) {
      // The entry port understands Hosts, too: a port of that number needs no other.
      if (protocol === 'http' && number !== settings.entryPort) push(shared, number, read)
      if (node.shadow === null) continue
      const owner = dedicatedOwner(node.key, number)
      wishes.push({ owner, createdAt: node.createdAt })
      byOwner.set(owner, read)
    }
  }
  // Shared ports count as older than any Service: everyone depends on them.
  for (const number of shared.keys()) wishes.push({ owner: sharedOwner(number), createdAt: Number.NEGATIVE_INFINITY })

  const allocation = allocate(wishes, readRecord(world, settings), previous, settings.meshPorts, nowMs)
  for (const { node } of enrolled) {
    if (node.shadow === null) continue
    for (const port of node.ports) port.meshPort = allocation.byOwner.get(dedicatedOwner(node.key, port.number)) ?? null
  }
  reportPorts(allocation, byOwner, shared)
  const sharedPorts = [...shared.keys()]
    .sort((a, b) => a - b)
    .flatMap((port) => {
      const meshPort = allocation.byOwner.get(sharedOwner(port))
      return meshPort === undefined ? [] : [{ meshPort, port }]
    })
  return { sharedPorts, portBook: allocation.book }
}

function reportPorts(
  { clashes, exhausted }: ReturnType<typeof allocate>,
  byOwner: ReadonlyMap<string, ReadService>,
  shared: ReadonlyMap<number, ReadService[]>,
): void {
  for (const { meshPort, owner, winner } of clashes) {
    byOwner
      .get(owner)
      ?.problems.warn(
        'MeshPortClash',
        'spec.ports',
        `mesh port ${meshPort} was recorded for ${owner} and for ${winner}, which is older and keeps it; this port gets another one`,
      )
  }
  for (const owner of exhausted) {
    const affected = byOwner.get(owner)
    const all = affected ? [affected] : (shared.get(Number(owner.slice(owner.indexOf(':') + 1))) ?? [])
    for (const { problems } of all) {
      problems.error(
        'MeshPortsExhausted',
        'spec.ports',
        `no mesh port is left for port ${owner.slice(owner.lastIndexOf(':') + 1)}, so it can't be reached through the mesh; widen --mesh-ports`,
      )
    }
  }
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}

function sorted<T extends { key: Key }>(nodes: T[]): T[] {
  return nodes.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
}
