// The status of TrafficSplits, where their CRD has the subresource: conditions in the manner of the Gateway API, so that
// `kubectl wait --for=condition=Accepted` and dashboards can read them.

import type { SmiObject } from '../observe/objects.ts'
import { referenceReasons } from '../resolve/problem.ts'
import type { SplitNode } from '../resolve/topology.ts'

export interface Condition {
  type: 'Accepted' | 'ResolvedRefs'
  status: 'True' | 'False'
  reason: string
  message: string
  observedGeneration: number
  /** RFC 3339. */
  lastTransitionTime: string
}

export interface SplitStatus {
  conditions: Condition[]
}

/**
 * What a TrafficSplit's status should be.
 * @returns null if it is so already
 */
export function statusOf(node: SplitNode, object: SmiObject, wall: number): SplitStatus | null {
  const generation = object.metadata.generation ?? 0
  const held = heldConditions(object)
  const now = new Date(wall).toISOString().replace(/\.\d+Z$/, 'Z')
  const wanted = [accepted(node), resolvedRefs(node)]
  const conditions = wanted.map((next): Condition => {
    const before = held.find((each) => each.type === next.type)
    const since = before?.status === next.status ? before.lastTransitionTime : undefined
    return { ...next, observedGeneration: generation, lastTransitionTime: since ?? now }
  })
  const isSame = conditions.every((next) => {
    const before = held.find((each) => each.type === next.type)
    return (
      before?.status === next.status &&
      before.reason === next.reason &&
      before.message === next.message &&
      before.observedGeneration === generation
    )
  })
  // Conditions of other types may be another controller's: they stay.
  const foreign = held.filter((each) => !wanted.some(({ type }) => type === each.type)) as Condition[]
  return isSame ? null : { conditions: [...foreign, ...conditions] }
}

type Verdict = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>

/** Without them an active split divides nothing. */
const rootReasons: ReadonlySet<string> = new Set(['RootNotFound', 'NotEnrolled'])

function accepted(node: SplitNode): Verdict {
  const type = 'Accepted'
  const rootless = node.problems.find(({ reason }) => rootReasons.has(reason))
  if (node.state === 'active' && rootless === undefined) {
    return { type, status: 'True', reason: 'Accepted', message: `divides ${node.root}` }
  }
  const cause = rootless ?? node.problems.find(({ severity }) => severity === 'error') ?? node.problems[0]
  const fallback = node.state === 'superseded' ? 'SplitSuperseded' : 'RootInvalid'
  return { type, status: 'False', reason: cause?.reason ?? fallback, message: cause?.message ?? `is ${node.state}` }
}

function resolvedRefs(node: SplitNode): Verdict {
  const type = 'ResolvedRefs'
  const broken = node.problems.filter(({ reason }) => referenceReasons.has(reason))
  const first = broken[0]
  if (first === undefined) return { type, status: 'True', reason: 'ResolvedRefs', message: 'every name was found' }
  return { type, status: 'False', reason: first.reason, message: broken.map(({ message }) => message).join('; ') }
}

function heldConditions(object: SmiObject): Partial<Condition>[] {
  const status = object['status'] as { conditions?: unknown } | undefined
  const list: unknown[] = Array.isArray(status?.conditions) ? status.conditions : []
  return list.filter((each): each is Partial<Condition> => typeof each === 'object' && each !== null)
}
