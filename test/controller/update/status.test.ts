// Writing the conditions of SMI objects: what differs, where the CRD has a status, and nothing but the status.

import { expect } from 'chai'
import { pino } from 'pino'
import { systemClock } from '../../../controller/clock.ts'
import type { Served } from '../../../controller/observe/discovery.ts'
import type { SmiObject } from '../../../controller/observe/objects.ts'
import type { World } from '../../../controller/observe/world.ts'
import type { SmiPart, Verdict } from '../../../controller/update/conditions.ts'
import { mergeConditions, openStatuses, type Statuses } from '../../../controller/update/status.ts'
import { type FakeServer, json, refuse, startFakeServer } from '../../support/fakeserver.ts'
import { passOf, shop, worldOf } from '../../support/world.ts'

const wall = Date.UTC(2026, 0, 1)
const verdicts: Verdict[] = [
  { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'm' },
  { type: 'Enforced', status: 'False', reason: 'NotEnrolled', message: 'n' },
]

function object(status?: unknown, generation = 3): SmiObject {
  const metadata = { name: 'a', namespace: 'shop', uid: 'u', resourceVersion: '1', generation }
  return {
    apiVersion: 'split.smi-spec.io/v1alpha4',
    kind: 'TrafficSplit',
    metadata,
    ...(status === undefined ? {} : { status }),
  }
}

describe('conditions of an object', () => {
  it('carry the generation that was judged and the time when they turned', () => {
    expect(mergeConditions(object(), verdicts, wall)!.conditions).to.deep.equal(
      verdicts.map((each) => ({ ...each, observedGeneration: 3, lastTransitionTime: '2026-01-01T00:00:00Z' })),
    )
  })

  it('are written once for each generation', () => {
    const status = mergeConditions(object(), verdicts, wall)!
    expect(mergeConditions(object(status), verdicts, wall + 5000)).to.equal(null)
    expect(mergeConditions(object(status, 4), verdicts, wall)!.conditions[0]!.observedGeneration).to.equal(4)
  })

  it('keep the time of what did not turn, and the conditions of others', () => {
    const held = mergeConditions(object(), verdicts, wall)!
    const foreign = { type: 'Promoted', status: 'True' }
    const turned = verdicts.map((each) => ({ ...each, status: 'True' as const, reason: 'Other' }))
    const next = mergeConditions(object({ conditions: [foreign, ...held.conditions] }), turned, wall + 60_000)!
    expect(next.conditions.map(({ type, lastTransitionTime }) => [type, lastTransitionTime])).to.deep.equal([
      ['Promoted', undefined],
      ['Accepted', '2026-01-01T00:00:00Z'],
      ['Enforced', '2026-01-01T00:01:00Z'],
    ])
  })

  it('survive a status that somebody else left in any shape', () => {
    for (const status of [null, 'x', [], { conditions: 'x' }, { conditions: [null, 1] }]) {
      expect(mergeConditions(object(status), verdicts, wall)!.conditions, JSON.stringify(status)).to.have.length(2)
    }
  })
})

