// Services and their endpoints as agents get them: the enrolled ones, what their splits and mirrors name, and without
// endpoints those that have just left.

import type { EndpointsResource, Key, ServiceResource, Split } from '../contract/resources.ts'
import type { PortNode, ServiceNode, SplitNode, Topology } from '../resolve/topology.ts'
import { type Encoded, encode } from './encode.ts'

/** Services in the order of the topology, and the endpoints of all their ports. */
export function encodedServices(topology: Topology): { services: Encoded[]; endpoints: Encoded[] } {
  const splits = new Map(topology.splits.map((split) => [split.key, split]))
  const reachable = reachableServices(topology)
  const services: Encoded[] = []
  const endpoints: Encoded[] = []
  for (const service of topology.services) {
    const isReachable = reachable.has(service.key)
    if (isReachable || service.withdrawnMs !== null) services.push(encodedService(service, splits))
    if (isReachable) for (const port of service.ports) endpoints.push(encodedEndpoints(service, port))
  }
  return { services, endpoints }
}

/** What was made of a node, and of a list of endpoints, which live on from topology to topology. */
const madeServices = new WeakMap<ServiceNode, Encoded>()
const madeEndpoints = new WeakMap<PortNode['endpoints'], Encoded>()

/** A Service with what its splits say. */
export function encodedService(service: ServiceNode, splits: ReadonlyMap<Key, SplitNode>): Encoded {
  const known = madeServices.get(service)
  // What a split's matches are stands on a node of its own.
  if (known !== undefined && service.ports.every((port) => port.splits.length === 0)) return known
  const made = encode(toService(service, splits))
  if (known?.text === made.text) return known
  madeServices.set(service, made)
  return made
}

/** The endpoints of one port. */
export function encodedEndpoints(service: ServiceNode, port: PortNode): Encoded {
  const resource = toEndpoints(service, port)
  const known = madeEndpoints.get(port.endpoints)
  if (known?.resource.name === resource.name) return known
  const made = encode(resource)
  madeEndpoints.set(port.endpoints, made)
  return made
}

/** Enrolled Services and what traffic can go to from there. */
export function reachableServices({ services }: Topology): Set<Key> {
  const reachable = new Set<Key>()
  for (const { key, isEnrolled, policy, ports } of services) {
    if (!isEnrolled) continue
    reachable.add(key)
    if (policy.mirror) reachable.add(policy.mirror.service)
    for (const { splits } of ports) {
      for (const { backends } of splits) for (const { service } of backends) reachable.add(service)
    }
  }
  return reachable
}

function toService(service: ServiceNode, splits: ReadonlyMap<Key, SplitNode>): ServiceResource {
  return {
    kind: 'service',
    name: service.key,
    uid: service.ref.uid,
    enrolled: service.isEnrolled,
    ...addressesOf(service),
    ports: service.ports.map((port) => ({
      number: port.number,
      name: port.name,
      protocol: port.protocol,
      splits: port.splits.map(
        ({ split, backends }): Split => ({ name: split, matches: splits.get(split)?.matches ?? null, backends }),
      ),
    })),
    policy: service.policy,
  }
}

function addressesOf({ shadow, sharedSinceMs }: ServiceNode): Pick<ServiceResource, 'address' | 'secondAddress'> {
  if (shadow === null || sharedSinceMs !== null) return { address: '' }
  const { name: _, ...addresses } = shadow
  return addresses
}

function toEndpoints({ key }: ServiceNode, { number, endpoints }: PortNode): EndpointsResource {
  return { kind: 'endpoints', name: `${key}:${number}`, endpoints }
}
