// What `weft check` says of clusters in every state: each check with what provokes it.

import { expect } from 'chai'
import type { AgentFacts } from '../../../controller/cli/agents.ts'
import { checkAddresses } from '../../../controller/cli/checks/addresses.ts'
import { checkAgents, checkFacts, checkNodes } from '../../../controller/cli/checks/agents.ts'
import type { Check } from '../../../controller/cli/checks/check.ts'
import { checkController, checkLeader, checkTrust } from '../../../controller/cli/checks/controller.ts'
import { checkDefinitions, checkForeign, type Definition } from '../../../controller/cli/checks/definitions.ts'
import { checkClocks, checkRights, checkVersion, rightsToCheck } from '../../../controller/cli/checks/kubernetes.ts'
import { checkNames } from '../../../controller/cli/checks/names.ts'
import { checkProblems } from '../../../controller/cli/checks/problems.ts'
import { checkProxy } from '../../../controller/cli/checks/proxy.ts'
import type { DnsState } from '../../../controller/cli/dns/block.ts'
import type { Installed } from '../../../controller/cli/installed.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import { nowMs, passOf, shop, worldOf } from '../../support/world.ts'

const bad = (checks: Check[]) =>
  checks.filter(({ status }) => status !== 'ok').map(({ status, text }) => `${status} ${text}`)
const hour = 3_600_000

const part = { wanted: 2, ready: 2, updated: 2, isObserved: true, image: 'weft:1' }
const well: Installed = {
  controller: part,
  agents: { ...part, wanted: 3, ready: 3, updated: 3 },
  version: '0.1.0',
  release: '',
  values: {},
  settings: defaultSettings,
  certificateMs: 24 * hour,
  trouble: '',
}

describe('checks of Kubernetes', () => {
  it('want a version that the mesh is tried on', () => {
    const version = (minor: string) => checkVersion({ major: '1', minor, gitVersion: `v1.${minor}` })
    expect(bad(version('30'))).to.deep.equal([])
    expect(bad(version('33+'))).to.deep.equal([])
    expect(bad(version('29'))).to.deep.equal(['error Kubernetes is 1.30 or newer: v1.29'])
  })

  it('name the rights that are missing', () => {
    const forward = rightsToCheck('weft-system').find(({ subresource }) => subresource === 'portforward')!
    const denied = [{ verb: 'list', group: 'discovery.k8s.io', resource: 'endpointslices' }, forward]
    expect(bad(checkRights(denied, 'that these checks need'))).to.deep.equal([
      'error you have the rights that these checks need: list endpointslices.discovery.k8s.io, create pods/portforward in weft-system',
    ])
    expect(bad(checkRights([], ''))).to.deep.equal([])
    expect(checkRights(null, '')).to.deep.equal([])
  })

  const beat = (node: string, ageMs: number, isReady = true) => ({ node, renewedMs: nowMs - ageMs, isReady })
  const clocks: [string, number, ReturnType<typeof beat>[], string[]][] = [
    ['all agree', 2_000, [beat('a', 9_000), beat('b', 200_000, false)], []],
    [
      'a node is ahead',
      0,
      [beat('a', -60_000)],
      ["error the nodes' clocks agree with the API server's: a is 60 s ahead"],
    ],
    [
      'a ready node is behind',
      0,
      [beat('a', 9_000), beat('b', 120_000)],
      ["error the nodes' clocks agree with the API server's: b is about 120 s behind"],
    ],
    [
      'this machine is behind',
      -40_000,
      [],
      ["warning this machine's clock agrees with the API server's: it is 40 s behind"],
    ],
  ]
  for (const [what, skew, beats, expected] of clocks) {
    it(`say when ${what}`, () => expect(bad(checkClocks(nowMs, nowMs + skew, beats))).to.deep.equal(expected))
  }
  it('know nothing of clocks where the API server does not tell', () => {
    expect(checkClocks(null, nowMs, [beat('a', -60_000)])).to.deep.equal([])
  })
})

