// What the stand-ins (controllers, kubelets, kube-proxy, DNS) need of the API: objects by kind, word that some changed,
// and writes. They are level-triggered: a change says only that something of a kind is different now.

import type { KubeObject } from './objects.ts'

/** The kinds that the stand-ins use, by their plural name in the API. */
export type Resource =
  | 'configmaps'
  | 'daemonsets'
  | 'deployments'
  | 'endpointslices'
  | 'namespaces'
  | 'nodes'
  | 'pods'
  | 'secrets'
  | 'serviceaccounts'
  | 'services'

/** Names an object; with a UID, only that very one. */
export interface Named {
  name: string
  namespace?: string
  uid?: string
}

/** Objects are shared and must not be changed; writes take new ones. */
export interface Cluster {
  get<T extends KubeObject>(resource: Resource, namespace: string, name: string): T | undefined
  list<T extends KubeObject>(resource: Resource, namespace?: string): T[]
  /** Calls back after any change of these kinds; returns what ends it. */
  watch(resources: Resource[], changed: () => void): () => void
  create(resource: Resource, object: object): void
  /** Replaces all but the status. */
  update<T extends KubeObject>(resource: Resource, object: T): void
  setStatus<T extends KubeObject>(resource: Resource, object: T): void
  /** Deletes; a pod with a grace period only begins to end. Nothing happens when it is gone already. */
  remove(resource: Resource, object: Named, graceSeconds?: number): void
  /** A key of a ConfigMap or Secret, decoded. */
  value(resource: 'configmaps' | 'secrets', namespace: string, name: string, key: string): string | undefined
  /**
   * A token for a pod's ServiceAccount, and when it ends (milliseconds since the epoch).
   * @throws Error when the API issues none
   */
  token(pod: Named, account: string, audience: string, seconds: number): { token: string; expires: number }
  /** A kubeconfig for a client with this token. */
  kubeconfig(token: string): string
}

/**
 * Runs a reconciler now and after every change of these kinds, never twice at once and never within the change itself.
 * @returns ends it
 */
export function onChange(cluster: Cluster, resources: Resource[], reconcile: () => void): () => void {
  let scheduled: NodeJS.Immediate | undefined
  const schedule = () => {
    scheduled ??= setImmediate(() => {
      scheduled = undefined
      reconcile()
    })
  }
  const unwatch = cluster.watch(resources, schedule)
  schedule()
  return () => {
    unwatch()
    clearImmediate(scheduled)
  }
}
