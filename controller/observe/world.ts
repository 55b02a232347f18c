// What `resolve` works from: everything observed, at one moment. A World never changes; the next one shares the objects
// that did not change (same reference), so that a stage may remember what it derived from an object.

import type {
  EndpointSlice,
  Namespace,
  NetworkPolicy,
  Node,
  Pod,
  Service,
  ServiceAccount,
  SmiObject,
} from './objects.ts'

/** Objects by `namespace/name` (Namespaces and Nodes by name). */
export interface World {
  readonly namespaces: ReadonlyMap<string, Namespace>
  readonly nodes: ReadonlyMap<string, Node>
  readonly pods: ReadonlyMap<string, Pod>
  /** All Services: the users', and those that the controller itself wrote (mesh port allocation is read from them). */
  readonly services: ReadonlyMap<string, Service>
  readonly slices: ReadonlyMap<string, EndpointSlice>
  readonly accounts: ReadonlyMap<string, ServiceAccount>
  /** The users', and the locks that the controller itself wrote. */
  readonly policies: ReadonlyMap<string, NetworkPolicy>
  readonly splits: ReadonlyMap<string, SmiObject>
  readonly targets: ReadonlyMap<string, SmiObject>
  readonly routeGroups: ReadonlyMap<string, SmiObject>
  readonly tcpRoutes: ReadonlyMap<string, SmiObject>
  readonly udpRoutes: ReadonlyMap<string, SmiObject>
}

/** A World with nothing in it. */
export const emptyWorld: World = {
  namespaces: new Map(),
  nodes: new Map(),
  pods: new Map(),
  services: new Map(),
  slices: new Map(),
  accounts: new Map(),
  policies: new Map(),
  splits: new Map(),
  targets: new Map(),
  routeGroups: new Map(),
  tcpRoutes: new Map(),
  udpRoutes: new Map(),
}
