// The kinds that the controller observes, where they are served, and what is kept of their objects.

import type { EndpointSlice, KubeObject, Meta, Node, Pod, Service } from './objects.ts'
import { hasSameContent } from './store.ts'
import { shared, shareFields } from './words.ts'
import type { World } from './world.ts'

export interface KindSpec {
  /** The part of the World that holds it. */
  part: keyof World
  kind: string
  plural: string
  /** Empty for the core group. */
  group: string
  /** Newest first: of a built-in kind the one to read; of an SMI kind those that we understand. */
  versions: readonly string[]
  /** Reduces an object to what is kept; by default all but what nobody here reads of any kind. */
  keep?: (object: KubeObject) => KubeObject
  isSame?: (held: KubeObject, next: KubeObject) => boolean
}

const smiVersions = ['v1alpha4', 'v1alpha3', 'v1alpha2', 'v1alpha1'] as const

/** Kinds that every cluster has. */
export const builtinKinds: readonly KindSpec[] = [
  { part: 'namespaces', kind: 'Namespace', plural: 'namespaces', group: '', versions: ['v1'] },
  {
    part: 'nodes',
    kind: 'Node',
    plural: 'nodes',
    group: '',
    versions: ['v1'],
    keep: (object) => keepNode(object as Node),
    isSame: hasSameContent,
  },
  {
    part: 'pods',
    kind: 'Pod',
    plural: 'pods',
    group: '',
    versions: ['v1'],
    keep: (object) => keepPod(object as Pod),
    isSame: hasSameContent,
  },
  {
    part: 'services',
    kind: 'Service',
    plural: 'services',
    group: '',
    versions: ['v1'],
    keep: (object) => keepService(object as Service),
  },
  {
    part: 'slices',
    kind: 'EndpointSlice',
    plural: 'endpointslices',
    group: 'discovery.k8s.io',
    versions: ['v1'],
    keep: (object) => keepSlice(object as EndpointSlice),
    isSame: hasSameContent,
  },
  {
    part: 'accounts',
    kind: 'ServiceAccount',
    plural: 'serviceaccounts',
    group: '',
    versions: ['v1'],
    keep: keepNameOnly,
    isSame: hasSameContent,
  },
  { part: 'policies', kind: 'NetworkPolicy', plural: 'networkpolicies', group: 'networking.k8s.io', versions: ['v1'] },
]

/** Kinds that come with CRDs, ours or another product's: any of them may be missing, or be served in few versions. */
export const smiKinds: readonly KindSpec[] = [
  smi('splits', 'TrafficSplit', 'trafficsplits', 'split.smi-spec.io'),
  smi('targets', 'TrafficTarget', 'traffictargets', 'access.smi-spec.io'),
  smi('routeGroups', 'HTTPRouteGroup', 'httproutegroups', 'specs.smi-spec.io'),
  smi('tcpRoutes', 'TCPRoute', 'tcproutes', 'specs.smi-spec.io'),
  smi('udpRoutes', 'UDPRoute', 'udproutes', 'specs.smi-spec.io'),
]

function smi(part: keyof World, kind: string, plural: string, group: string): KindSpec {
  return { part, kind, plural, group, versions: smiVersions }
}

/** `v1` or `group/version`. */
export function apiVersionOf(spec: KindSpec, version: string): string {
  return spec.group === '' ? version : `${spec.group}/${version}`
}

/** Path of the collection over all namespaces. */
export function pathOf(spec: KindSpec, version: string): string {
  return `/${spec.group === '' ? 'api' : 'apis'}/${apiVersionOf(spec, version)}/${spec.plural}`
}

/** What kubectl apply leaves behind: the whole object once more. */
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration'

/**
 * The default `keep`: managed fields and what was last applied are the larger half of many objects, and nobody here reads
 * them.
 */
export function dropUnread(object: KubeObject): KubeObject {
  const { metadata } = object
  delete (metadata as Meta & { managedFields?: unknown }).managedFields
  if (metadata.annotations?.[lastApplied] !== undefined) delete metadata.annotations[lastApplied]
  return object
}

