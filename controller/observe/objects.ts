// The Kubernetes objects that the controller reads, reduced to the fields that it uses. They are parsed JSON as the API
// server sent it: a field that is optional here may be absent there. Stored objects are never changed, only replaced, so
// the same reference means the same content.

export interface Meta {
  name: string
  /** Absent on cluster-scoped objects. */
  namespace?: string
  uid: string
  resourceVersion: string
  /** RFC 3339. */
  creationTimestamp?: string
  deletionTimestamp?: string
  generation?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  ownerReferences?: OwnerReference[]
}

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

/** What every object has. The reflector fills in `apiVersion` and `kind`, which items of a list lack. */
export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: Meta
}

export interface Namespace extends KubeObject {
  kind: 'Namespace'
  status?: { phase?: string }
}

export interface Node extends KubeObject {
  kind: 'Node'
  spec?: { podCIDR?: string; podCIDRs?: string[] }
  status?: { addresses?: { type: string; address: string }[] }
}

export interface Pod extends KubeObject {
  kind: 'Pod'
  spec: {
    nodeName?: string
    serviceAccountName?: string
    hostNetwork?: boolean
  }
  status?: {
    phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown'
    podIP?: string
    podIPs?: { ip: string }[]
    hostIP?: string
    /** RFC 3339. */
    startTime?: string
    conditions?: { type: string; status: string }[]
  }
}

export interface ServicePort {
  name?: string
  protocol?: 'TCP' | 'UDP' | 'SCTP'
  port: number
  /** A number, or the name of a container port. */
  targetPort?: number | string
  nodePort?: number
  appProtocol?: string
}

export interface Service extends KubeObject {
  kind: 'Service'
  spec: {
    type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName'
    clusterIP?: string
    clusterIPs?: string[]
    ipFamilies?: ('IPv4' | 'IPv6')[]
    ipFamilyPolicy?: 'SingleStack' | 'PreferDualStack' | 'RequireDualStack'
    externalIPs?: string[]
    externalName?: string
    selector?: Record<string, string>
    ports?: ServicePort[]
    internalTrafficPolicy?: 'Cluster' | 'Local'
    sessionAffinity?: 'None' | 'ClientIP'
    publishNotReadyAddresses?: boolean
  }
  status?: { loadBalancer?: { ingress?: { ip?: string }[] } }
}

export interface EndpointSlice extends KubeObject {
  kind: 'EndpointSlice'
  addressType: 'IPv4' | 'IPv6' | 'FQDN'
  /** The API server writes null for an empty list. */
  endpoints?:
    | {
        addresses: string[]
        conditions?: { ready?: boolean | null; serving?: boolean | null; terminating?: boolean | null }
        nodeName?: string
        targetRef?: { kind?: string; namespace?: string; name?: string; uid?: string }
      }[]
    | null
  ports?: { name?: string | null; port?: number | null; protocol?: string; appProtocol?: string | null }[] | null
}

export interface ServiceAccount extends KubeObject {
  kind: 'ServiceAccount'
}

/** Labels that an object must have; absent parts ask for nothing. */
export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'; values?: string[] }[]
}

/** Whom a rule of a NetworkPolicy admits, on which ports; an absent or empty list admits everything. */
export interface PolicyRule {
  from?: PolicyPeer[]
  to?: PolicyPeer[]
  ports?: { port?: number | string; endPort?: number; protocol?: string }[]
}

export interface PolicyPeer {
  podSelector?: LabelSelector
  namespaceSelector?: LabelSelector
  ipBlock?: { cidr: string; except?: string[] }
}

export interface NetworkPolicy extends KubeObject {
  kind: 'NetworkPolicy'
  spec?: {
    podSelector?: LabelSelector
    policyTypes?: string[]
    ingress?: PolicyRule[]
    egress?: PolicyRule[]
  }
}

/** A field of unknown shape: SMI objects come in many versions, with or without `spec`, and are parsed tolerantly. */
export interface SmiObject extends KubeObject {
  kind: 'TrafficSplit' | 'TrafficTarget' | 'HTTPRouteGroup' | 'TCPRoute' | 'UDPRoute'
  spec?: unknown
  [field: string]: unknown
}

/** Points to an object: what problems and Events name. */
export interface ObjectRef {
  apiVersion: string
  kind: string
  /** Empty for cluster-scoped objects. */
  namespace: string
  name: string
  uid: string
}

/** `namespace/name`, or the bare name of a cluster-scoped object. */
export function keyOf(object: { metadata: { name: string; namespace?: string } }): string {
  const { namespace, name } = object.metadata
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`
}

/** The reference to an object. */
export function refOf(object: KubeObject): ObjectRef {
  const { namespace = '', name, uid } = object.metadata
  return { apiVersion: object.apiVersion, kind: object.kind, namespace, name, uid }
}