describe('statuses', () => {
  let server: FakeServer
  let statuses: Statuses
  let written: { path: string; body: Record<string, unknown> }[]
  let served: Partial<Record<SmiPart, Served>>
  /** Status of the answer by the last part of the path's name; 200 otherwise. */
  let refusals: Map<string, number>
  let isDropping: boolean
  let world: World

  const manifests = (...more: string[]) =>
    worldOf(
      [
        shop({ name: 'root' }, { name: 'a' }),
        '{apiVersion: split.smi-spec.io/v1alpha4, kind: TrafficSplit, metadata: {name: s, generation: 7}, spec: {service: root, backends: [{service: a, weight: 1}]}}',
        '{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: t}, spec: {destination: {kind: ServiceAccount, name: a}, sources: [{kind: ServiceAccount, name: root}], rules: [{kind: TCPRoute, name: r}, {kind: HTTPRouteGroup, name: g}]}}',
        '{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: r}}',
        '{apiVersion: specs.smi-spec.io/v1alpha4, kind: UDPRoute, metadata: {name: u}}',
        '{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {name: g}, spec: {matches: [{name: m}]}}',
        ...more,
      ].join('\n---\n'),
    )

  beforeEach(async () => {
    written = []
    refusals = new Map()
    isDropping = false
    world = manifests()
    served = Object.fromEntries(
      ['splits', 'targets', 'routeGroups', 'tcpRoutes', 'udpRoutes'].map((part) => [
        part,
        { version: 'v1alpha4', hasStatus: true },
      ]),
    )
    server = await startFakeServer(({ url, body }, response) => {
      const path = url.pathname
      written.push({ path, body: body as Record<string, unknown> })
      const refusal = refusals.get(path.split('/').at(-2)!)
      if (refusal !== undefined) return refuse(response, refusal, 'Refused')
      const { status } = body as { status: object }
      json(response, 200, { ...object(), ...(isDropping ? {} : { status }), metadata: { generation: 7 } })
    })
    statuses = openStatuses({
      api: server.api,
      clock: systemClock,
      log: pino({ level: 'silent' }),
      served: (part) => served[part],
      counted: () => {},
    })
  })

  afterEach(() => server.close())

  const write = () => statuses.write({ topology: passOf(world).topology, world }, () => true)
  const names = () => written.map(({ path }) => path.split('/').at(-2)).sort()

  it('are written of every kind, and nothing but the status, in the version that was read', async () => {
    expect(await write()).to.equal(0)
    expect(names()).to.deep.equal(['g', 'r', 's', 't', 'u'])
    const split = written.find(({ path }) => path.includes('trafficsplits'))!
    expect(split.path).to.equal('/apis/split.smi-spec.io/v1alpha4/namespaces/shop/trafficsplits/s/status')
    expect(split.body).to.have.all.keys('metadata', 'status')
    expect(split.body['metadata']).to.deep.equal({ resourceVersion: '1' })
    const { conditions } = split.body['status'] as { conditions: { type: string; observedGeneration: number }[] }
    expect(conditions.map(({ type, observedGeneration }) => [type, observedGeneration])).to.deep.equal([
      ['Accepted', 7],
      ['ResolvedRefs', 7],
      ['Enforced', 7],
    ])
  })

  it('are written in the version that is served, and not where there is no status', async () => {
    served = { splits: { version: 'v1alpha1', hasStatus: true }, targets: { version: 'v1alpha2', hasStatus: false } }
    await write()
    expect(written.map(({ path }) => path)).to.deep.equal([
      '/apis/split.smi-spec.io/v1alpha1/namespaces/shop/trafficsplits/s/status',
    ])
  })

  it('are given up for a kind whose schema drops them', async () => {
    isDropping = true
    await write()
    const first = written.length
    await write()
    expect(written.length).to.equal(first)
    served = { splits: { version: 'v1alpha3', hasStatus: true } }
    isDropping = false
    await write()
    expect(written.at(-1)!.path).to.contain('v1alpha3')
  })

  it('are left to the next pass where the object changed or went meanwhile', async () => {
    refusals.set('s', 409).set('t', 404)
    expect(await write()).to.equal(0)
    refusals.clear()
    written = []
    await write()
    expect(names()).to.include.members(['s', 't'])
  })

  it('are not written again of an object that its CRD does not take, until it changes', async () => {
    refusals.set('s', 422)
    expect(await write()).to.equal(0)
    written = []
    await write()
    expect(names()).not.to.include('s')
    const held = world.splits.get('shop/s')!
    const next = { ...held, metadata: { ...held.metadata, resourceVersion: '2' } }
    world = { ...world, splits: new Map([['shop/s', next]]) }
    await write()
    expect(names()).to.include('s')
  })

  it('hold up no other, and are worth another try, where they are refused', async () => {
    refusals.set('t', 403)
    expect(await write()).to.equal(1)
    expect(names()).to.deep.equal(['g', 'r', 's', 't', 'u'])
  })

  it('are not written without leave', async () => {
    await statuses.write({ topology: passOf(world).topology, world }, () => false)
    expect(written).to.deep.equal([])
  })
})