describe('checks of the SMI definitions', () => {
  const names = [
    'trafficsplits.split.smi-spec.io',
    'traffictargets.access.smi-spec.io',
    'httproutegroups.specs.smi-spec.io',
    'tcproutes.specs.smi-spec.io',
    'udproutes.specs.smi-spec.io',
  ]
  const served = (hasStatus = true) => new Map(names.map((name) => [name, { version: 'v1alpha4', hasStatus }]))
  const definition = (name: string, versions: string[], stored = versions[0], labels = {}): [string, Definition] => [
    name,
    {
      metadata: { name, labels },
      spec: { versions: versions.map((each) => ({ name: each, served: true, storage: each === stored })) },
    },
  ]

  it('want every kind, and a status for splits', () => {
    expect(bad(checkDefinitions(served(), new Map()))).to.deep.equal([])
    expect(bad(checkDefinitions(served(false), new Map()))).to.deep.equal([
      'warning trafficsplits.split.smi-spec.io is served: by a definition without status',
    ])
    expect(bad(checkDefinitions(new Map(), new Map()))).to.have.length(5)
  })

  it('say which versions another product serves', () => {
    const old = new Map([definition(names[0]!, ['v1alpha4'])])
    expect(bad(checkDefinitions(served(), old))).to.deep.equal([
      'warning trafficsplits.split.smi-spec.io is served: without v1alpha1, v1alpha2, v1alpha3, which Flagger and Argo Rollouts may write',
    ])
    const foreign = new Map([definition(names[1]!, ['v1beta1'])])
    const without = served()
    without.delete(names[1]!)
    expect(bad(checkDefinitions(without, foreign))[0]).to.match(
      /^error traffictargets.*in v1beta1 alone; the mesh reads v1alpha4/,
    )
    const newer = new Map([definition(names[2]!, ['v1alpha4', 'v1'], 'v1')])
    expect(bad(checkDefinitions(served(), newer))[0]).to.match(
      /^warning httproutegroups.*stored as v1, which the mesh does not know/,
    )
  })

  it('say before an installation whose they are', () => {
    const ours = { 'app.kubernetes.io/part-of': 'weft' }
    expect(bad(checkForeign(new Map([definition(names[0]!, ['v1alpha4'], 'v1alpha4', ours)])))).to.deep.equal([])
    expect(bad(checkForeign(new Map([definition(names[0]!, ['v1alpha4'])])))).to.deep.equal([
      'warning no other product has defined the SMI kinds: trafficsplits.split.smi-spec.io',
    ])
  })
})

