// The third stage of the controller: the topology becomes the resources that agents get, and the Services that the
// controller keeps in the cluster. Pure; what did not change has the same hash as before.

import { hash } from 'node:crypto'
import type { Resource } from '../contract/resources.ts'
import type { Problem } from '../resolve/problem.ts'
import type { Settings } from '../resolve/settings.ts'
import type { Topology } from '../resolve/topology.ts'
import { accessResources, namespaceResources } from './access.ts'
import { type DesiredService, desiredServices } from './desired.ts'
import { type DesiredPolicy, desiredPolicies } from './lock.ts'
import { meshResource, peerResources, portResources, workloadResources } from './mesh.ts'
import { serviceResources } from './services.ts'

/** A resource, encoded once. */
export interface Encoded {
  resource: Resource
  /** Its JSON. */
  text: string
  /** Equal texts have equal hashes. */
  hash: string
}

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

/** Turns a topology into what agents and the cluster are to be told. */
export function translate(topology: Topology, settings: Settings): Translation {
  const resources: Resource[] = [
    meshResource(topology, settings),
    ...accessResources(topology),
    ...namespaceResources(topology, settings),
    ...peerResources(topology, settings),
    ...portResources(topology),
    ...serviceResources(topology),
  ]
  return {
    common: resources.map(encode).sort(byName),
    nodes: new Map(topology.nodes.map((node) => [node.name, workloadResources(node).map(encode).sort(byName)])),
    services: desiredServices(topology, settings),
    policies: desiredPolicies(topology.locks, settings),
    problems: listProblems(topology),
  }
}

function encode(resource: Resource): Encoded {
  const text = JSON.stringify(resource)
  return { resource, text, hash: hash('sha1', text) }
}

function byName({ resource: a }: Encoded, { resource: b }: Encoded): number {
  if (a.kind !== b.kind) return a.kind < b.kind ? -1 : 1
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0
}

function listProblems(topology: Topology): Problem[] {
  const { namespaces, services, splits, groups, portRoutes, targets } = topology
  const nodes = [...namespaces, ...services, ...splits, ...groups, ...portRoutes, ...targets]
  return nodes.flatMap(({ problems }) => problems)
}
