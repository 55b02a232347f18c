// The topology: the mesh as a graph of plain data between Kubernetes and the wire. Nodes are known by `namespace/name`,
// edges are keys of other nodes, and whatever is wrong hangs on the node that has it. Served by /debug/topology as it is.

import type {
  AccessMode,
  AccessRule,
  EndpointSpec,
  Key,
  Protocol,
  RouteMatch,
  ServicePolicy,
} from '../contract/resources.ts'
import type { ObjectRef } from '../observe/objects.ts'
import type { Addresses } from './addresses.ts'
import type { LockNode } from './lock.ts'
import type { Problem } from './problem.ts'

/** Lists are sorted by key, so that equal worlds give equal topologies. */
export interface Topology {
  /** The mesh Service as the cluster shows it; `address` is empty while it has none. */
  mesh: Addresses
  namespaces: NamespaceNode[]
  /** Enrolled Services, and those that splits and mirrors name. */
  services: ServiceNode[]
  splits: SplitNode[]
  groups: RouteGroupNode[]
  portRoutes: PortRouteNode[]
  targets: TargetNode[]
  /** Services whose pods only agents may connect to. */
  locks: LockNode[]
  /** Accounts that TrafficTargets name as destination. */
  accounts: AccountNode[]
  nodes: MachineNode[]
  /** Shared mesh ports: one for each port number that enrolled Services use for HTTP. */
  sharedPorts: { meshPort: number; port: number }[]
  /** The allocation of mesh ports, to be given to the next `resolve`. */
  portBook: PortBook
}

/** A Namespace that differs from the defaults or has a problem. */
export interface NamespaceNode {
  name: string
  access: AccessMode
  problems: Problem[]
}

export interface ServiceNode {
  key: Key
  ref: ObjectRef
  isEnrolled: boolean
  /** Milliseconds since the epoch: on clashes the older wins. */
  createdAt: number
  /** When it was last seen enrolled and then was not (milliseconds since the epoch): callers are told so for a while. */
  withdrawnMs: number | null
  ports: PortNode[]
  policy: ServicePolicy
  /** Name of its alias Service; null: none (not enrolled, or the name is taken). */
  alias: string | null
  /** Its shadow Service where it has a dedicated address, or had until a while ago. */
  shadow: ({ name: string } & Addresses) | null
  /** Since when it needs no dedicated address any more, but keeps the one that clients may still have; null: not so. */
  sharedSinceMs: number | null
  problems: Problem[]
}

export interface PortNode {
  /** The Service's port number. */
  number: number
  name: string
  /** What its EndpointSlices call it: they lag behind a port that was renamed. */
  sliceName: string
  protocol: Protocol
  /** Mesh port of its own on a dedicated address; null: shared, or none was left. */
  meshPort: number | null
  /** Splits in force on it, in the order in which they are tried, with the backends that have this port. */
  splits: { split: Key; backends: WeightedBackend[] }[]
  endpoints: EndpointSpec[]
}

export interface SplitNode {
  key: Key
  ref: ObjectRef
  /** `active`: divides traffic. `superseded`: another split of the same root comes first. `invalid`: its root can't be used. */
  state: 'active' | 'superseded' | 'invalid'
  /** The Service it divides; empty if the field can't be read. */
  root: Key
  /** HTTPRouteGroups it names, whether they exist or not. */
  groups: Key[]
  /** As in the contract's Split. */
  matches: RouteMatch[] | null
  /** All that can be read; on each port of the root only those that exist and have that port count. */
  backends: WeightedBackend[]
  problems: Problem[]
}

export interface WeightedBackend {
  service: Key
  /** In milli-units. */
  weight: number
}

export interface RouteGroupNode {
  key: Key
  ref: ObjectRef
  /** Valid matches only: a broken one never matches. */
  matches: RouteMatch[]
  /** Names of all matches, broken ones too. */
  names: string[]
  problems: Problem[]
}

export interface PortRouteNode {
  /** `TCPRoute` and `UDPRoute` have names of their own: `kind` belongs to the key. */
  kind: 'TCPRoute' | 'UDPRoute'
  key: Key
  ref: ObjectRef
  /** null: every port. */
  ports: number[] | null
  problems: Problem[]
}

export interface TargetNode {
  key: Key
  ref: ObjectRef
  /** The account that it enforces; empty if it names none of its own namespace. */
  destination: Key
  /** What it permits; null: nothing. */
  rule: AccessRule | null
  /** Groups and routes that its rules name, whether they exist or not. */
  routes: { kind: 'HTTPRouteGroup' | 'TCPRoute' | 'UDPRoute'; key: Key }[]
  problems: Problem[]
}

export interface AccountNode {
  key: Key
  /** TrafficTargets that name it as destination. */
  targets: Key[]
}

/** A node of the cluster: its agent and its pods. */
export interface MachineNode {
  name: string
  /** Address of the ready agent; empty if there is none. */
  agent: string
  pods: PodNode[]
}

export interface PodNode {
  uid: string
  key: Key
  /** What the mesh knows it by. */
  address: string
  secondAddress?: string
  account: Key
  workload: string
  isLive: boolean
  startedAt: number
}

/** Which mesh port belongs to whom. Owners: `shared:<number>`, `<namespace>/<name>:<number>`. */
export interface PortBook {
  ports: { meshPort: number; owner: string }[]
  /** Of these, those of dedicated addresses that no shadow Service shows yet; absent where there are none. */
  claimed?: { meshPort: number; owner: string }[]
  /** Ports that were given back and rest: a late connection must not reach another service. */
  resting: { meshPort: number; owner: string; sinceMs: number }[]
}
