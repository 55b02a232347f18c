// Services → EndpointSlices, as the endpoint slice controller writes them: one slice for each Service with a selector, and
// more where a named target port is another number in some of its pods.

import { type Cluster, onChange } from './cluster.ts'
import { type EndpointSlice, isOver, isReady, type Pod, type Service, type ServicePort, selects } from './objects.ts'

const serviceLabel = 'kubernetes.io/service-name'
const managerLabel = 'endpointslice.kubernetes.io/managed-by'
const manager = 'endpointslice-controller.k8s.io'

/** Keeps the slices of all Services until stopped. Returns what stops it. */
export function startSlices(cluster: Cluster): () => void {
  return onChange(cluster, ['services', 'pods', 'endpointslices'], () => {
    const pods = cluster.list<Pod>('pods')
    const slices = cluster
      .list<EndpointSlice>('endpointslices')
      .filter(({ metadata }) => metadata.labels?.[managerLabel] === manager)
    const current = new Map(slices.map((slice) => [`${slice.metadata.namespace}/${slice.metadata.name}`, slice]))
    for (const service of cluster.list<Service>('services')) {
      const { selector, type } = service.spec
      if (!selector || type === 'ExternalName' || service.metadata.deletionTimestamp) continue
      for (const slice of slicesOf(service, pods)) {
        const key = `${slice.metadata.namespace}/${slice.metadata.name}`
        settle(cluster, slice, current.get(key))
        current.delete(key)
      }
    }
    for (const slice of current.values()) cluster.remove('endpointslices', slice.metadata)
  })
}

function settle(cluster: Cluster, wanted: EndpointSlice, found: EndpointSlice | undefined): void {
  if (!found) {
    cluster.create('endpointslices', wanted)
    return
  }
  const same =
    JSON.stringify([found.endpoints ?? [], found.ports ?? [], found.metadata.labels]) ===
    JSON.stringify([wanted.endpoints, wanted.ports, wanted.metadata.labels])
  if (!same)
    cluster.update('endpointslices', {
      ...found,
      ...wanted,
      metadata: { ...found.metadata, labels: wanted.metadata.labels! },
    })
}

type Ports = NonNullable<EndpointSlice['ports']>

/** The slices of a Service, at least one: pods stand together whose ports are the same numbers. */
function slicesOf(service: Service, pods: Pod[]): EndpointSlice[] {
  const { namespace } = service.metadata
  const members = pods
    .filter(
      (pod) =>
        pod.metadata.namespace === namespace &&
        pod.status?.podIP &&
        !isOver(pod) &&
        selects({ matchLabels: service.spec.selector! }, pod.metadata.labels),
    )
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
  const groups = new Map<string, { ports: Ports; members: Pod[] }>()
  for (const pod of members) {
    const ports = portsOf(service, pod)
    const key = JSON.stringify(ports)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, { ports, members: [pod] })
    else group.members.push(pod)
  }
  const ordered = [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group)
  if (ordered.length === 0) ordered.push({ ports: portsOf(service, undefined), members: [] })
  return ordered.map((group, index) => sliceOf(service, index, group))
}

function sliceOf(service: Service, index: number, { ports, members }: { ports: Ports; members: Pod[] }): EndpointSlice {
  const { name, namespace, uid, labels } = service.metadata
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${suffix(uid)}${index === 0 ? '' : `-${index + 1}`}`,
      namespace: namespace!,
      labels: { ...labels, [managerLabel]: manager, [serviceLabel]: name },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name, uid, controller: true, blockOwnerDeletion: true }],
    } as unknown as EndpointSlice['metadata'],
    addressType: 'IPv4',
    endpoints: members.map((pod) => endpointOf(pod, service.spec.publishNotReadyAddresses === true)),
    ports,
  }
}

/** What a pod listens on for each port of the Service; ports that it does not have are left out. */
function portsOf(service: Service, pod: Pod | undefined): Ports {
  return (service.spec.ports ?? []).flatMap((port) => {
    const number = targetPort(port, pod)
    if (number === undefined) return []
    const { name = '', protocol = 'TCP', appProtocol } = port
    return [{ name, port: number, protocol, ...(appProtocol ? { appProtocol } : {}) }]
  })
}

function endpointOf(pod: Pod, publishNotReady: boolean): NonNullable<EndpointSlice['endpoints']>[number] {
  const serving = isReady(pod)
  const terminating = pod.metadata.deletionTimestamp !== undefined
  const { name, namespace, uid } = pod.metadata
  return {
    addresses: [pod.status!.podIP!],
    conditions: {
      ready: publishNotReady || (serving && !terminating),
      serving: serving || publishNotReady,
      terminating,
    },
    nodeName: pod.spec.nodeName!,
    targetRef: { kind: 'Pod', namespace: namespace!, name, uid },
  }
}

/** The number behind a port's target; a name means a port of the pod's containers. */
function targetPort({ port, targetPort: target = port }: ServicePort, pod: Pod | undefined): number | undefined {
  if (typeof target === 'number') return target
  const ports = pod?.spec.containers.flatMap((container) => container.ports ?? []) ?? []
  return ports.find(({ name }) => name === target)?.containerPort
}

/** Five letters that are always the same for a Service, so that the slice's name is. */
function suffix(uid: string): string {
  return uid.replaceAll('-', '').slice(0, 5)
}
