// What the controller tells the agents: the snapshot is a flat set of these resources, each known by kind and name.
// Plain data, JSON as it stands; every change here is a change of the contract's version (version.ts).

/** `namespace/name` of a Service, a ServiceAccount or an SMI object. */
export type Key = string

/** Facts about the mesh as a whole; there is exactly one, named `mesh`. */
export interface MeshResource {
  kind: 'mesh'
  name: 'mesh'
  trustDomain: string
  /** The cluster's DNS domain, e.g. `cluster.local`. */
  clusterDomain: string
  /** The optional domain that the agents' DNS answers for, e.g. `mesh.internal`. */
  meshDomain: string
  /** What an alias Service adds to the Service's name, e.g. `-mesh`. */
  aliasSuffix: string
  /** ClusterIP of the mesh Service: what aliases and the mesh domain resolve to; empty while it is not known. */
  address: string
  /** In a dual-stack cluster its ClusterIP of the other IP family. */
  secondAddress?: string
  /** Access mode of namespaces that have no `namespace` resource. */
  defaultAccess: AccessMode
}

export type AccessMode = 'allow' | 'deny'
export type Protocol = 'http' | 'tcp'

/** A Service of the mesh, or one that a split or a mirror of the mesh names as backend (`enrolled: false`). */
export interface ServiceResource {
  kind: 'service'
  /** `namespace/name` */
  name: Key
  uid: string
  enrolled: boolean
  /** ClusterIP of its shadow Service where it has a dedicated address, else empty. */
  address: string
  /** In a dual-stack cluster that Service's ClusterIP of the other IP family. */
  secondAddress?: string
  ports: ServicePort[]
  policy: ServicePolicy
}

export interface ServicePort {
  /** The Service's port number: what clients dial. Endpoints carry the target port. */
  number: number
  name: string
  protocol: Protocol
  /** Tried in this order, the first whose matches fit decides; none: the Service's own endpoints. */
  splits: Split[]
}

export interface Split {
  name: Key
  /** null: every request. A list is an OR; an empty list never matches (a broken route group fails closed). */
  matches: RouteMatch[] | null
  /** Weights are relative whole numbers (milli-units); empty or summing to 0: 503 no_backend. */
  backends: { service: Key; weight: number }[]
}

/** One match of an HTTPRouteGroup: its conditions are ANDed; null means the condition is not set. */
export interface RouteMatch {
  name: string
  /** RE2 expression, tested against the path only and anchored at its start. */
  path: string | null
  methods: string[] | null
  /** RE2 expressions by lower-case header name, unanchored. */
  headers: { name: string; value: string }[]
}

/** Ready endpoints of one port of a Service. */
export interface EndpointsResource {
  kind: 'endpoints'
  /** `namespace/name:port` with the Service's port number. */
  name: string
  endpoints: EndpointSpec[]
}

export interface EndpointSpec {
  /** An IP address; the host name of an ExternalName Service where a flag of the controller allows it. */
  address: string
  port: number
  /** The node that runs it; empty where it is not known (a foreign address). */
  node: string
  /** `namespace/name` of the pod and its UID; empty for a foreign address. */
  pod: Key
  podUid: string
  /** `namespace/name` of its ServiceAccount; empty for a foreign address. */
  account: Key
  /** Deployment (or other owner) of the pod, for metrics; empty if none. */
  workload: string
}

/** What a mesh port stands for: a port number (the Host decides) or one port of one dedicated Service. */
export interface PortResource {
  kind: 'port'
  /** The mesh port as a decimal string, e.g. `16384`. */
  name: string
  /** The Service's port number. */
  port: number
  /** The dedicated Service and its UID; null for a shared mesh port. */
  service: { name: Key; uid: string } | null
}

/** An agent that can be tunnelled to, by node. */
export interface PeerResource {
  kind: 'peer'
  /** Name of the node. */
  name: string
  /** Address of the node's ready agent pod. */
  address: string
  port: number
}

/** A pod on the agent's own node: the only part of the snapshot that differs from node to node. */
export interface WorkloadResource {
  kind: 'workload'
  /** The pod's UID. */
  name: string
  pod: Key
  address: string
  /** In a dual-stack cluster its address of the other IP family: it may call, and be called, by either. */
  secondAddress?: string
  account: Key
  workload: string
  /** False once the pod has ended: its identity stays until its address is reused. */
  live: boolean
  /** Milliseconds since the epoch; of two pods with one address the younger has it. */
  startedAt: number
}

/** Access mode of one namespace, where it differs from the default. */
export interface NamespaceResource {
  kind: 'namespace'
  name: string
  access: AccessMode
}

/** Rules of the TrafficTargets that name one destination account. Present means enforced, however few rules are valid. */
export interface AccessResource {
  kind: 'access'
  /** The destination account. */
  name: Key
  /** A connection or request is allowed if any rule allows it. */
  rules: AccessRule[]
}

export interface AccessRule {
  /** The TrafficTarget: `namespace/name`. */
  name: Key
  sources: Key[]
  /** Pod ports; null: all. */
  ports: number[] | null
  /** null: no HTTP condition. A list is an OR; an empty one allows nothing. */
  http: RouteMatch[] | null
}

export type Resource =
  | MeshResource
  | ServiceResource
  | EndpointsResource
  | PortResource
  | PeerResource
  | WorkloadResource
  | NamespaceResource
  | AccessResource

export type ResourceKind = Resource['kind']

/** Per-service settings, from annotations. A field that is absent leaves the agent's default (DESIGN.md section 8). */
export interface ServicePolicy {
  timeouts?: { connectMs?: number; headMs?: number; idleMs?: number; requestMs?: number }
  retry?: { attempts?: number; on?: string[]; perTryMs?: number }
  breaker?: {
    consecutive?: number
    /** Share of successes, 0 to 1. */
    successRate?: number
    minimum?: number
    openMs?: number
    maxOpenMs?: number
    /** A response head that takes longer than this counts as a failure, though it is relayed. */
    slowMs?: number
  }
  limits?: { inFlightPerCaller?: number; queuePerCaller?: number; rate?: RateLimit; ratePerCaller?: RateLimit }
  balance?: Balance
  mirror?: { service: Key; percent: number }
  fault?: {
    delay?: { ms: number; percent: number }
    abort?: { status: number; percent: number }
    /** Only requests that carry this header (lower-case name) are subject to faults. */
    header?: string
  }
  headers?: { request?: HeaderEdits; response?: HeaderEdits }
  redirect?: { status: number; prefix: string; location: string }
  rewrite?: { prefix: string; replacement: string }
  /** Endpoints on nodes without an agent may be reached in plain text. */
  plaintext?: boolean
  /** Only endpoints on the caller's own node are used: the Service's `internalTrafficPolicy: Local`. */
  nodeLocal?: boolean
}

export interface RateLimit {
  perSecond: number
  burst: number
}

export interface HeaderEdits {
  set?: { name: string; value: string }[]
  add?: { name: string; value: string }[]
  remove?: string[]
}

export interface Balance {
  kind: 'ewma' | 'least-request' | 'round-robin' | 'hash'
  /** For `hash`: the header or cookie whose value chooses the endpoint. */
  header?: string
  cookie?: string
  slowStartMs?: number
}
