// What `weft check` says of clusters in every state.

import { expect } from 'chai'
import {
  type Check,
  checkAddresses,
  checkDefinitions,
  checkInstalled,
  checkNodes,
  checkProblems,
  checkVersion,
} from '../../../controller/cli/checks.ts'
import type { Installed } from '../../../controller/cli/installed.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import { passOf, shop, worldOf } from '../../support/world.ts'

const bad = (checks: Check[]) =>
  checks.filter(({ status }) => status !== 'ok').map(({ status, text }) => `${status} ${text}`)

const well: Installed = {
  controller: { wanted: 2, ready: 2, image: 'weft:1' },
  agents: { wanted: 3, ready: 3, updated: 3, image: 'weft:1' },
  settings: defaultSettings,
  trouble: '',
}

describe('checks of a cluster', () => {
  it('wants a Kubernetes that keeps traffic on the node', () => {
    const version = (minor: string) => checkVersion({ major: '1', minor, gitVersion: `v1.${minor}` })
    expect(bad(version('26'))).to.deep.equal([])
    expect(bad(version('33+'))).to.deep.equal([])
    expect(bad(version('25'))).to.deep.equal(['error Kubernetes is 1.26 or newer: v1.25'])
  })

  it('wants every SMI kind, and a status for splits', () => {
    const served = (names: string[], hasStatus: boolean) =>
      new Map(names.map((name) => [name, { version: 'v1alpha4', hasStatus }]))
    const all = [
      'trafficsplits.split.smi-spec.io',
      'traffictargets.access.smi-spec.io',
      'httproutegroups.specs.smi-spec.io',
      'tcproutes.specs.smi-spec.io',
      'udproutes.specs.smi-spec.io',
    ]
    expect(bad(checkDefinitions(served(all, true)))).to.deep.equal([])
    expect(bad(checkDefinitions(served(all, false)))).to.have.length(1)
    expect(bad(checkDefinitions(new Map()))).to.have.length(5)
  })

  const installed: [string, Partial<Installed>, string[]][] = [
    ['all is well', {}, []],
    [
      'nothing is installed',
      { controller: null, agents: null },
      ['error the controller is installed: not found', 'error the agents are installed: not found'],
    ],
    [
      'no replica is ready',
      { controller: { ...well.controller!, ready: 0 } },
      ['error the controller is ready: 0 of 2 replicas'],
    ],
    [
      'one replica is ready',
      { controller: { ...well.controller!, ready: 1 } },
      ['warning all replicas are ready: 1 of 2 replicas'],
    ],
    ['an agent is missing', { agents: { ...well.agents!, ready: 2 } }, ['error every node has a ready agent: 2 of 3']],
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
    it(`says when ${what}`, () => expect(bad(checkInstalled({ ...well, ...change }))).to.deep.equal(expected))
  }

  it('names nodes whose meshed pods have no agent', () => {
    const agent =
      '{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: weft-system, labels: {app.kubernetes.io/name: weft-agent}}, spec: {nodeName: node1}, status: {podIP: 10.1.9.9, phase: Running, conditions: [{type: Ready, status: "True"}]}}'
    const node = '{apiVersion: v1, kind: Node, metadata: {name: idle}}'
    const text = `${shop({ name: 'web' })}\n---\n${node}`
    expect(bad(checkNodes(passOf(worldOf(text)).topology))).to.deep.equal([
      'error no meshed pod is on a node without agent: node1',
    ])
    expect(bad(checkNodes(passOf(worldOf(`${text}\n---\n${agent}`)).topology))).to.deep.equal([])
  })

  it('names what the controller has not written', () => {
    const run = (text: string) => {
      const world = worldOf(text)
      const { topology, translation } = passOf(world)
      return bad(checkAddresses(world, topology, translation, defaultSettings))
    }
    const mesh = (spec: string) =>
      `{apiVersion: v1, kind: Service, metadata: {name: weft, namespace: weft-system}, spec: ${spec}}`
    const alias =
      '{apiVersion: v1, kind: Service, metadata: {name: web-mesh, labels: {app.kubernetes.io/managed-by: weft, weft.dev/service: web, weft.dev/namespace: shop}}, spec: {type: ExternalName, externalName: x}}'
    const ground = shop({ name: 'web' })
    expect(run(ground)).to.deep.equal([
      'error Service weft-system/weft has an address: not found',
      'error every alias and address exists: shop/web-mesh, weft-system/weft',
    ])
    expect(
      run([ground, alias, mesh('{clusterIP: 10.96.0.9, internalTrafficPolicy: Local}')].join('\n---\n')),
    ).to.deep.equal([])
    expect(
      run([ground, alias, mesh('{clusterIP: 10.96.0.9, internalTrafficPolicy: Cluster}')].join('\n---\n')),
    ).to.deep.equal(['error Service weft-system/weft stays on the node: Cluster'])
  })

  it('lists problems, or says that there are none', () => {
    const { translation } = passOf(
      worldOf('{apiVersion: v1, kind: Namespace, metadata: {name: n, labels: {weft.dev/mesh: x}}}'),
    )
    expect(bad(checkProblems(translation.problems, 0))).to.have.length(1)
    expect(checkProblems([], 3)[0]?.text).to.equal('3 Services in the mesh, no problems')
  })
})
