// Deployments and DaemonSets → Pods, with rolling updates that bring the new pod up before the old one goes. Pods belong to
// their Deployment directly; ReplicaSets would add nothing that a laptop needs.

import { createHash, randomInt } from 'node:crypto'
import { type Cluster, onChange, type Resource } from './cluster.ts'
import {
  type Condition,
  type DaemonSet,
  type Deployment,
  isOver,
  isReady,
  type Node,
  type Pod,
  type PodTemplate,
} from './objects.ts'

const hashLabel = 'pod-template-hash'

/** Keeps the pods of all Deployments and DaemonSets, and gives pods without a node one, until stopped. */
export function startWorkloads(cluster: Cluster): () => void {
  return onChange(cluster, ['deployments', 'daemonsets', 'pods', 'nodes'], () => {
    const pods = cluster.list<Pod>('pods')
    const nodes = cluster.list<Node>('nodes').map(({ metadata }) => metadata.name)
    for (const deployment of cluster.list<Deployment>('deployments')) settleDeployment(cluster, deployment, pods)
    for (const set of cluster.list<DaemonSet>('daemonsets')) settleDaemonSet(cluster, set, pods, nodes)
    schedule(cluster, nodes)
  })
}

function settleDeployment(cluster: Cluster, deployment: Deployment, all: Pod[]): void {
  if (deployment.metadata.deletionTimestamp) return
  const { replicas = 1, template, strategy } = deployment.spec
  const hash = hashOf(template)
  const own = all.filter((pod) => isOwned(pod, deployment) && !isOver(pod))
  const alive = own.filter((pod) => !pod.metadata.deletionTimestamp)
  const fresh = alive.filter((pod) => pod.metadata.labels?.[hashLabel] === hash)
  const old = alive.filter((pod) => pod.metadata.labels?.[hashLabel] !== hash)
  const surge = share(strategy?.rollingUpdate?.maxSurge ?? '25%', replicas, Math.ceil)
  const spare = share(strategy?.rollingUpdate?.maxUnavailable ?? '25%', replicas, Math.floor)
  const isRecreated = strategy?.type === 'Recreate'

  const room = isRecreated ? (own.length > fresh.length ? 0 : replicas) : replicas + Math.max(surge, spare ? 0 : 1)
  const missing = Math.min(replicas - fresh.length, room - alive.length)
  for (let made = 0; made < missing; made++) cluster.create('pods', podFor(deployment, template, hash))

  const ready = alive.filter(isReady).length
  let removable = isRecreated ? old.length : Math.max(ready - (replicas - spare), 0)
  for (const pod of leastWanted(old)) {
    // A pod that serves nobody can always go.
    if (isReady(pod) && removable-- <= 0) continue
    cluster.remove('pods', pod.metadata)
  }
  for (const pod of leastWanted(fresh).slice(0, Math.max(fresh.length - replicas, 0))) {
    cluster.remove('pods', pod.metadata)
  }
  const available = fresh.filter(isReady).length + old.filter(isReady).length
  const isDone = fresh.length === replicas && old.length === 0 && available >= replicas
  setStatus(cluster, 'deployments', deployment, {
    observedGeneration: deployment.metadata.generation ?? 1,
    replicas: alive.length,
    updatedReplicas: fresh.length,
    readyReplicas: available,
    availableReplicas: available,
    unavailableReplicas: Math.max(replicas - available, 0),
    conditions: [
      available >= replicas - spare
        ? condition('Available', 'True', 'MinimumReplicasAvailable', 'Deployment has minimum availability.')
        : condition(
            'Available',
            'False',
            'MinimumReplicasUnavailable',
            'Deployment does not have minimum availability.',
          ),
      isDone
        ? condition('Progressing', 'True', 'NewReplicaSetAvailable', 'All pods are up to date and available.')
        : condition('Progressing', 'True', 'ReplicaSetUpdated', 'Pods are being brought up to date.'),
    ],
  })
}

function settleDaemonSet(cluster: Cluster, set: DaemonSet, all: Pod[], nodes: string[]): void {
  if (set.metadata.deletionTimestamp) return
  const { template, updateStrategy } = set.spec
  const hash = hashOf(template)
  const own = all.filter((pod) => isOwned(pod, set) && !isOver(pod))
  const surge = share(updateStrategy?.rollingUpdate?.maxSurge ?? 0, nodes.length, Math.ceil)
  const spare = share(updateStrategy?.rollingUpdate?.maxUnavailable ?? 1, nodes.length, Math.ceil)
  const isCurrent = (pod: Pod) => pod.metadata.labels?.[hashLabel] === hash
  const places = nodes.map((node) => {
    const here = own.filter((pod) => pod.spec.nodeName === node)
    const alive = here.filter((pod) => !pod.metadata.deletionTimestamp)
    return { node, here, fresh: alive.filter(isCurrent), old: alive.filter((pod) => !isCurrent(pod)) }
  })
  let surging = places.filter(({ fresh, old }) => fresh.length > 0 && old.length > 0).length
  let unavailable = places.filter(({ fresh, old }) => ![...fresh, ...old].some(isReady)).length
  for (const { node, here, fresh, old } of places) {
    // As the real controller does, a node's pod is replaced when it is gone, not when it begins to end.
    if (here.length === 0) cluster.create('pods', podFor(set, template, hash, node))
    const [outdated] = old
    if (!outdated) continue
    if (fresh.some(isReady) || !isReady(outdated)) cluster.remove('pods', outdated.metadata)
    else if (fresh.length === 0 && surging < surge) {
      surging++
      cluster.create('pods', podFor(set, template, hash, node))
    } else if (surge === 0 && unavailable < spare) {
      unavailable++
      cluster.remove('pods', outdated.metadata)
    }
  }
  const count = (holds: (place: (typeof places)[number]) => boolean) => places.filter(holds).length
  const numberReady = count(({ fresh, old }) => [...fresh, ...old].some(isReady))
  setStatus(cluster, 'daemonsets', set, {
    observedGeneration: set.metadata.generation ?? 1,
    currentNumberScheduled: count(({ fresh, old }) => fresh.length + old.length > 0),
    desiredNumberScheduled: nodes.length,
    numberMisscheduled: 0,
    numberReady,
    numberAvailable: numberReady,
    numberUnavailable: nodes.length - numberReady,
    updatedNumberScheduled: count(({ fresh }) => fresh.length > 0),
  })
}