/** Services that we write are written back as a whole, with what others put there. */
function keepService(service: Service): Service {
  const { metadata } = service
  if (metadata.labels?.['app.kubernetes.io/managed-by'] !== 'weft') return dropUnread(service) as Service
  delete (metadata as Meta & { managedFields?: unknown }).managedFields
  return service
}

// Pods, Nodes and EndpointSlices are many, large and restless: only the fields that objects.ts lists are kept of them.

/** Of accounts all that matters is that they exist. */
function keepNameOnly({ apiVersion, kind, metadata }: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion } = metadata
  return { apiVersion, kind, metadata: defined({ name, namespace, uid, resourceVersion }) }
}

function keepMeta(meta: Meta): Meta {
  const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp, labels, ownerReferences } = meta
  return defined({
    name,
    namespace,
    uid,
    resourceVersion,
    creationTimestamp,
    deletionTimestamp,
    labels,
    ownerReferences,
  })
}

function keepNode(node: Node): Node {
  const { podCIDR, podCIDRs } = node.spec ?? {}
  return {
    apiVersion: node.apiVersion,
    kind: 'Node',
    metadata: keepMeta(node.metadata),
    spec: defined({ podCIDR, podCIDRs }),
    status: defined({ addresses: node.status?.addresses }),
  }
}

/** Pods are the most of all: what many of them say is kept once, and of their owners only who controls them. */
function keepPodMeta(meta: Meta): Meta {
  const { namespace, creationTimestamp, labels, ownerReferences } = meta
  const owners = ownerReferences?.filter(({ controller }) => controller)
  for (const owner of owners ?? []) shareFields(owner)
  return keepMeta({
    ...meta,
    ...defined({
      namespace: shared(namespace),
      creationTimestamp: shared(creationTimestamp),
      labels: shareFields(labels),
    }),
    ...(owners === undefined || owners.length === 0 ? { ownerReferences: undefined } : { ownerReferences: owners }),
  } as Meta)
}

function keepPod(pod: Pod): Pod {
  const { hostNetwork } = pod.spec
  const [nodeName, serviceAccountName] = [shared(pod.spec.nodeName), shared(pod.spec.serviceAccountName)]
  const { phase, podIP, conditions, ...status } = pod.status ?? {}
  const [hostIP, startTime] = [shared(status.hostIP), shared(status.startTime)]
  const isOnly = status.podIPs?.length === 1 && status.podIPs[0]!.ip === podIP
  const podIPs = isOnly ? undefined : status.podIPs
  const ready = conditions?.filter((each) => each.type === 'Ready').map(({ type, status }) => ({ type, status }))
  return {
    apiVersion: pod.apiVersion,
    kind: 'Pod',
    metadata: keepPodMeta(pod.metadata),
    spec: defined({ nodeName, serviceAccountName, hostNetwork }),
    status: defined({ phase, podIP, podIPs, hostIP, startTime, conditions: ready }),
  }
}

function keepSlice(slice: EndpointSlice): EndpointSlice {
  const { apiVersion, addressType, endpoints, ports } = slice
  return defined<EndpointSlice>({
    apiVersion,
    kind: 'EndpointSlice',
    metadata: keepMeta(slice.metadata),
    addressType,
    endpoints: endpoints?.map(({ addresses, conditions, nodeName, targetRef }) =>
      defined({ addresses, conditions, nodeName, targetRef: targetRef && keepTarget(targetRef) }),
    ),
    ports: ports?.map(({ name, port, protocol, appProtocol }) => defined({ name, port, protocol, appProtocol })),
  })
}

type TargetRef = NonNullable<NonNullable<EndpointSlice['endpoints']>[number]['targetRef']>

function keepTarget({ kind, namespace, name, uid }: TargetRef): TargetRef {
  return defined({ kind, namespace, name, uid })
}

/** The object without the properties that are undefined. */
function defined<T>(object: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
}
