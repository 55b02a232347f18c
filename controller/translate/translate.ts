// The third stage of the controller: the topology becomes the resources that agents get, and the Services that the
// controller keeps in the cluster. Pure; what did not change has the same hash as before.

import type { Resource } from '../contract/resources.ts'
import type { Problem } from '../resolve/problem.ts'
import type { Settings } from '../resolve/settings.ts'
import type { Topology } from '../resolve/topology.ts'
import type { DesiredService } from './desired.ts'

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
  /** All problems, sorted by object. */
  problems: Problem[]
}

/** Turns a topology into what agents and the cluster are to be told. */
export function translate(topology: Topology, settings: Settings): Translation {
  throw new Error(`not yet: ${topology.services.length} ${settings.namespace}`)
}
