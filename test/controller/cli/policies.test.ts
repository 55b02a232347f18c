// Which NetworkPolicies keep agents out or callers in, and where mode `deny` stands without a lock.

import { expect } from 'chai'
import { checkPolicies, matches } from '../../../controller/cli/checks/policies.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import { passOf, worldOf } from '../../support/world.ts'

const agents =
  '{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: weft-system}}, podSelector: {matchLabels: {app.kubernetes.io/name: weft-agent}}}'
const policy = (spec: string, name = 'p') =>
  `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: ${name}}, spec: ${spec}}`

function shopOf(labels: string, ...policies: string[]): string {
  return [
    `{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {weft.dev/mesh: enabled, ${labels}}}}`,
    '{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.1.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}}',
    '{apiVersion: v1, kind: Pod, metadata: {name: web-1, labels: {app: web}}, spec: {nodeName: node1, serviceAccountName: web}, status: {phase: Running, podIP: 10.1.0.1}}',
    '{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-a, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, endpoints: [{addresses: [10.1.0.1], conditions: {ready: true}}], ports: [{name: http, port: 8080, protocol: TCP}]}',
    '{apiVersion: v1, kind: Pod, metadata: {name: agent-1, namespace: weft-system, labels: {app.kubernetes.io/name: weft-agent}}, spec: {nodeName: node1}, status: {phase: Running, podIP: 10.1.0.9}}',
    ...policies,
  ].join('\n---\n')
}

function run(labels: string, ...policies: string[]): string[] {
  const world = worldOf(shopOf(labels, ...policies))
  return checkPolicies(world, passOf(world).topology, defaultSettings)
    .filter(({ status }) => status !== 'ok')
    .map(({ text }) => text)
}

const blocked = ['no NetworkPolicy keeps agents from pods in the mesh: shop/p (shop/web:80)']
const plain = 'team: a'

describe('checks of NetworkPolicies', () => {
  const ingress: [string, string, string[]][] = [
    ['closes everything', '{podSelector: {}, policyTypes: [Ingress]}', blocked],
    ['closes everything, without saying which direction', '{podSelector: {}}', blocked],
    ['selects other pods', '{podSelector: {matchLabels: {app: db}}}', []],
    ['is about what goes out', '{podSelector: {}, policyTypes: [Egress], egress: [{}]}', []],
    ['admits everybody', '{podSelector: {}, ingress: [{}]}', []],
    ['admits the agents', `{podSelector: {}, ingress: [{from: [${agents}]}]}`, []],
    ['admits the agents on the port', `{podSelector: {}, ingress: [{from: [${agents}], ports: [{port: 8080}]}]}`, []],
    [
      'admits the agents on a range',
      `{podSelector: {}, ingress: [{from: [${agents}], ports: [{port: 8000, endPort: 9000}]}]}`,
      [],
    ],
    [
      'admits the agents on a named port',
      `{podSelector: {}, ingress: [{from: [${agents}], ports: [{port: http}]}]}`,
      [],
    ],
    [
      'admits the agents on another port',
      `{podSelector: {}, ingress: [{from: [${agents}], ports: [{port: 80}]}]}`,
      blocked,
    ],
    [
      'admits the agents by UDP',
      `{podSelector: {}, ingress: [{from: [${agents}], ports: [{port: 8080, protocol: UDP}]}]}`,
      blocked,
    ],
    ['admits its own namespace', '{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}', blocked],
    ['admits all namespaces', '{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}', []],
    ['admits their addresses', '{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/16}}]}]}', []],
    [
      'admits addresses without theirs',
      '{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/16, except: [10.1.0.8/29]}}]}]}',
      blocked,
    ],
    ['admits other addresses', '{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.9.0.0/16}}]}]}', blocked],
  ]
  for (const [what, spec, expected] of ingress) {
    it(`judge one that ${what}`, () => expect(run(plain, policy(spec))).to.deep.equal(expected))
  }

  it('are content if another policy admits the agents', () => {
    const open = policy(`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [${agents}]}]}`, 'q')
    expect(run(plain, policy('{podSelector: {}}'), open)).to.deep.equal([])
  })

  it('name those that keep callers from the agents', () => {
    const closed = policy('{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}')
    expect(run(plain, closed)).to.deep.equal(['no NetworkPolicy keeps callers from the agents: shop/p'])
    const open = policy(`{podSelector: {}, policyTypes: [Egress], egress: [{to: [${agents}]}]}`)
    expect(run(plain, open)).to.deep.equal([])
  })

  it('say where mode deny stands without a lock', () => {
    expect(run('weft.dev/access: deny')).to.deep.equal([
      "mode deny is closed by a lock: shop: the Services' plain names lead around it",
    ])
    expect(run('weft.dev/access: deny, weft.dev/lock: enabled')).to.deep.equal([])
    expect(run('weft.dev/access: allow')).to.deep.equal([])
  })

  it('read selectors as Kubernetes does', () => {
    const on = (operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist', values?: string[]) =>
      [{ a: 'x' }, { a: 'y' }, {}].map((labels) =>
        matches(
          { matchExpressions: [{ key: 'a', operator, ...(values && { values }) }] },
          labels as Record<string, string>,
        ),
      )
    expect(on('In', ['x'])).to.deep.equal([true, false, false])
    expect(on('NotIn', ['x'])).to.deep.equal([false, true, true])
    expect(on('Exists')).to.deep.equal([true, true, false])
    expect(on('DoesNotExist')).to.deep.equal([false, false, true])
    expect(matches({ matchLabels: { a: 'x', b: 'y' } }, { a: 'x' })).to.equal(false)
  })
})
