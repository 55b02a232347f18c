// What is said of each SMI object: one row a case, from manifests to conditions.

import { expect } from 'chai'
import { judge } from '../../../controller/update/conditions.ts'
import { passOf, shop, worldOf } from '../../support/world.ts'

const ground = shop(
  { name: 'root', ports: [80, 90] },
  { name: 'a', ports: [80, 90] },
  { name: 'half', ports: [80] },
  { name: 'db', ports: ['tcp-x:5000'] },
)

/** `Type=Status Reason` of the conditions of the object `x` of a kind. */
function verdicts(part: string, ...documents: string[]) {
  const { topology } = passOf(worldOf([ground, ...documents].join('\n---\n')))
  const found = judge(topology).find((each) => each.part === part && each.key === 'shop/x')
  if (found === undefined) throw new Error(`${part} has no x`)
  return found.verdicts
}

const said = (part: string, ...documents: string[]) =>
  verdicts(part, ...documents).map(({ status, reason }) => (status === 'True' ? 'yes' : reason))

const split = (fields: string, name = 'x', meta = '') =>
  `{apiVersion: split.smi-spec.io/v1alpha4, kind: TrafficSplit, metadata: {name: ${name}${meta}}, spec: {${fields}}}`
const backend = (...backends: string[]) =>
  `service: root, backends: [${backends.map((each) => `{service: ${each}, weight: 1}`)}]`
const group = (fields: string) =>
  `{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {name: x}, spec: {matches: [{name: m, ${fields}}]}}`
const tcp = (ports: string) =>
  `{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: x}, spec: {matches: {ports: ${ports}}}}`
const target = (rules: string, more = '') =>
  `{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: x}, spec: {destination: {kind: ServiceAccount, name: a}, sources: [{kind: ServiceAccount, name: root}${more}], rules: ${rules}}}`
const byTcp = target('[{kind: TCPRoute, name: x}]')
const byGroup = target('[{kind: HTTPRouteGroup, name: x}]')
const matches = ', matches: [{kind: HTTPRouteGroup, name: x}]'
const older = split(backend('half'), 'older', ', creationTimestamp: "2026-01-01T00:00:00Z"')

