// One pod as the mesh sees it: its addresses, its account, what it belongs to. A pod that ended keeps its identity until its
// address is used again; of two pods with one address the younger has it. Host-network pods have no address of their own.

import { keyOf, type Pod } from '../observe/objects.ts'
import { type Addresses, canonicalAddress, pairAddresses } from './addresses.ts'
import { toKey } from './names.ts'
import type { PodNode } from './topology.ts'

/** A pod with an address. */
export interface Seat extends PodNode {
  node: string
  namespace: string
  /** All its addresses, the first one included. */
  addresses: string[]
}

/** What was read from a pod, as long as the API server sends nothing newer. */
const remembered = new WeakMap<Pod, Seat | null>()

export function hasEnded(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

export function startOf(pod: Pod): number {
  return Date.parse(pod.status?.startTime ?? pod.metadata.creationTimestamp ?? '') || 0
}

/** @returns null for a pod without an address of its own; the same Seat for a pod that says the same as the one before it */
export function seatOf(pod: Pod, before?: Pod): Seat | null {
  const known = remembered.get(pod)
  if (known !== undefined) return known
  const read = readSeat(pod)
  const held = before === undefined ? null : (remembered.get(before) ?? null)
  const seat = read !== null && held !== null && isEqual(read, held) ? held : read
  remembered.set(pod, seat)
  return seat
}

function isEqual(a: Seat, b: Seat): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
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

export function addressesOf({ status }: Pod): Addresses {
  return pairAddresses([status?.podIP, ...(status?.podIPs ?? []).map(({ ip }) => ip)])
}

/** A live pod has an address before an ended one, then the one that started later. */
export function isYounger(seat: Seat, other: Seat): boolean {
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
