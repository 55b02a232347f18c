// TrafficSplits as people, Flagger and Argo Rollouts write them.

import { expect } from 'chai'
import type { Split } from '../../../controller/contract/resources.ts'
import type { Problem } from '../../../controller/resolve/problem.ts'
import { passOf, said, shop, worldOf } from '../../support/world.ts'

interface Result {
  /** Splits on port 8080 of `root`. */
  splits: Split[]
  problems: Problem[]
}

/** A split in short: `name` of a root with backends `service=weight`. */
function split(name: string, backends: string[], more = '', version = 'v1alpha2', meta = ''): string {
  const list = backends.map((each) => `{service: ${each.split('=')[0]}, weight: ${each.split('=')[1]}}`)
  return `{apiVersion: split.smi-spec.io/${version}, kind: TrafficSplit, metadata: {name: ${name}${meta}}, spec: {service: root, backends: [${list}]${more}}}`
}

const ground = shop({ name: 'root' }, { name: 'a' }, { name: 'b' })

function pass(...documents: string[]): Result {
  const { translation } = passOf(worldOf([ground, ...documents].join('\n---\n')))
  const root = translation.common.find(({ resource }) => resource.kind === 'service' && resource.name === 'shop/root')
  const ports = root?.resource.kind === 'service' ? root.resource.ports : []
  return { splits: ports[0]?.splits ?? [], problems: translation.problems }
}