/** Part, title, Accepted, ResolvedRefs, Enforced, manifests. */
const rows: [string, string, string, string, string, string[]][] = [
  ['splits', 'a good one', 'yes', 'yes', 'yes', [split(backend('a'))]],
  ['splits', 'a backend to come', 'yes', 'BackendNotFound', 'yes', [split(backend('a', 'late'))]],
  ['splits', 'no backend yet', 'yes', 'BackendNotFound', 'NoBackendLeft', [split(backend('late'))]],
  [
    'splits',
    'a broken weight',
    'WeightInvalid',
    'yes',
    'yes',
    [split('service: root, backends: [{service: a, weight: 1}, {service: half, weight: x}]')],
  ],
  ['splits', 'a backend without one of the ports', 'yes', 'yes', 'NoBackendLeft', [split(backend('half'))]],
  ['splits', 'a second one for its root', 'yes', 'yes', 'SplitSuperseded', [older, split(backend('a'))]],
  [
    'splits',
    'no root',
    'yes',
    'RootNotFound',
    'RootNotFound',
    [split('service: gone, backends: [{service: a, weight: 1}]')],
  ],
  [
    'splits',
    'a root elsewhere',
    'RootInvalid',
    'yes',
    'RootInvalid',
    [split('service: root.bank, backends: [{service: a, weight: 1}]')],
  ],
  [
    'splits',
    'a root outside of the mesh',
    'yes',
    'yes',
    'NotEnrolled',
    [
      '{apiVersion: v1, kind: Service, metadata: {name: out, labels: {weft.dev/mesh: disabled}}, spec: {ports: [{port: 80}]}}',
      split('service: out, backends: [{service: a, weight: 1}]'),
    ],
  ],
  [
    'splits',
    'matches where there is no HTTP',
    'yes',
    'yes',
    'MatchesNeedHttp',
    [group('pathRegex: /'), split(`service: db, backends: [{service: db, weight: 1}]${matches}`)],
  ],
  [
    'splits',
    'matches that are broken',
    'yes',
    'yes',
    'MatchInvalid',
    [group('pathRegex: "("'), split(backend('a') + matches)],
  ],
  ['splits', 'matches that are missing', 'yes', 'RouteNotFound', 'RouteNotFound', [split(backend('a') + matches)]],
  ['targets', 'a good one', 'yes', 'yes', 'yes', [tcp('[]'), byTcp]],
  ['targets', 'a route to come', 'yes', 'RouteNotFound', 'RouteNotFound', [byTcp]],
  [
    'targets',
    'an unknown match',
    'yes',
    'MatchNotFound',
    'MatchNotFound',
    [group('pathRegex: /'), target('[{kind: HTTPRouteGroup, name: x, matches: [n]}]')],
  ],
  [
    'targets',
    'an account to come',
    'yes',
    'AccountNotFound',
    'yes',
    [tcp('[]'), target('[{kind: TCPRoute, name: x}]', ', {kind: ServiceAccount, name: late}')],
  ],
  [
    'targets',
    'a source of another kind',
    'yes',
    'yes',
    'yes',
    [tcp('[]'), target('[{kind: TCPRoute, name: x}]', ', {kind: Group, name: all}')],
  ],
  [
    'targets',
    'sources of other kinds alone',
    'SourceInvalid',
    'yes',
    'SourceInvalid',
    [tcp('[]'), byTcp.replace('[{kind: ServiceAccount, name: root}]', '[{kind: Group, name: all}]')],
  ],
  ['targets', 'no rules', 'RuleInvalid', 'yes', 'RuleInvalid', [target('[]')]],
  [
    'targets',
    'UDP alone',
    'yes',
    'yes',
    'UdpNotEnforced',
    [
      '{apiVersion: specs.smi-spec.io/v1alpha4, kind: UDPRoute, metadata: {name: x}}',
      target('[{kind: UDPRoute, name: x}]'),
    ],
  ],
  [
    'targets',
    'UDP beside TCP',
    'yes',
    'yes',
    'yes',
    [
      tcp('[]'),
      '{apiVersion: specs.smi-spec.io/v1alpha4, kind: UDPRoute, metadata: {name: x}}',
      target('[{kind: UDPRoute, name: x}, {kind: TCPRoute, name: x}]'),
    ],
  ],
  ['targets', 'matches that are broken', 'yes', 'yes', 'MatchInvalid', [group('pathRegex: "("'), byGroup]],
  [
    'targets',
    'ports that exclude each other',
    'yes',
    'yes',
    'PortInvalid',
    [tcp('[80]'), byTcp.replace('name: a}', 'name: a, port: 90}')],
  ],
  [
    'targets',
    'a destination elsewhere',
    'DestinationInvalid',
    'yes',
    'DestinationInvalid',
    [tcp('[]'), byTcp.replace('name: a}', 'name: a, namespace: bank}')],
  ],
  ['routeGroups', 'one that a target names', 'yes', 'yes', 'yes', [group('pathRegex: /'), byGroup]],
  [
    'routeGroups',
    'one that a split names',
    'yes',
    'yes',
    'yes',
    [group('pathRegex: /'), split(backend('a') + matches)],
  ],
  ['routeGroups', 'one that nobody names', 'yes', 'yes', 'NotReferenced', [group('pathRegex: /')]],
  ['routeGroups', 'one that never matches', 'RegexInvalid', 'yes', 'RegexInvalid', [group('pathRegex: "("'), byGroup]],
  ['tcpRoutes', 'one that a target names', 'yes', 'yes', 'yes', [tcp('[80]'), byTcp]],
  ['tcpRoutes', 'one that nobody names', 'yes', 'yes', 'NotReferenced', [tcp('[80]')]],
  ['tcpRoutes', 'one without a port left', 'PortInvalid', 'yes', 'PortInvalid', [tcp('[99999]'), byTcp]],
  [
    'udpRoutes',
    'any',
    'yes',
    'yes',
    'UdpNotEnforced',
    ['{apiVersion: specs.smi-spec.io/v1alpha4, kind: UDPRoute, metadata: {name: x}}'],
  ],
]

describe('conditions', () => {
  for (const [part, title, ...rest] of rows) {
    const documents = rest.pop() as string[]
    it(`${part}: ${title}`, () => expect(said(part, ...documents)).to.deep.equal(rest))
  }

  it('say what holds', () => {
    expect(verdicts('splits', split(backend('a')))).to.deep.equal([
      { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'every field was understood' },
      { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: 'every name was found' },
      { type: 'Enforced', status: 'True', reason: 'Enforced', message: 'divides shop/root on port 80, 90' },
    ])
    expect(verdicts('targets', tcp('[]'), byTcp)[2]!.message).to.equal(
      'calls to shop/a are enforced, and this target allows some of shop/root',
    )
  })

  it('list no more than ten problems', () => {
    const names = Array.from({ length: 30 }, (_each, index) => `late-${index}`)
    const { message } = verdicts('splits', split(backend('a', ...names)))[1]!
    expect(message.split('; ')).to.have.length(21)
    expect(message).to.match(/; and 20 more$/)
  })
})
