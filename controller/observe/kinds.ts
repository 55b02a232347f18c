// The kinds that the controller observes, where they are served, and what is kept of their objects.

import type { KubeObject, Meta, Node, Pod } from './objects.ts'
import { hasSameContent } from './store.ts'
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
  /** Reduces an object to what is kept; by default all but the managed fields. */
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

/** The default `keep`: managed fields are the larger half of many objects, and nobody here reads them. */
export function dropManagedFields(object: KubeObject): KubeObject {
  delete (object.metadata as Meta & { managedFields?: unknown }).managedFields
  return object
}

// Pods and Nodes are many, large and restless: only the fields that objects.ts lists are kept of them.

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

function keepPod(pod: Pod): Pod {
  const { nodeName, serviceAccountName, hostNetwork } = pod.spec
  const { phase, podIP, podIPs, hostIP, startTime, conditions } = pod.status ?? {}
  const ready = conditions?.filter((each) => each.type === 'Ready').map(({ type, status }) => ({ type, status }))
  return {
    apiVersion: pod.apiVersion,
    kind: 'Pod',
    metadata: keepMeta(pod.metadata),
    spec: defined({ nodeName, serviceAccountName, hostNetwork }),
    status: defined({ phase, podIP, podIPs, hostIP, startTime, conditions: ready }),
  }
}

/** The object without the properties that are undefined. */
function defined<T>(object: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
}
