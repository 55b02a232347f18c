// Resources about the mesh itself: its facts, its ports, its agents, and the pods of one node.

import type { MeshResource, PeerResource, PortResource, WorkloadResource } from '../contract/resources.ts'
import { restingShared } from '../resolve/meshports.ts'
import type { Settings } from '../resolve/settings.ts'
import type { MachineNode, ServiceNode, Topology } from '../resolve/topology.ts'

export function meshResource(topology: Topology, settings: Settings): MeshResource {
  const { trustDomain, clusterDomain, meshDomain, aliasSuffix, defaultAccess } = settings
  const { mesh } = topology
  return { kind: 'mesh', name: 'mesh', trustDomain, clusterDomain, meshDomain, aliasSuffix, ...mesh, defaultAccess }
}

/** Agents that can be tunnelled to. */
export function peerResources({ nodes }: Topology, { hbonePort }: Settings): PeerResource[] {
  return nodes
    .filter(({ agent }) => agent !== '')
    .map(({ name, agent }) => ({ kind: 'peer', name, address: agent, port: hbonePort }))
}

/** Pods of one node. */
export function workloadResources({ pods }: MachineNode): WorkloadResource[] {
  return pods.map(({ uid, key, address, secondAddress, account, workload, isLive, startedAt }) => ({
    kind: 'workload',
    name: uid,
    pod: key,
    address,
    ...(secondAddress === undefined ? {} : { secondAddress }),
    account,
    workload,
    live: isLive,
    startedAt,
  }))
}

/** What each mesh port stands for. Those that rest stay open, to say that their service is not in the mesh. */
export function portResources(topology: Topology): PortResource[] {
  const shared = [...topology.sharedPorts, ...restingShared(topology)]
  const resources = shared.map(({ meshPort, port }) => toPort(meshPort, port, null))
  for (const service of topology.services) {
    for (const { number, meshPort } of service.ports) {
      if (meshPort !== null) resources.push(toPort(meshPort, number, service))
    }
  }
  return [...resources, ...restingDedicated(topology)]
}

/** Ports of the dedicated addresses of Services that just left the mesh. */
function restingDedicated({ services, portBook }: Topology): PortResource[] {
  const withdrawn = services.filter(({ withdrawnMs }) => withdrawnMs !== null)
  if (withdrawn.length === 0) return []
  return portBook.resting.flatMap(({ meshPort, owner }) => {
    const number = Number(owner.slice(owner.lastIndexOf(':') + 1))
    const service = withdrawn.find(({ key }) => owner === `${key}:${number}`)
    return service ? [toPort(meshPort, number, service)] : []
  })
}

function toPort(meshPort: number, port: number, service: ServiceNode | null): PortResource {
  return {
    kind: 'port',
    name: String(meshPort),
    port,
    service: service === null ? null : { name: service.key, uid: service.ref.uid },
  }
}