describe('splits', () => {
  it('goes through the life that Flagger gives it', () => {
    for (const [canary, primary] of [
      [0, 100],
      [5, 95],
      [50, 50],
      [100, 0],
      [0, 100],
    ]) {
      const { splits, problems } = pass(split('root', [`a=${canary}`, `b=${primary}`]))
      expect(splits[0]?.backends).to.deep.equal([
        { service: 'shop/a', weight: canary! * 1000 },
        { service: 'shop/b', weight: primary! * 1000 },
      ])
      expect(problems).to.deep.equal([])
    }
  })

  it("reads what Argo Rollouts writes: strings, the root among the backends, an experiment's third", () => {
    const { splits, problems } = pass(split('r', ['a="5"', 'b="5"', 'root="90"'], '', 'v1alpha1'))
    expect(splits[0]?.backends).to.deep.equal([
      { service: 'shop/a', weight: 5000 },
      { service: 'shop/b', weight: 5000 },
      { service: 'shop/root', weight: 90_000 },
    ])
    expect(problems).to.deep.equal([])
  })

  it('returns to the root when the split is gone', () => {
    expect(pass(split('s', ['a=1'])).splits).to.have.length(1)
    expect(pass().splits).to.deep.equal([])
  })

  it('lets the other split of a root in when the older goes', () => {
    const older = split('older', ['a=1'], '', 'v1alpha2', ', creationTimestamp: "2026-01-01T00:00:00Z"')
    const younger = split('younger', ['b=1'])
    expect(pass(younger, older).splits.map(({ name }) => name)).to.deep.equal(['shop/older'])
    expect(pass(younger).splits.map(({ name }) => name)).to.deep.equal(['shop/younger'])
  })

  it('orders splits of one age by name', () => {
    expect(pass(split('y', ['a=1']), split('x', ['b=1'])).splits.map(({ name }) => name)).to.deep.equal(['shop/x'])
  })

  it('tries those with matches first, oldest first, and all of them', () => {
    const group =
      '{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {name: g}, spec: {matches: [{name: m}]}}'
    const matches = ', matches: [{kind: HTTPRouteGroup, name: g}]'
    const old = ', creationTimestamp: "2026-01-01T00:00:00Z"'
    const { splits } = pass(
      group,
      split('plain', ['a=1'], '', 'v1alpha4', old),
      split('young', ['a=1'], matches, 'v1alpha4'),
      split('old', ['a=1'], matches, 'v1alpha3', old),
    )
    expect(splits.map(({ name }) => name)).to.deep.equal(['shop/old', 'shop/young', 'shop/plain'])
  })

  it('takes an empty list of matches for none, and a broken one for never', () => {
    expect(pass(split('s', ['a=1'], ', matches: []')).splits[0]?.matches).to.equal(null)
    for (const matches of [
      'x',
      '{}',
      '[x]',
      '[{kind: TCPRoute, name: t}]',
      '[{kind: HTTPRouteGroup}]',
      '[{kind: HTTPRouteGroup, name: gone}]',
    ]) {
      const { splits, problems } = pass(split('s', ['a=1'], `, matches: ${matches}`))
      expect(splits[0]?.matches, matches).to.deep.equal([])
      expect(problems, matches).to.have.length(1)
    }
  })

  it('answers 503 rather than falling back when nothing is left', () => {
    for (const backends of [['a=0'], ['gone=100'], ['a=0', 'gone=100'], ['a=-5'], ['a=heavy'], ['far.bank=1']]) {
      const { splits, problems } = pass(split('s', backends))
      expect(
        splits[0]?.backends.reduce((sum, { weight }) => sum + weight, 0),
        String(backends),
      ).to.equal(0)
      expect(said(problems)).to.include('TrafficSplit s: NoBackendLeft')
    }
  })

  it('adds up a backend that is listed twice', () => {
    const { splits, problems } = pass(split('s', ['a=1', 'b=1', 'a.shop=2']))
    expect(splits[0]?.backends).to.deep.equal([
      { service: 'shop/a', weight: 3000 },
      { service: 'shop/b', weight: 1000 },
    ])
    expect(said(problems)).to.deep.equal(['TrafficSplit s: BackendDuplicated'])
  })

  it('divides opaque ports too, but never by matches', () => {
    const tcp = shop({ name: 'root', ports: ['tcp-x:5000'] }, { name: 'a', ports: ['tcp-x:5000'] })
    const plain = passOf(worldOf(`${tcp}\n---\n${split('s', ['a=1'])}`))
    expect(plain.topology.services.find(({ key }) => key === 'shop/root')?.ports[0]?.splits).to.have.length(1)
    const group =
      '{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {name: g}, spec: {matches: [{name: m}]}}'
    const matched = passOf(
      worldOf([tcp, group, split('s', ['a=1'], ', matches: [{kind: HTTPRouteGroup, name: g}]')].join('\n---\n')),
    )
    expect(matched.topology.services.find(({ key }) => key === 'shop/root')?.ports[0]?.splits).to.deep.equal([])
    expect(said(matched.translation.problems)).to.deep.equal(['TrafficSplit s: MatchesNeedHttp'])
  })

  it('has no effect on a Service outside of the mesh, and says so', () => {
    const out = ground.replace('enabled', 'disabled')
    const { translation, topology } = passOf(worldOf(`${out}\n---\n${split('s', ['a=1'])}`))
    expect(said(translation.problems)).to.deep.equal(['TrafficSplit s: NotEnrolled'])
    expect(translation.common.map(({ resource }) => resource.kind)).to.deep.equal(['mesh'])
    expect(topology.splits[0]?.state).to.equal('active')
  })

  it('survives every shape of garbage', () => {
    for (const spec of [
      'null',
      '5',
      '[]',
      '{}',
      '{service: [], backends: {}}',
      '{service: root, backends: [null, 5, [], {}, {service: {}, weight: []}]}',
    ]) {
      const { problems } = pass(
        `{apiVersion: split.smi-spec.io/v1alpha4, kind: TrafficSplit, metadata: {name: s}, spec: ${spec}}`,
      )
      expect(problems.length, spec).to.be.above(0)
    }
    expect(pass('{apiVersion: split.smi-spec.io/v1alpha4, kind: TrafficSplit, metadata: {name: s}}').problems).to.not.be
      .empty
  })
})
