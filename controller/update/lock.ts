// What has to be written so that the locks' NetworkPolicies in the cluster are as they should be. Pure, as plan.ts is for
// Services; what isn't ours is never part of it.

import { isDeepStrictEqual } from 'node:util'
import { keyOf, type NetworkPolicy } from '../observe/objects.ts'
import { isLockOf } from '../resolve/lock.ts'
import type { DesiredPolicy } from '../translate/lock.ts'

export type LockStep = { kind: 'NetworkPolicy'; key: string } & (
  | { verb: 'create'; desired: DesiredPolicy }
  /** `body`: the whole object, with the resourceVersion that it was compared at. */
  | { verb: 'replace'; desired: DesiredPolicy; body: NetworkPolicy }
  | { verb: 'delete'; actual: NetworkPolicy }
)

/** Compares the desired NetworkPolicies with the observed ones: first what closes, then what opens. */
export function planLocks(
  desired: readonly DesiredPolicy[],
  actual: ReadonlyMap<string, NetworkPolicy>,
): { close: LockStep[]; open: LockStep[] } {
  const wanted = new Set(desired.map(keyOf))
  const close = desired.flatMap((each) => stepFor(each, actual.get(keyOf(each))))
  const open: LockStep[] = []
  for (const [key, policy] of actual) {
    if (wanted.has(key) || !isLockOf(policy.metadata) || policy.metadata.deletionTimestamp !== undefined) continue
    open.push({ kind: 'NetworkPolicy', verb: 'delete', key, actual: policy })
  }
  return { close, open }
}

function stepFor(desired: DesiredPolicy, actual: NetworkPolicy | undefined): LockStep[] {
  const key = keyOf(desired)
  if (actual === undefined) return [{ kind: 'NetworkPolicy', verb: 'create', key, desired }]
  // What manifests install for the mesh's own namespace names no Service, and is never ours.
  if (!isLockOf(actual.metadata) || actual.metadata.deletionTimestamp !== undefined) return []
  const { labels: own, ownerReferences } = desired.metadata
  const metadata = { ...actual.metadata, labels: { ...actual.metadata.labels, ...own }, ownerReferences }
  const body: NetworkPolicy = { ...actual, metadata, spec: desired.spec }
  return isDeepStrictEqual(body, actual) ? [] : [{ kind: 'NetworkPolicy', verb: 'replace', key, desired, body }]
}