describe('checks of controller and agents', () => {
  const all = (change: Partial<Installed>) => {
    const installed = { ...well, ...change }
    return bad([
      ...checkController(installed, 'weft-system'),
      ...checkAgents({ ...installed, namespace: 'weft-system' }),
    ])
  }
  const installed: [string, Partial<Installed>, string[]][] = [
    ['all is well', {}, []],
    [
      'nothing is installed',
      { controller: null, agents: null },
      ['error the controller is installed: not found', 'error the agents are installed: not found'],
    ],
    ['no replica is ready', { controller: { ...part, ready: 0 } }, ['error the controller is ready: 0 of 2 replicas']],
    [
      'one replica is ready',
      { controller: { ...part, ready: 1 } },
      ['warning all replicas are ready: 1 of 2 replicas'],
    ],
    ['an agent is missing', { agents: { ...well.agents!, ready: 2 } }, ['error all agents are ready: 2 of 3']],
    [
      'a rollout is on its way',
      { agents: { ...well.agents!, updated: 1 } },
      ['warning all agents are of the current version: 1 of 3'],
    ],
    [
      'versions differ',
      { agents: { ...well.agents!, image: 'weft:2' } },
      ['warning agents and controller have one image: weft:1 and weft:2'],
    ],
    ['a flag is wrong', { trouble: '--port: no' }, ["error the controller's settings are valid: --port: no"]],
  ]
  for (const [what, change, expected] of installed) {
    it(`say when ${what}`, () => expect(all(change)).to.deep.equal(expected))
  }

  it('want a leader that renews its Lease', () => {
    const lease = { holder: 'controller-1', renewedMs: nowMs - 10_000, leaseMs: 15_000 }
    expect(bad(checkLeader(lease, nowMs, 'weft-system'))).to.deep.equal([])
    for (const nobody of [null, { ...lease, holder: '' }]) {
      expect(bad(checkLeader(nobody, nowMs, 'weft-system'))).to.deep.equal([
        'error one replica leads: nobody holds the Lease weft-controller',
      ])
    }
    expect(bad(checkLeader({ ...lease, renewedMs: nowMs - 40_000 }, nowMs, 'weft-system'))).to.deep.equal([
      'error one replica leads: controller-1 has not renewed its Lease for 40 s',
    ])
  })

  it('want a root that lasts, and a webhook that the API server knows', () => {
    const day = 24 * hour
    const fine = { rootEnds: nowMs + 400 * day, isWebhookTrusted: true }
    expect(checkTrust(fine, nowMs)).to.have.length(2)
    expect(bad(checkTrust(fine, nowMs))).to.deep.equal([])
    expect(checkTrust({ rootEnds: null, isWebhookTrusted: null }, nowMs)).to.deep.equal([])
    expect(bad(checkTrust({ rootEnds: nowMs + 20 * day, isWebhookTrusted: false }, nowMs))).to.deep.equal([
      'error the root certificate lasts: it ends in 20d',
      'warning the API server knows the webhook for SMI objects: ValidatingWebhookConfiguration weft-smi has no caBundle',
    ])
    expect(bad(checkTrust({ ...fine, rootEnds: nowMs - day }, nowMs))[0]).to.include('it has ended')
  })

  it('name nodes without agent, and those among them with pods in the mesh', () => {
    const agent =
      '{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: weft-system, labels: {app.kubernetes.io/name: weft-agent}}, spec: {nodeName: node1}, status: {podIP: 10.1.9.9, phase: Running, conditions: [{type: Ready, status: "True"}]}}'
    const node = (name: string, os = 'linux') =>
      `{apiVersion: v1, kind: Node, metadata: {name: ${name}, labels: {kubernetes.io/os: ${os}}}}`
    const fargate =
      '{apiVersion: v1, kind: Node, metadata: {name: f, labels: {eks.amazonaws.com/compute-type: fargate}}}'
    const text = [shop({ name: 'web' }), node('node1'), node('idle'), node('windows1', 'windows'), fargate].join(
      '\n---\n',
    )
    const run = (yaml: string) => {
      const world = worldOf(yaml)
      return bad(checkNodes(world, passOf(world).topology, 'weft-system'))
    }
    expect(run(text)).to.deep.equal([
      'error every node has a ready agent: idle, node1',
      'error no meshed pod is on a node without agent: node1',
    ])
    expect(run(`${text}\n---\n${agent}`)).to.deep.equal(['error every node has a ready agent: idle'])
  })

  const agent: AgentFacts = {
    node: 'n1',
    pod: 'weft-agent-1',
    image: 'weft:1',
    isReady: true,
    version: '0.1.0',
    snapshot: 'current',
    lagMs: 0,
    contract: 1,
    certificates: 2,
    expires: nowMs + 13 * hour,
    trouble: '',
  }
  const facts: [string, Partial<AgentFacts>, string[]][] = [
    ['all is well', {}, []],
    ['an agent has no link', { snapshot: 'unconnected' }, ['error all agents are connected to a controller: n1']],
    [
      'an agent is behind',
      { snapshot: 'behind', lagMs: 65_000 },
      ['error all agents have the newest snapshot: n1 by 1m5s'],
    ],
    ['a change is on its way', { snapshot: 'behind', lagMs: 900 }, []],
    ['a snapshot was refused', { snapshot: 'refused' }, ['error no agent has refused a snapshot: n1']],
    [
      'certificates are not renewed',
      { expires: nowMs + 2 * hour },
      ["error the agents' certificates are renewed in time: n1 in 2h"],
    ],
    [
      'certificates have ended',
      { expires: nowMs - hour },
      ["error the agents' certificates are renewed in time: n1 ended"],
    ],
    [
      'an agent reports a trouble',
      { trouble: 'the authority is away' },
      ['warning no agent reports a trouble: n1: the authority is away'],
    ],
  ]
  const other = { ...agent, node: 'n2', pod: 'weft-agent-2' }
  for (const [what, change, expected] of facts) {
    it(`say when ${what}`, () => {
      expect(bad(checkFacts([{ ...agent, ...change }, other], nowMs, 'weft-system', 24 * hour))).to.deep.equal(expected)
    })
  }
  it('say when versions differ, and when nobody could be asked', () => {
    expect(bad(checkFacts([agent, { ...other, version: '0.2.0' }], nowMs, 'weft-system', 24 * hour))).to.deep.equal([
      'warning all agents are of one version: 0.1.0, 0.2.0',
    ])
    expect(bad(checkFacts([{ ...agent, snapshot: 'unknown' }], nowMs, 'weft-system', 24 * hour))).to.deep.equal([
      'warning the agents have the newest snapshot: no controller replica could be asked',
    ])
  })
})

