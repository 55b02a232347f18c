// The second stage of the controller: Kubernetes and SMI objects become the topology. This file puts the parts together.

import type { World } from '../observe/world.ts'
import type { Settings } from './settings.ts'
import type { Topology } from './topology.ts'

/**
 * Works out the mesh from the world.
 * @param previous the topology before, for the mesh ports that are not written to the cluster yet; null at first
 * @param nowMs milliseconds since the epoch
 */
export function resolve(world: World, settings: Settings, previous: Topology | null, nowMs: number): Topology {
  throw new Error(`not yet: ${world.services.size} ${settings.namespace} ${previous} ${nowMs}`)
}
