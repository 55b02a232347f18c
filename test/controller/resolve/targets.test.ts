// TrafficTargets: what they permit, and that what is broken permits nothing.

import { expect } from 'chai'
import type { AccessRule, RouteMatch } from '../../../controller/contract/resources.ts'
import type { Problem } from '../../../controller/resolve/problem.ts'
import { passOf, said, worldOf } from '../../support/world.ts'

const ground = `
{apiVersion: v1, kind: ServiceAccount, metadata: {name: dest}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web}}
---
{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {name: g}, spec: {matches: [{name: a, pathRegex: /a}, {name: b, pathRegex: /b}, {name: bad, pathRegex: (}]}}
---
{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: all}, spec: {matches: {}}}
---
{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: p1}, spec: {matches: {ports: [1]}}}
---
{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: p23}, spec: {matches: {ports: [3, "2", 3]}}}
---
{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: wrong}, spec: {matches: {ports: 80}}}
---
{apiVersion: specs.smi-spec.io/v1alpha4, kind: UDPRoute, metadata: {name: udp}, spec: {matches: {ports: [8301]}}}`

/** Rules of the account `shop/dest`; null if it is not enforced. */
function rulesOf(...documents: string[]): { rules: AccessRule[] | null; problems: Problem[] } {
  const { translation } = passOf(worldOf([ground, ...documents].join('\n---\n')))
  const found = translation.common.find(({ resource }) => resource.kind === 'access' && resource.name === 'shop/dest')
  return {
    rules: found?.resource.kind === 'access' ? found.resource.rules : null,
    problems: translation.problems.filter(({ object }) => object.kind === 'TrafficTarget'),
  }
}

function target(rules: string, spec = '', version = 'v1alpha3'): string {
  const destination = spec.includes('destination') ? '' : 'destination: {kind: ServiceAccount, name: dest}, '
  const sources = spec.includes('sources') ? '' : 'sources: [{kind: ServiceAccount, name: web}], '
  return `{apiVersion: access.smi-spec.io/${version}, kind: TrafficTarget, metadata: {name: t}, spec: {${destination}${sources}${spec} rules: ${rules}}}`
}

const names = (matches: RouteMatch[] | null | undefined) => matches?.map(({ name }) => name)