describe('checks of addresses', () => {
  const run = (...documents: string[]) => {
    const world = worldOf(documents.join('\n---\n'))
    const { topology, translation } = passOf(world)
    return bad(checkAddresses(world, topology, translation, defaultSettings))
  }
  const mesh = (spec: string) =>
    `{apiVersion: v1, kind: Service, metadata: {name: weft, namespace: weft-system, labels: {app.kubernetes.io/managed-by: weft}}, spec: ${spec}}`
  const alias = (target = 'weft.weft-system.svc.cluster.local', name = 'web') =>
    `{apiVersion: v1, kind: Service, metadata: {name: ${name}-mesh, labels: {app.kubernetes.io/managed-by: weft, weft.dev/service: ${name}, weft.dev/namespace: shop}, ownerReferences: [{apiVersion: v1, kind: Service, name: ${name}, uid: service-${name}}]}, spec: {type: ExternalName, externalName: ${target}}}`
  const ground = shop({ name: 'web' })
  const local = mesh('{clusterIP: 10.96.0.9, internalTrafficPolicy: Local}')

  it('name what the controller has not written', () => {
    expect(run(ground)).to.deep.equal([
      'error Service weft-system/weft has an address: not found',
      'error every alias and address exists: shop/web-mesh',
    ])
    expect(run(mesh('{clusterIP: None, internalTrafficPolicy: Local}'))[0]).to.include('it has no ClusterIP')
  })

  it('name what somebody else has changed, or what is left over', () => {
    const cluster = mesh('{clusterIP: 10.96.0.9, internalTrafficPolicy: Cluster}')
    expect(run(ground, cluster, alias())).to.include(
      'error Service weft-system/weft stays on the node: internalTrafficPolicy is Cluster',
    )
    expect(run(local, alias('weft.weft-system.svc.cluster.local', 'gone'))).to.deep.equal([
      'warning no alias or address is left over: shop/gone-mesh',
    ])
    const locked = ground.replace('weft.dev/mesh: enabled', 'weft.dev/mesh: enabled, weft.dev/lock: enabled')
    const selecting = locked.replace('clusterIP: 10.96.1.1', 'clusterIP: 10.96.1.1, selector: {app: web}')
    expect(run(selecting, local)).to.include('error locks are as they should be: shop/weft-lock-web')
  })
})

describe('checks of the network', () => {
  it('say when callers can not be told apart', () => {
    const run = (config: string | null, flags: string[] | null = [], cilium: Record<string, string> | null = null) =>
      bad(checkProxy({ config, flags, cilium }))
    expect(run('mode: ""\niptables: {masqueradeAll: false}')).to.deep.equal([])
    expect(run('mode: ipvs\nnftables: {masqueradeAll: true}')).to.deep.equal([])
    const prefix = 'error connections to Services keep their source address: kube-proxy'
    expect(run('mode: userspace')).to.deep.equal([
      `${prefix} runs in mode userspace, where all connections come from the node`,
    ])
    expect(run('iptables: {masqueradeAll: true}')).to.deep.equal([`${prefix} has iptables.masqueradeAll`])
    expect(run('mode: nftables\nnftables: {masqueradeAll: true}')).to.deep.equal([
      `${prefix} has nftables.masqueradeAll`,
    ])
    expect(run('', ['--masquerade-all'])).to.deep.equal([`${prefix} runs with --masquerade-all`])
    expect(run('', ['--masquerade-all=false'])).to.deep.equal([])
    expect(run('', ['--proxy-mode=userspace'])).to.have.length(1)
    expect(run(null, null)).to.deep.equal([])
    expect(checkProxy({ config: null, flags: null, cilium: null })[0]?.text).to.include('not seen')
    expect(run(null, null, { 'kube-proxy-replacement': 'true' })).to.deep.equal([])
  })
})

describe('checks of names and configuration', () => {
  const state = (block: DnsState['block']): DnsState => ({
    domain: 'mesh.internal',
    address: '10.96.0.53',
    block,
    place: {
      namespace: 'kube-system',
      name: 'coredns',
      key: 'Corefile',
      text: '',
      resourceVersion: '1',
      corefile: '.:53 {\n}\n',
      owner: 'none',
      ownerName: '',
      pods: {},
      nodeLocal: null,
    },
  })
  const fine = { result: 'resolves' as const, text: '' }

  it('leave names alone that nobody set up', () => {
    expect(bad(checkNames(state('missing'), null, true))).to.deep.equal([])
    // Somebody's own block does as well.
    expect(checkNames(state('missing'), fine, false)).to.have.length(3)
  })

  it('say when the block was overwritten, is stale, or not asked', () => {
    const text = 'error CoreDNS has the block for mesh.internal'
    expect(bad(checkNames(state('overwritten'), null, false))[0]).to.match(
      new RegExp(`^${text}: it was put in and is gone`),
    )
    expect(bad(checkNames(state('stale'), null, false))[0]).to.equal(`${text}: it is for another domain or address`)
    expect(bad(checkNames(state('present'), { result: 'fails', text: 'NXDOMAIN' }, false))).to.deep.equal([
      'error names under mesh.internal resolve: NXDOMAIN',
    ])
    expect(bad(checkNames(state('present'), { result: 'unknown', text: 'no' }, false))[0]).to.match(/^warning/)
    expect(bad(checkNames(state('present'), fine, true))).to.deep.equal([
      'error nothing before CoreDNS answers in its place: NodeLocal DNSCache does not forward mesh.internal',
    ])
  })

  it('list problems, or say that there are none', () => {
    const { translation } = passOf(
      worldOf('{apiVersion: v1, kind: Namespace, metadata: {name: n, labels: {weft.dev/mesh: x}}}'),
    )
    expect(bad(checkProblems(translation.problems, 0))).to.have.length(1)
    expect(checkProblems([], 3)[0]?.text).to.equal('3 Services in the mesh, no problems')
  })
})
