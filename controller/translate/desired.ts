// The Services that the controller keeps in the cluster: the mesh Service, a shadow Service for each dedicated address, an
// alias for each enrolled Service (DESIGN.md section 4). Only the fields that we set; update/ writes them.

import { keyOf } from '../observe/objects.ts'
import { claimsLimit, writeClaims } from '../resolve/claims.ts'
import { restingShared, writeResting } from '../resolve/meshports.ts'
import { labels, manager, nameOf, namespaceOf } from '../resolve/names.ts'
import type { Settings } from '../resolve/settings.ts'
import type { ServiceNode, Topology } from '../resolve/topology.ts'

/** A Service as it should be; fields that are absent are not ours. */
export interface DesiredService {
  apiVersion: 'v1'
  kind: 'Service'
  metadata: {
    name: string
    namespace: string
    labels: Record<string, string>
    annotations: Record<string, string>
    ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string }[]
  }
  spec:
    | { type: 'ExternalName'; externalName: string }
    | {
        type: 'ClusterIP'
        internalTrafficPolicy: 'Local'
        ipFamilyPolicy: 'PreferDualStack'
        selector: Record<string, string>
        ports: Port[]
      }
}

interface Port {
  name: string
  protocol: 'TCP'
  port: number
  targetPort: number
}

const entryName = 'entry'

/** All Services that the controller keeps, sorted by namespace and name. */
export function desiredServices(topology: Topology, settings: Settings): DesiredService[] {
  const services = [meshService(topology, settings)]
  // Their claims are to be recorded first, and there are too many for once.
  const waiting = new Set((topology.portBook.claimed ?? []).slice(claimsLimit).map(({ meshPort }) => meshPort))
  for (const service of topology.services) {
    if (!service.isEnrolled) continue
    // Without any mesh port left its address would lead nowhere, and Kubernetes takes no Service without ports.
    const ports = service.ports.flatMap(({ number, meshPort }) =>
      meshPort === null || waiting.has(meshPort) ? [] : [toPort(number, meshPort)],
    )
    if (isDedicated(service) && ports.length === 0) continue
    if (service.shadow !== null && ports.length > 0) {
      services.push(shadowService(service, service.shadow.name, ports, settings))
    }
    if (service.alias !== null) services.push(aliasService(service, service.alias, settings))
  }
  return services.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
}

/** The entry, and one port for each number that enrolled Services use for HTTP, or did a short while ago. */
function meshService(topology: Topology, settings: Settings): DesiredService {
  const { sharedPorts, portBook } = topology
  const { namespace, meshService: name, entryPort } = settings
  const entry = { name: entryName, protocol: 'TCP' as const, port: entryPort, targetPort: entryPort }
  const open = [...sharedPorts, ...restingShared(topology)].sort((a, b) => a.port - b.port)
  const shared = open.map(({ meshPort, port }) => toPort(port, meshPort))
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace,
      labels: { [labels.managedBy]: manager, 'app.kubernetes.io/name': name },
      annotations: recordOf(portBook),
    },
    spec: localSpec([entry, ...shared], settings),
  }
}

/** So that a controller that starts knows which ports must rest, and any that leads which are about to be taken. */
function recordOf({ claimed = [], resting }: Topology['portBook']): Record<string, string> {
  return {
    ...(resting.length === 0 ? {} : { [labels.resting]: writeResting(resting) }),
    ...(claimed.length === 0 ? {} : { [labels.claimed]: writeClaims(claimed.slice(0, claimsLimit)) }),
  }
}

/** The dedicated address of one Service: the port alone says what is meant. */
function shadowService(service: ServiceNode, name: string, ports: Port[], settings: Settings): DesiredService {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace: settings.namespace,
      labels: standingFor(service),
      annotations: { [labels.uid]: service.ref.uid },
    },
    spec: localSpec(ports, settings),
  }
}

/** The name that clients use, in the Service's own namespace; it goes with the Service. */
function aliasService(service: ServiceNode, name: string, settings: Settings): DesiredService {
  const target = isDedicated(service) ? service.shadow!.name : settings.meshService
  const { apiVersion, kind, uid } = service.ref
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace: namespaceOf(service.key),
      labels: standingFor(service),
      annotations: {},
      ownerReferences: [{ apiVersion, kind, name: nameOf(service.key), uid }],
    },
    spec: { type: 'ExternalName', externalName: `${target}.${settings.namespace}.svc.${settings.clusterDomain}` },
  }
}

/** Whether clients are to use an address of its own. */
function isDedicated({ shadow, sharedSinceMs }: ServiceNode): boolean {
  return shadow !== null && sharedSinceMs === null
}

function standingFor({ key }: ServiceNode): Record<string, string> {
  return { [labels.managedBy]: manager, [labels.service]: nameOf(key), [labels.namespace]: namespaceOf(key) }
}

function toPort(port: number, meshPort: number): Port {
  return { name: `p-${port}`, protocol: 'TCP', port, targetPort: meshPort }
}

/** Each node's clients reach their own node's agent, with their own address, by each IP family that the cluster has. */
function localSpec(ports: Port[], { agentSelector: selector }: Settings): DesiredService['spec'] {
  return { type: 'ClusterIP', internalTrafficPolicy: 'Local', ipFamilyPolicy: 'PreferDualStack', selector, ports }
}
