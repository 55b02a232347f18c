// Services and their endpoints as agents get them: the enrolled ones, what their splits and mirrors name, and without
// endpoints those that have just left.

import type { EndpointsResource, Key, ServiceResource, Split } from '../contract/resources.ts'
import type { PortNode, ServiceNode, SplitNode, Topology } from '../resolve/topology.ts'

export function serviceResources(topology: Topology): (ServiceResource | EndpointsResource)[] {
  const splits = new Map(topology.splits.map((split) => [split.key, split]))
  const reachable = reachableServices(topology)
  return topology.services.flatMap((service): (ServiceResource | EndpointsResource)[] => {
    if (reachable.has(service.key))
      return [toService(service, splits), ...service.ports.map((port) => toEndpoints(service, port))]
    return service.withdrawnMs === null ? [] : [toService(service, splits)]
  })
}

/** Enrolled Services and what traffic can go to from there. */
function reachableServices({ services }: Topology): Set<Key> {
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

function addressesOf({ shadow }: ServiceNode): Pick<ServiceResource, 'address' | 'secondAddress'> {
  if (shadow === null) return { address: '' }
  const { name: _, ...addresses } = shadow
  return addresses
}

function toEndpoints({ key }: ServiceNode, { number, endpoints }: PortNode): EndpointsResource {
  return { kind: 'endpoints', name: `${key}:${number}`, endpoints }
}
