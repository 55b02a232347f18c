// Pods: who has which address, what runs on which node, where the agents are. A pod that ended keeps its identity until its
// address is used again; of two pods with one address the younger has it. Host-network pods have no address of their own.

import type { Key } from '../contract/resources.ts'
import { keyOf, type Pod } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import { type Addresses, canonicalAddress, pairAddresses } from './addresses.ts'
import { toKey } from './names.ts'
import type { Settings } from './settings.ts'
import type { MachineNode, PodNode } from './topology.ts'

/** A pod with an address. */
export interface Seat extends PodNode {
  node: string
  namespace: string
  /** All its addresses, the first one included. */
  addresses: string[]
}

export interface Pods {
  /** Who has an address. */
  byAddress: ReadonlyMap<string, Seat>
  /** Whether a pod is known with all that routing to it takes: endpoints may run ahead of their pod. */
  isAddressed(key: Key): boolean
  /** Sorted by name; nodes without pods and agent are listed too. */
  nodes: MachineNode[]
}

/** What was read from a pod, as long as the API server sends nothing newer. */
const remembered = new WeakMap<Pod, Seat | null>()

/** Indexes all pods of the world. */
export function indexPods(world: World, settings: Settings): Pods {
  const byAddress = new Map<string, Seat>()
  const agents = new Map<string, Pod>()
  for (const pod of world.pods.values()) {
    if (isAgent(pod, settings)) {
      const other = agents.get(pod.spec.nodeName ?? '')
      if (isReady(pod) && (!other || isBetterAgent(pod, other))) agents.set(pod.spec.nodeName ?? '', pod)
    }
    const seat = seatOf(pod)
    if (seat === null) continue
    for (const address of seat.addresses) {
      const other = byAddress.get(address)
      if (!other || isYounger(seat, other)) byAddress.set(address, seat)
    }
  }
  const isAddressed = (key: Key): boolean => {
    const pod = world.pods.get(key)
    return pod !== undefined && (pod.spec.hostNetwork === true || seatOf(pod) !== null)
  }
  return { byAddress, isAddressed, nodes: groupByNode(world, settings, byAddress, agents) }
}

function groupByNode(
  world: World,
  settings: Settings,
  byAddress: ReadonlyMap<string, Seat>,
  agents: ReadonlyMap<string, Pod>,
): MachineNode[] {
  const nodes = new Map<string, MachineNode>()
  const nodeNamed = (name: string): MachineNode => {
    const node = nodes.get(name) ?? { name, agent: '', pods: [] }
    nodes.set(name, node)
    return node
  }
  for (const name of world.nodes.keys()) nodeNamed(name)
  for (const [name, pod] of agents) nodeNamed(name).agent = addressesOf(pod).address
  for (const [address, seat] of byAddress) {
    // A pod with two addresses is listed once.
    if (address !== seat.address || isMeshPod(seat, world, settings)) continue
    nodeNamed(seat.node).pods.push(podNode(seat, byAddress))
  }
  for (const node of nodes.values()) node.pods.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  return [...nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

function podNode(seat: Seat, byAddress: ReadonlyMap<string, Seat>): PodNode {
  const { uid, key, address, secondAddress, account, workload, isLive, startedAt } = seat
  // The other one may have come to be a younger pod's.
  const isOwn = secondAddress !== undefined && byAddress.get(secondAddress) === seat
  return { uid, key, address, ...(isOwn ? { secondAddress } : {}), account, workload, isLive, startedAt }
}

/** An agent is not its own caller: a request from its address is a loop. */
function isMeshPod(seat: Seat, world: World, settings: Settings): boolean {
  const pod = seat.namespace === settings.namespace ? world.pods.get(seat.key) : undefined
  return pod !== undefined && isAgent(pod, settings)
}

function isAgent(pod: Pod, settings: Settings): boolean {
  const { namespace, labels = {} } = pod.metadata
  return (
    namespace === settings.namespace &&
    Object.entries(settings.agentSelector).every(([label, value]) => labels[label] === value)
  )
}

function isReady(pod: Pod): boolean {
  const { status } = pod
  if (addressesOf(pod).address === '' || !pod.spec.nodeName || hasEnded(pod)) return false
  return status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false
}

/** While one agent replaces another on its node: the one that stays, else the younger. */
function isBetterAgent(pod: Pod, other: Pod): boolean {
  const leaves = pod.metadata.deletionTimestamp !== undefined
  const otherLeaves = other.metadata.deletionTimestamp !== undefined
  if (leaves !== otherLeaves) return otherLeaves
  const age = startOf(pod) - startOf(other)
  return age > 0 || (age === 0 && pod.metadata.uid > other.metadata.uid)
}

function hasEnded(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

function startOf(pod: Pod): number {
  return Date.parse(pod.status?.startTime ?? pod.metadata.creationTimestamp ?? '') || 0
}

function seatOf(pod: Pod): Seat | null {
  const known = remembered.get(pod)
  if (known !== undefined) return known
  const seat = readSeat(pod)
  remembered.set(pod, seat)
  return seat
}

function readSeat(pod: Pod): Seat | null {
  const { metadata, spec, status } = pod
  if (spec.hostNetwork || !spec.nodeName || !status?.podIP) return null
  const texts = [status.podIP, ...(status.podIPs ?? []).map(({ ip }) => ip)]
  const addresses = [...new Set(texts.map(canonicalAddress))].filter((address) => address !== null)
  const namespace = metadata.namespace ?? ''
  return {
    uid: metadata.uid,
    key: keyOf(pod),
    namespace,
    node: spec.nodeName,
    ...addressesOf(pod),
    addresses,
    account: toKey(namespace, spec.serviceAccountName || 'default'),
    workload: workloadOf(pod),
    isLive: !hasEnded(pod),
    startedAt: startOf(pod),
  }
}

function addressesOf({ status }: Pod): Addresses {
  return pairAddresses([status?.podIP, ...(status?.podIPs ?? []).map(({ ip }) => ip)])
}

/** A live pod has an address before an ended one, then the one that started later. */
function isYounger(seat: Seat, other: Seat): boolean {
  if (seat.isLive !== other.isLive) return seat.isLive
  return seat.startedAt > other.startedAt || (seat.startedAt === other.startedAt && seat.uid > other.uid)
}

/** The Deployment (its ReplicaSet's name without the hash) or whatever else controls the pod; '' if nothing does. */
function workloadOf(pod: Pod): string {
  const { ownerReferences = [], labels = {} } = pod.metadata
  const owner = ownerReferences.find(({ controller }) => controller)
  if (!owner) return ''
  if (owner.kind !== 'ReplicaSet') return owner.name
  const hash = labels['rollouts-pod-template-hash'] ?? labels['pod-template-hash']
  return hash !== undefined && owner.name.endsWith(`-${hash}`) ? owner.name.slice(0, -hash.length - 1) : owner.name
}
