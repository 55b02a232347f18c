// The conditions in a TrafficSplit's status.

import { expect } from 'chai'
import type { SmiObject } from '../../../controller/observe/objects.ts'
import type { Problem } from '../../../controller/resolve/problem.ts'
import type { SplitNode } from '../../../controller/resolve/topology.ts'
import { type SplitStatus, statusOf } from '../../../controller/update/status.ts'

const wall = Date.UTC(2026, 0, 1)
const ref = { apiVersion: 'split.smi-spec.io/v1alpha4', kind: 'TrafficSplit', namespace: 'shop', name: 'a', uid: 'u' }

function node(state: SplitNode['state'], ...problems: Problem[]): SplitNode {
  return { key: 'shop/a', ref, state, root: 'shop/reviews', groups: [], matches: null, backends: [], problems }
}

function problem(reason: Problem['reason'], severity: Problem['severity'] = 'error'): Problem {
  return { object: ref, reason, severity, field: 'spec', message: `spec: ${reason}` }
}

function object(status?: unknown, generation = 3): SmiObject {
  const metadata = { name: 'a', namespace: 'shop', uid: 'u', resourceVersion: '1', generation }
  return { apiVersion: ref.apiVersion, kind: 'TrafficSplit', metadata, ...(status === undefined ? {} : { status }) }
}

function summary(status: SplitStatus | null): string[] {
  return (status?.conditions ?? []).map(({ type, status: value, reason }) => `${type}=${value} ${reason}`)
}

describe('status of a split', () => {
  it('says what holds', () => {
    expect(summary(statusOf(node('active'), object(), wall))).to.deep.equal([
      'Accepted=True Accepted',
      'ResolvedRefs=True ResolvedRefs',
    ])
    expect(summary(statusOf(node('active', problem('BackendNotFound', 'warning')), object(), wall))).to.deep.equal([
      'Accepted=True Accepted',
      'ResolvedRefs=False BackendNotFound',
    ])
    expect(summary(statusOf(node('invalid', problem('RootNotFound')), object(), wall))).to.deep.equal([
      'Accepted=False RootNotFound',
      'ResolvedRefs=False RootNotFound',
    ])
    expect(summary(statusOf(node('active', problem('NotEnrolled', 'warning')), object(), wall))).to.deep.equal([
      'Accepted=False NotEnrolled',
      'ResolvedRefs=False NotEnrolled',
    ])
    expect(summary(statusOf(node('superseded', problem('SplitSuperseded')), object(), wall))).to.deep.equal([
      'Accepted=False SplitSuperseded',
      'ResolvedRefs=True ResolvedRefs',
    ])
  })

  it('is written once', () => {
    const status = statusOf(node('active'), object(), wall)!
    expect(status.conditions[0]).to.include({ observedGeneration: 3, lastTransitionTime: '2026-01-01T00:00:00Z' })
    expect(statusOf(node('active'), object(status), wall + 5000)).to.equal(null)
  })

  it('keeps the time of a condition that did not turn, and the conditions of others', () => {
    const held = statusOf(node('active'), object(), wall)!
    const foreign = { type: 'Promoted', status: 'True' }
    const next = statusOf(
      node('active', problem('BackendNotFound')),
      object({ conditions: [foreign, ...held.conditions] }, 4),
      wall + 60_000,
    )!
    expect(next.conditions.map(({ type, lastTransitionTime }) => [type, lastTransitionTime])).to.deep.equal([
      ['Promoted', undefined],
      ['Accepted', '2026-01-01T00:00:00Z'],
      ['ResolvedRefs', '2026-01-01T00:01:00Z'],
    ])
  })

  it('survives a status that somebody else left in any shape', () => {
    for (const status of [null, 'x', [], { conditions: 'x' }, { conditions: [null, 1] }]) {
      expect(summary(statusOf(node('active'), object(status), wall))).to.include('Accepted=True Accepted')
    }
  })
})
