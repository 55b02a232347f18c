// The configuration a data thread works from: immutable indexes over the controller's resources. Built by apply.ts; a
// change makes a new Snapshot that shares everything unchanged with its predecessor. Only Endpoint objects carry state of
// their own (load, breaker, pooled connections), and live on from snapshot to snapshot.

import type {
  AccessResource,
  Key,
  MeshResource,
  NamespaceResource,
  PeerResource,
  PortResource,
  Protocol,
  ServicePolicy,
  WorkloadResource,
} from '../../controller/contract/resources.ts'
import type { Endpoint } from './endpoint.ts'
import type { Match } from './match.ts'

export interface Snapshot {
  readonly version: string
  readonly mesh: MeshResource
  /** By `namespace/name`. */
  readonly services: ReadonlyMap<Key, Service>
  /** Services with pods on this node. */
  readonly locals: ReadonlySet<Key>
  /** By mesh port. */
  readonly ports: ReadonlyMap<number, PortResource>
  /** Pods of this node by address. */
  readonly workloads: ReadonlyMap<string, WorkloadResource>
  /** Agents by node. */
  readonly peers: ReadonlyMap<string, PeerResource>
  readonly namespaces: ReadonlyMap<string, NamespaceResource>
  /** By destination account. */
  readonly access: ReadonlyMap<Key, AccessResource>
}

/** A meshed Service, or one that is only a backend (`enrolled: false`). */
export interface Service {
  readonly key: Key
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly enrolled: boolean
  /** ClusterIP of its dedicated address, else empty. */
  readonly address: string
  readonly policy: ServicePolicy
  /** By port number. */
  readonly ports: ReadonlyMap<number, Port>
}

export interface Port {
  readonly service: Service
  readonly number: number
  readonly protocol: Protocol
  readonly splits: readonly Split[]
  /** The Service's own endpoints. */
  readonly own: Backend
}

export interface Split {
  readonly name: Key
  /** null: every request. */
  readonly matches: readonly Match[] | null
  /** Sum of the weights. */
  readonly total: number
  readonly choices: readonly { readonly backend: Backend; readonly weight: number }[]
}

/** One port of a Service as a target: what a split chooses. Equal `key`s are the same object within a snapshot. */
export interface Backend {
  /** `namespace/name:port` */
  readonly key: string
  readonly service: Key
  readonly port: number
  /** Policy of the backend's own Service: breaker and balance are taken from here. */
  readonly policy: ServicePolicy
  /** The ready ones. */
  readonly endpoints: readonly Endpoint[]
}
