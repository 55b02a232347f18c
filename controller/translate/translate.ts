// The third stage of the controller: the topology becomes the resources that agents get, and the Services that the
// controller keeps in the cluster. Pure; what did not change has the same hash as before.

import type { Key, Resource } from '../contract/resources.ts'
import type { Problem } from '../resolve/problem.ts'
import type { Settings } from '../resolve/settings.ts'
import type { MachineNode, PortNode, ServiceNode, SplitNode, Topology } from '../resolve/topology.ts'
import { accessResources, namespaceResources } from './access.ts'
import { type DesiredService, desiredServices } from './desired.ts'
import { type Encoded, encode } from './encode.ts'
import { type DesiredPolicy, desiredPolicies } from './lock.ts'
import { meshResource, peerResources, portResources, workloadResources } from './mesh.ts'
import { encodedEndpoints, encodedService, encodedServices, reachableServices } from './services.ts'

export type { Encoded } from './encode.ts'

export interface Translation {
  /** Resources for every agent, sorted by kind and name. */
  common: Encoded[]
  /** Workloads of each node, by node name. */
  nodes: Map<string, Encoded[]>
  /** The mesh Service, shadow Services and aliases as they should be; whatever else is ours is to be deleted. */
  services: DesiredService[]
  /** The NetworkPolicies of locked Services, likewise. */
  policies: DesiredPolicy[]
  /** All problems, sorted by object. */
  problems: Problem[]
}

/** A topology with what was made of it. */
export interface Translated {
  topology: Topology
  translation: Translation
}

/**
 * Turns a topology into what agents and the cluster are to be told.
 * @param last the topology before: what it shares with this one need not be done again. Without it the result is the same
 */
export function translate(topology: Topology, settings: Settings, last: Translated | null = null): Translation {
  if (last !== null && isSameBesideDetails(last, topology)) return renew(topology, last)
  const { services, endpoints } = encodedServices(topology)
  const hasSameServices = last !== null && isSameBesideSplits(last.topology, topology)
  return {
    // In the order of the kinds.
    common: [
      ...encodedList(topology.targets, settings, () => accessResources(topology)),
      ...endpoints.sort(byName),
      encode(meshResource(topology, settings)),
      ...encodedList(topology.namespaces, settings, () => namespaceResources(topology, settings)),
      ...encodedList(topology.nodes, settings, () => peerResources(topology, settings)),
      ...portResources(topology).map(encode).sort(byName),
      ...services,
    ],
    nodes: new Map(topology.nodes.map((node) => [node.name, encodedWorkloads(node)])),
    services: hasSameServices ? last.translation.services : desiredServices(topology, settings),
    policies: hasSameServices ? last.translation.policies : desiredPolicies(topology.locks, settings),
    problems: listProblems(topology),
  }
}

/** What was made of a list with some settings. The list is the same one as long as nothing in it is different. */
const lists = new WeakMap<Settings, WeakMap<readonly unknown[], Encoded[]>>()

function encodedList(from: readonly unknown[], settings: Settings, make: () => Resource[]): Encoded[] {
  const own = lists.get(settings) ?? new WeakMap<readonly unknown[], Encoded[]>()
  lists.set(settings, own)
  const made = own.get(from) ?? make().map(encode).sort(byName)
  own.set(from, made)
  return made
}

/** The translation before with other endpoints, splits and workloads. */
function renew(topology: Topology, { topology: before, translation }: Translated): Translation {
  let { common, nodes } = translation
  const splits = new Map(topology.splits.map((split) => [split.key, split]))
  const rematched = splitsRematched(before.splits, topology.splits)
  const isRematched = ({ ports }: ServiceNode) =>
    ports.some((port) => port.splits.some(({ split }) => rematched.has(split)))
  const services = topology.services.filter(
    (service, at) => service !== before.services[at] || (rematched.size > 0 && isRematched(service)),
  )
  if (services.length > 0) common = [...common]
  for (const service of services) {
    const resources = service.ports.map((port) => encodedEndpoints(service, port))
    for (const next of [encodedService(service, splits), ...resources]) {
      const at = placeOf(common, next)
      if (at >= 0) common[at] = next
    }
  }
  const machines = topology.nodes.filter((node, at) => node !== before.nodes[at])
  if (machines.length > 0) nodes = new Map(nodes)
  for (const node of machines) nodes.set(node.name, encodedWorkloads(node))
  return { ...translation, common, nodes, problems: listProblems(topology) }
}