/** Gives each pod that has no node the one with the fewest pods of the same owner, then the fewest in all. */
function schedule(cluster: Cluster, nodes: string[]): void {
  const pods = cluster.list<Pod>('pods').filter((pod) => !isOver(pod) && !pod.metadata.deletionTimestamp)
  const owner = (pod: Pod) => pod.metadata.ownerReferences?.[0]?.uid
  const placed = pods.filter((pod) => pod.spec.nodeName)
  for (const pod of pods) {
    if (pod.spec.nodeName || nodes.length === 0) continue
    const load = (node: string) => {
      const here = placed.filter((one) => one.spec.nodeName === node)
      return here.filter((one) => owner(one) === owner(pod)).length * 1000 + here.length
    }
    const nodeName = nodes.reduce((best, node) => (load(node) < load(best) ? node : best))
    const bound = { ...pod, spec: { ...pod.spec, nodeName } }
    placed.push(bound)
    cluster.update('pods', bound)
  }
}

function podFor(owner: Deployment | DaemonSet, template: PodTemplate, hash: string, node?: string): object {
  const { name, namespace, uid } = owner.metadata
  const generated = owner.kind === 'Deployment' ? `${name}-${hash}` : name
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${generated}-${letters(5)}`,
      generateName: `${generated}-`,
      namespace,
      labels: { ...template.metadata?.labels, [hashLabel]: hash },
      ...(template.metadata?.annotations ? { annotations: template.metadata.annotations } : {}),
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: owner.kind, name, uid, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: {
      ...template.spec,
      serviceAccountName: template.spec.serviceAccountName ?? 'default',
      ...(node ? { nodeName: node } : {}),
    },
  }
}

/** Letters and digits as Kubernetes draws them: no vowels, so that no words come out. */
function letters(count: number): string {
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789'
  return Array.from({ length: count }, () => alphabet[randomInt(alphabet.length)]).join('')
}

function hashOf(template: PodTemplate): string {
  // The order of fields depends on who wrote the template last, and means nothing.
  const canonical = JSON.stringify(template, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(sorted(value)) : value,
  )
  return createHash('sha256').update(canonical).digest('hex').slice(0, 10)
}

function isOwned(pod: Pod, owner: Deployment | DaemonSet): boolean {
  return pod.metadata.ownerReferences?.some(({ uid }) => uid === owner.metadata.uid) ?? false
}

/** Pods in the order in which they go: those that don't serve yet first, then the newest. */
function leastWanted(pods: Pod[]): Pod[] {
  const age = (pod: Pod) => Date.parse(pod.metadata.creationTimestamp ?? '') || 0
  return [...pods].sort((a, b) => Number(isReady(a)) - Number(isReady(b)) || age(b) - age(a))
}

/** A number or a percentage of the replicas. */
function share(amount: number | string, replicas: number, round: (value: number) => number): number {
  if (typeof amount === 'number') return amount
  return round((Number.parseFloat(amount) / 100) * replicas)
}

function condition(type: string, status: Condition['status'], reason: string, message: string): Condition {
  return { type, status, reason, message }
}

function setStatus(
  cluster: Cluster,
  resource: Resource,
  owner: Deployment | DaemonSet,
  wanted: { conditions?: Condition[]; [field: string]: unknown },
): void {
  const before = owner.status as { conditions?: Condition[] } | undefined
  const now = new Date().toISOString()
  const conditions = wanted.conditions?.map((one) => {
    const old = before?.conditions?.find(({ type }) => type === one.type)
    const isSame = old?.status === one.status && old.reason === one.reason
    return isSame ? old : { ...one, lastUpdateTime: now, lastTransitionTime: now }
  })
  const status = { ...wanted, ...(conditions ? { conditions } : {}) }
  if (JSON.stringify(sorted(status)) !== JSON.stringify(sorted(before ?? {}))) {
    cluster.setStatus(resource, { ...owner, status } as Deployment)
  }
}

/** The fields of an object by name. */
function sorted(status: object): [string, unknown][] {
  return Object.entries(status).sort(([a], [b]) => (a < b ? -1 : 1))
}