describe('TrafficTargets', () => {
  it('unites the ports of several TCPRoutes', () => {
    const { rules } = rulesOf(target('[{kind: TCPRoute, name: p1}, {kind: TCPRoute, name: p23}]'))
    expect(rules?.[0]?.ports).to.deep.equal([1, 2, 3])
    expect(rulesOf(target('[{kind: TCPRoute, name: p1}, {kind: TCPRoute, name: all}]')).rules?.[0]?.ports).to.equal(
      null,
    )
  })

  it('permits no port by a TCPRoute that is missing or broken', () => {
    for (const name of ['gone', 'wrong']) {
      expect(rulesOf(target(`[{kind: TCPRoute, name: ${name}}]`)).rules?.[0], name)
        .to.include({ http: null })
        .and.to.have.deep.property('ports', [])
    }
  })

  it('ANDs ports and routes, and unites the matches of several groups', () => {
    const { rules } = rulesOf(
      target(
        '[{kind: TCPRoute, name: p1}, {kind: HTTPRouteGroup, name: g, matches: [a]}, {kind: HTTPRouteGroup, name: g, matches: [b]}]',
      ),
    )
    expect(rules?.[0]?.ports).to.deep.equal([1])
    expect(names(rules?.[0]?.http)).to.deep.equal(['a', 'b'])
  })

  it('takes a rule without matches for all of the group, and an empty list too', () => {
    for (const matches of ['', ', matches: []', ', matches: null']) {
      expect(names(rulesOf(target(`[{kind: HTTPRouteGroup, name: g${matches}}]`)).rules?.[0]?.http)).to.deep.equal([
        'a',
        'b',
      ])
    }
  })

  it('permits nothing by a group that is missing, a match that is unknown or broken', () => {
    for (const rule of [
      '{kind: HTTPRouteGroup, name: gone}',
      '{kind: HTTPRouteGroup, name: g, matches: [a, no]}',
      '{kind: HTTPRouteGroup, name: g, matches: [bad]}',
      '{kind: HTTPRouteGroup, name: g, matches: a}',
    ]) {
      expect(rulesOf(target(`[${rule}]`)).rules?.[0]?.http, rule).to.deep.equal([])
      // Not even where a TCPRoute stands beside it.
      expect(rulesOf(target(`[{kind: TCPRoute, name: all}, ${rule}]`)).rules?.[0]?.http, rule).to.deep.equal([])
    }
  })

  it('enforces the account with no rule at all where nothing can be understood', () => {
    for (const rules of [
      '[]',
      'null',
      'x',
      '[5]',
      '[{kind: TCPRoute}]',
      '[{kind: TCPRoute, name: all}, {kind: Tcproute, name: all}]',
      '[{kind: UDPRoute, name: udp}]',
      '[{name: all}]',
    ]) {
      expect(rulesOf(target(rules)).rules, rules).to.deep.equal([])
    }
    for (const sources of [
      '[]',
      'null',
      '{}',
      '[{kind: Group, name: web}]',
      '[{kind: ServiceAccount, name: a/b}]',
      '[{kind: ServiceAccount, name: web, namespace: "x/y"}]',
      '[web]',
    ]) {
      expect(rulesOf(target('[{kind: TCPRoute, name: all}]', `sources: ${sources},`)).rules, sources).to.deep.equal([])
    }
  })

  it('says that UDP is not enforced, and permits the TCP beside it', () => {
    const { rules, problems } = rulesOf(target('[{kind: UDPRoute, name: udp}, {kind: TCPRoute, name: p1}]'))
    expect(rules?.[0]?.ports).to.deep.equal([1])
    expect(said(problems)).to.deep.equal(['TrafficTarget t: UdpNotEnforced'])
  })

  it("keeps a destination's port as a restriction, in every version and spelling", () => {
    const on = (port: string, rules: string) =>
      rulesOf(target(rules, `destination: {kind: ServiceAccount, name: dest, port: ${port}},`, 'v1alpha2')).rules?.[0]
    expect(on('9091', '[{kind: HTTPRouteGroup, name: g}]')?.ports).to.deep.equal([9091])
    expect(on('"9091"', '[{kind: TCPRoute, name: all}]')?.ports).to.deep.equal([9091])
    expect(on('2', '[{kind: TCPRoute, name: p23}]')?.ports).to.deep.equal([2])
    expect(on('9', '[{kind: TCPRoute, name: p23}]')?.ports).to.deep.equal([])
    for (const wrong of ['0', '65536', 'http', '"80x"', '[]', '1.5'])
      expect(on(wrong, '[{kind: TCPRoute, name: all}]')?.ports, wrong).to.deep.equal([])
  })

  it('defaults namespaces to its own', () => {
    const { rules } = rulesOf(
      target(
        '[{kind: TCPRoute, name: all}]',
        'sources: [{kind: ServiceAccount, name: web}, {kind: ServiceAccount, name: web, namespace: ""}, {kind: ServiceAccount, name: x, namespace: bank}],',
      ),
    )
    expect(rules?.[0]?.sources).to.deep.equal(['bank/x', 'shop/web'])
  })

  it('ignores a target for an account of another namespace, for better and for worse', () => {
    const foreign =
      '{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: t, namespace: bank}, spec: {destination: {kind: ServiceAccount, name: dest, namespace: shop}, sources: [{kind: ServiceAccount, name: x}], rules: []}}'
    const { rules, problems } = rulesOf(foreign)
    expect(rules).to.equal(null)
    expect(said(problems)).to.include('TrafficTarget t: DestinationInvalid')
  })

  it('enforces nothing where no account is named', () => {
    for (const destination of [
      'null',
      '{}',
      'x',
      '{kind: ServiceAccount}',
      '{kind: ServiceAccount, name: ""}',
      '{kind: ServiceAccount, name: "a/b"}',
      '{kind: IdentityBinding, name: dest}',
    ]) {
      const { rules, problems } = rulesOf(target('[{kind: TCPRoute, name: all}]', `destination: ${destination},`))
      expect(rules, destination).to.equal(null)
      expect(problems, destination).to.have.length(1)
    }
  })

  it("unites several targets and doesn't tell whether another namespace's account exists", () => {
    const other = target(
      '[{kind: HTTPRouteGroup, name: g, matches: [b]}]',
      'sources: [{kind: ServiceAccount, name: unknown, namespace: bank}],',
    ).replace('name: t}', 'name: u}')
    const { rules, problems } = rulesOf(target('[{kind: HTTPRouteGroup, name: g, matches: [a]}]'), other)
    expect(rules?.map(({ name, sources }) => [name, sources])).to.deep.equal([
      ['shop/t', ['shop/web']],
      ['shop/u', ['bank/unknown']],
    ])
    expect(problems).to.deep.equal([])
  })

  it('warns of accounts of its own namespace that do not exist', () => {
    const { problems } = rulesOf(
      target('[{kind: TCPRoute, name: all}]', 'sources: [{kind: ServiceAccount, name: nobody}],'),
    )
    expect(said(problems)).to.deep.equal(['TrafficTarget t: AccountNotFound'])
  })

  it('has rules named like routes of its own kind alone', () => {
    expect(rulesOf(target('[{kind: TCPRoute, name: udp}]')).rules?.[0]?.ports).to.deep.equal([])
  })
})
