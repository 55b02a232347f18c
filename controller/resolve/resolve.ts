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
import { type ReadSplit, readSplits } from './splits.ts'
import { enforcedAccounts, readTarget } from './targets.ts'
import type { NamespaceNode, PortBook, PortRouteNode, RouteGroupNode, ServiceNode, Topology } from './topology.ts'

/** What a resolver goes on from: it has followed the world up to the topology that it is kept for. */
interface Memory {
  world: World
  settings: Settings
  reader: ServiceReader
  routes: Routes
  /** Services that splits name, whether they exist or not. */
  named: ReadonlySet<Key>
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
  const before = memory === null ? null : previous
  const isSame = (...parts: (keyof World)[]) => parts.every((part) => memory?.world[part] === world[part])

  const reader = memory?.reader ?? new ServiceReader(settings)
  reader.follow(world, previous)
  const hasSameRoutes = isSame('routeGroups', 'tcpRoutes', 'udpRoutes')
  const routes = memory !== null && hasSameRoutes ? memory.routes : readRoutes(world)
  const splits = () => readSplits(world.splits.values(), routes.groups, settings)
  const newSplits = memory !== null && hasSameRoutes && isSame('splits') ? null : splits()
  const named = newSplits === null ? memory!.named : namesIn(newSplits)
  const hasSameServices =
    before !== null &&
    isSame('services', 'namespaces', 'policies') &&
    isLasting(before, nowMs) &&
    isEqual(named, memory!.named)

  const isPartSame = (...parts: (keyof World)[]) => before !== null && hasSameRoutes && isSame(...parts)
  const topology = inOrder({
    ...(hasSameServices
      ? goOn(reader, before, newSplits, settings)
      : putTogether(reader, world, newSplits ?? splits(), settings, previous, nowMs)),
    ...(isPartSame() ? pick(before!, 'groups', 'portRoutes') : routeParts(routes)),
    ...(isPartSame('targets', 'accounts') ? pick(before!, 'targets', 'accounts') : readTargets(world, routes)),
    namespaces: before !== null && isSame('namespaces') ? before.namespaces : readNamespaces(world, settings),
    nodes: reader.pods.nodes,
  })
  memories.set(topology, { world, settings, reader, routes, named })
  return topology
}

/** For people who read it, the parts always stand in the same order. */
function inOrder(topology: Topology): Topology {
  const { mesh, namespaces, services, splits, groups, portRoutes, targets, locks, ...rest } = topology
  const { accounts, nodes, sharedPorts, portBook } = rest
  return {
    ...{ mesh, namespaces, services, splits, groups, portRoutes, targets, locks },
    ...{ accounts, nodes, sharedPorts, portBook },
  }
}

function pick<K extends keyof Topology>(topology: Topology, ...parts: K[]): Pick<Topology, K> {
  return Object.fromEntries(parts.map((part) => [part, topology[part]])) as Pick<Topology, K>
}

/** What depends on the Services. */
type ServiceParts = Pick<Topology, 'mesh' | 'services' | 'splits' | 'locks' | 'sharedPorts' | 'portBook'>

/** Whether nothing ends by the time alone. */
function isLasting({ services, portBook }: Topology, nowMs: number): boolean {
  if (portBook.resting.some(({ sinceMs }) => nowMs - sinceMs >= restMs)) return false
  const isKept = (sinceMs: number | null) => sinceMs === null || nowMs - sinceMs < withdrawnForMs
  return services.every(({ withdrawnMs, sharedSinceMs }) => isKept(withdrawnMs) && isKept(sharedSinceMs))
}

function isEqual(a: ReadonlySet<Key>, b: ReadonlySet<Key>): boolean {
  return a === b || (a.size === b.size && a.isSubsetOf(b))
}

function namesIn(splits: readonly ReadSplit[]): Set<Key> {
  return new Set(splits.flatMap(({ node }) => [node.root, ...node.backends.map(({ service }) => service)]))
}

/**
 * From the topology before, where all Services are what they were: with the endpoints of now, and divided anew if there is
 * anything new about splits.
 * @param splits null: nothing
 */
function goOn(reader: ServiceReader, before: Topology, splits: ReadSplit[] | null, settings: Settings): ServiceParts {
  const renewed = reader.renewed()
  const rest = pick(before, 'mesh', 'splits', 'locks', 'sharedPorts', 'portBook')
  if (splits === null) return { ...rest, services: renewed as ServiceNode[] }
  const desk = reader.undivided(renewed)
  divide(splits, desk, settings)
  return { ...rest, services: desk.settle(), splits: sorted(splits.map(({ node }) => node)) }
}

function putTogether(
  reader: ServiceReader,
  world: World,
  splits: ReadSplit[],
  settings: Settings,
  previous: Topology | null,
  nowMs: number,
): ServiceParts {
  const enrolled = reader.readEnrolled()
  for (const key of namesIn(splits)) reader.readNamed(key)
  for (const { node } of enrolled) if (node.policy.mirror) reader.readNamed(node.policy.mirror.service)
  reader.readWithdrawn(nowMs)

  divide(splits, new Map([...reader.found].map(([key, { node }]) => [key, node])), settings)
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
  return {
    mesh: serviceAddresses(world.services.get(toKey(settings.namespace, settings.meshService))),
    services: reader.settle(),
    splits: sorted(splits.map(({ node }) => node)),
    locks,
    sharedPorts,
    portBook,
  }
}

interface Routes {
  groups: ReadonlyMap<Key, RouteGroupNode>
  tcpRoutes: ReadonlyMap<Key, PortRouteNode>
  udpRoutes: ReadonlyMap<Key, PortRouteNode>
}

function readRoutes(world: World): Routes {
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

function routeParts({ groups, tcpRoutes, udpRoutes }: Routes): Pick<Topology, 'groups' | 'portRoutes'> {
  return {
    groups: sorted([...groups.values()]),
    portRoutes: [...sorted([...tcpRoutes.values()]), ...sorted([...udpRoutes.values()])],
  }
}

function readTargets(world: World, routes: Routes): Pick<Topology, 'targets' | 'accounts'> {
  const named = { ...routes, accounts: world.accounts }
  const targets = sorted([...world.targets.values()].map((object) => readTarget(object, named)))
  return { targets, accounts: enforcedAccounts(targets).map(({ key, targets }) => ({ key, targets })) }
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