/** Splits of both whose matches are others. */
function splitsRematched(before: readonly SplitNode[], after: readonly SplitNode[]): Set<Key> {
  if (before === after) return new Set()
  const old = new Map(before.map(({ key, matches }) => [key, matches]))
  const isSame = ({ key, matches }: SplitNode) => {
    const other = old.get(key)
    return other === undefined || other === matches || JSON.stringify(other) === JSON.stringify(matches)
  }
  return new Set(after.filter((split) => !isSame(split)).map(({ key }) => key))
}

/** As far as the order of resources goes. */
interface Named {
  resource: Pick<Resource, 'kind' | 'name'>
}

/** Where a resource of the same kind and name stands in a sorted list; -1: nowhere. */
function placeOf(list: readonly Encoded[], wanted: Named): number {
  let [low, high] = [0, list.length - 1]
  while (low <= high) {
    const middle = (low + high) >> 1
    const order = byName(list[middle]!, wanted)
    if (order === 0) return middle
    if (order < 0) low = middle + 1
    else high = middle - 1
  }
  return -1
}

/** Parts of which resources are made that `renew` replaces one by one. */
const details: readonly (keyof Topology)[] = ['services', 'nodes', 'splits']

/** Whether the same resources are there, of which some say something else. */
function isSameBesideDetails({ topology: before, translation }: Translated, after: Topology): boolean {
  const parts = Object.keys(after) as (keyof Topology)[]
  if (!parts.every((part) => before[part] === after[part] || details.includes(part))) return false
  const isAlike = (a: ServiceNode, b: ServiceNode) => isSameService(a, b, ['endpoints', 'sliceName', 'splits'])
  if (!areAll(before.services, after.services, isAlike) || !areAll(before.nodes, after.nodes, isSameMachine))
    return false
  return before.splits === after.splits || hasSameReach(translation, after)
}

/** Whether traffic goes to the same Services beside the enrolled ones. */
function hasSameReach({ common }: Translation, topology: Topology): boolean {
  const others = topology.services.filter(({ isEnrolled }) => !isEnrolled)
  if (others.length === 0) return true
  const reachable = reachableServices(topology)
  return others.every((service) => {
    const isThere = placeOf(common, { resource: { kind: 'service', name: service.key } }) >= 0
    return isThere === (reachable.has(service.key) || service.withdrawnMs !== null)
  })
}

/** Whether the Services that the controller keeps are the same. */
function isSameBesideSplits(before: Topology, after: Topology): boolean {
  const parts = ['mesh', 'locks', 'sharedPorts', 'portBook'] as const
  if (!parts.every((part) => before[part] === after[part])) return false
  const isAlike = (a: ServiceNode, b: ServiceNode) => isSameService(a, b, ['endpoints', 'sliceName', 'splits'])
  return areAll(before.services, after.services, isAlike)
}

function areAll<T>(before: readonly T[], after: readonly T[], isAlike: (a: T, b: T) => boolean): boolean {
  if (before === after) return true
  return before.length === after.length && before.every((one, at) => one === after[at] || isAlike(one, after[at]!))
}

/** @param beside fields of ports that may differ */
function isSameService(a: ServiceNode, b: ServiceNode, beside: readonly (keyof PortNode)[]): boolean {
  const names = Object.keys(b) as (keyof ServiceNode)[]
  const isSame = names.every((name) => a[name] === b[name] || name === 'ports' || name === 'problems')
  return isSame && areAll(a.ports, b.ports, (one, other) => isSamePort(one, other, beside))
}

function isSamePort(a: PortNode, b: PortNode, beside: readonly (keyof PortNode)[]): boolean {
  const names = Object.keys(b) as (keyof PortNode)[]
  return names.every((name) => a[name] === b[name] || beside.includes(name))
}

function isSameMachine(a: MachineNode, b: MachineNode): boolean {
  return a.name === b.name && a.agent === b.agent
}

/** Workloads by the node that they were made of. */
const workloads = new WeakMap<MachineNode, Encoded[]>()

function encodedWorkloads(node: MachineNode): Encoded[] {
  const made = workloads.get(node) ?? workloadResources(node).map(encode).sort(byName)
  workloads.set(node, made)
  return made
}

function byName({ resource: a }: Named, { resource: b }: Named): number {
  if (a.kind !== b.kind) return a.kind < b.kind ? -1 : 1
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0
}

function listProblems(topology: Topology): Problem[] {
  const { namespaces, services, splits, groups, portRoutes, targets } = topology
  const all: Problem[] = []
  for (const nodes of [namespaces, services, splits, groups, portRoutes, targets]) {
    for (const { problems } of nodes) if (problems.length > 0) all.push(...problems)
  }
  return all
}
