// The NetworkPolicies that the controller keeps in the users' namespaces: one for each locked Service, which admits agents
// alone to its pods. Only the fields that we set; update/ writes them.

import type { NetworkPolicy } from '../observe/objects.ts'
import type { LockNode } from '../resolve/lock.ts'
import { labels, manager, nameOf, namespaceOf } from '../resolve/names.ts'
import type { Settings } from '../resolve/settings.ts'

/** A NetworkPolicy as it should be; its whole `spec` is ours. */
export interface DesiredPolicy {
  apiVersion: 'networking.k8s.io/v1'
  kind: 'NetworkPolicy'
  metadata: {
    name: string
    namespace: string
    labels: Record<string, string>
    ownerReferences: { apiVersion: string; kind: string; name: string; uid: string }[]
  }
  spec: NonNullable<NetworkPolicy['spec']>
}

/**
 * All NetworkPolicies that the controller keeps, in the order of the locks. Kubernetes always admits a pod's own node, so
 * the kubelet's probes need no rule; whatever else is to come in, such as Prometheus, users admit by further policies.
 */
export function desiredPolicies(locks: readonly LockNode[], settings: Settings): DesiredPolicy[] {
  const agents = {
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': settings.namespace } },
    podSelector: { matchLabels: settings.agentSelector },
  }
  return locks.map(({ name, service, ref, selector }) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: {
      name,
      namespace: namespaceOf(service),
      labels: {
        [labels.managedBy]: manager,
        [labels.service]: nameOf(service),
        [labels.namespace]: namespaceOf(service),
      },
      ownerReferences: [{ apiVersion: ref.apiVersion, kind: ref.kind, name: ref.name, uid: ref.uid }],
    },
    spec: { podSelector: { matchLabels: selector }, policyTypes: ['Ingress'], ingress: [{ from: [agents] }] },
  }))
}
