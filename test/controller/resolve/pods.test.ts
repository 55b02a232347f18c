// Which pod an address belongs to, and which agent a node has.

import { expect } from 'chai'
import { indexPods } from '../../../controller/resolve/pods.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import type { MachineNode } from '../../../controller/resolve/topology.ts'
import { worldOf } from '../../support/world.ts'

function pod(name: string, { meta = '', spec = '', status = '' } = {}): string {
  return `{apiVersion: v1, kind: Pod, metadata: {name: ${name}${meta}}, spec: {nodeName: n1${spec}}, status: {podIP: 10.1.0.1, phase: Running${status}}}`
}

function nodesOf(...documents: string[]): MachineNode[] {
  return indexPods(worldOf(documents.join('\n---\n')), defaultSettings).nodes
}

const podsOf = (...documents: string[]) => nodesOf(...documents).flatMap(({ pods }) => pods)

const agent = (name: string, ip: string, more = '', ready = 'True') => `
{apiVersion: v1, kind: Pod, metadata: {name: ${name}, namespace: weft-system, labels: {app.kubernetes.io/name: weft-agent}${more}},
 spec: {nodeName: n1}, status: {podIP: ${ip}, phase: Running, conditions: [{type: Ready, status: "${ready}"}]}}`

describe('pods', () => {
  it('lists what an agent must know of each', () => {
    expect(
      podsOf(pod('p', { spec: ', serviceAccountName: web', status: ', startTime: "2026-11-02T00:00:00Z"' })),
    ).to.deep.equal([
      {
        uid: 'pod-p',
        key: 'shop/p',
        address: '10.1.0.1',
        account: 'shop/web',
        workload: '',
        isLive: true,
        startedAt: Date.parse('2026-11-02T00:00:00Z'),
      },
    ])
  })

  it('takes the account default, and the creation for a start', () => {
    const [found] = podsOf(pod('p'))
    expect(found).to.include({ account: 'shop/default', startedAt: Date.parse('2026-11-01T00:00:00Z') })
  })

  const dual = (name: string, first: string, second: string) =>
    pod(name).replace('podIP: 10.1.0.1', `podIP: "${first}", podIPs: [{ip: "${first}"}, {ip: "${second}"}]`)

  it('lists a pod once by its own address, with that of the other IP family', () => {
    const listed = (...documents: string[]) =>
      podsOf(...documents).map(({ key, address, secondAddress }) => [key, address, secondAddress])
    expect(listed(dual('p', 'FD00:0::1', '10.1.0.1'))).to.deep.equal([['shop/p', 'fd00::1', '10.1.0.1']])
    expect(listed(dual('p', '10.1.0.1', 'fd00::1'))).to.deep.equal([['shop/p', '10.1.0.1', 'fd00::1']])
    expect(listed(pod('p').replace('10.1.0.1', '"fd00::1"'))).to.deep.equal([['shop/p', 'fd00::1', undefined]])
    expect(listed(dual('p', '10.1.0.1', '10.1.0.2'))).to.deep.equal([['shop/p', '10.1.0.1', undefined]])
  })

  it('gives each address to the younger pod, also where only one of two is used again', () => {
    const old = dual('old', '10.1.0.1', 'fd00::1')
    const young = pod('young', { meta: ', creationTimestamp: "2026-11-03T00:00:00Z"' }).replace('10.1.0.1', '"fd00::1"')
    expect(podsOf(old, young).map(({ key, address, secondAddress }) => [key, address, secondAddress])).to.deep.equal([
      ['shop/old', '10.1.0.1', undefined],
      ['shop/young', 'fd00::1', undefined],
    ])
  })

  it('reaches an agent by its own address, of whichever family', () => {
    expect(nodesOf(agent('a', '"FD00::1"'))[0]?.agent).to.equal('fd00::1')
    const both = agent('a', '10.1.0.1').replace(
      'podIP: 10.1.0.1',
      'podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}, {ip: "fd00::1"}]',
    )
    expect(nodesOf(both)[0]?.agent).to.equal('10.1.0.1')
  })

  it('leaves out host-network pods, pods without address or node', () => {
    expect(podsOf(pod('p', { spec: ', hostNetwork: true' }))).to.deep.equal([])
    expect(
      podsOf('{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: n1}, status: {phase: Pending}}'),
    ).to.deep.equal([])
    expect(
      podsOf('{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {}, status: {podIP: 10.1.0.1}}'),
    ).to.deep.equal([])
    expect(podsOf('{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: n1}}')).to.deep.equal([])
  })

  it('counts a pending pod with an address as live', () => {
    expect(podsOf(pod('p', { status: ', phase: Pending' }).replace('phase: Running, ', ''))[0]?.isLive).to.equal(true)
  })

  it('keeps an ended pod until its address is used again', () => {
    const ended = pod('old').replace('Running', 'Failed')
    expect(podsOf(ended).map(({ key, isLive }) => [key, isLive])).to.deep.equal([['shop/old', false]])
    // Even by one that is older: it lives.
    const older = pod('new', { meta: ', creationTimestamp: "2026-01-01T00:00:00Z"' })
    expect(podsOf(ended, older).map(({ key }) => key)).to.deep.equal(['shop/new'])
    const elsewhere = pod('new').replace('n1', 'n2')
    expect(nodesOf(ended, elsewhere).map(({ name, pods }) => [name, pods.length])).to.deep.equal([['n2', 1]])
  })

  it('gives an address to the younger of two live pods', () => {
    const young = pod('young', { meta: ', creationTimestamp: "2026-11-05T00:00:00Z"' })
    expect(podsOf(young, pod('old')).map(({ key }) => key)).to.deep.equal(['shop/young'])
    expect(podsOf(pod('old'), young).map(({ key }) => key)).to.deep.equal(['shop/young'])
  })

  const owner = (kind: string, name: string) =>
    `, ownerReferences: [{apiVersion: apps/v1, kind: ${kind}, name: ${name}, uid: u, controller: true}]`
  const workloads: [string, string, string][] = [
    ['a Deployment', `${owner('ReplicaSet', 'web-v1-7d9f')}, labels: {pod-template-hash: 7d9f}`, 'web-v1'],
    ['a Rollout', `${owner('ReplicaSet', 'web-7d9f')}, labels: {rollouts-pod-template-hash: 7d9f}`, 'web'],
    ['a bare ReplicaSet', owner('ReplicaSet', 'web-v1'), 'web-v1'],
    ['a StatefulSet', owner('StatefulSet', 'db'), 'db'],
    ['nothing', '', ''],
  ]
  for (const [what, meta, expected] of workloads) {
    it(`names the workload of ${what}`, () => expect(podsOf(pod('p', { meta }))[0]?.workload).to.equal(expected))
  }
})

describe('agents', () => {
  it('is the ready one of the node, and no caller', () => {
    const [node] = nodesOf(agent('a', '10.1.0.2'), agent('b', '10.1.0.3', '', 'False'))
    expect(node).to.deep.equal({ name: 'n1', agent: '10.1.0.2', pods: [] })
  })

  it('is nobody without a ready one', () => {
    expect(nodesOf(agent('a', '10.1.0.2', '', 'False'))[0]?.agent ?? '').to.equal('')
  })

  it('is the one that stays, then the younger, while one replaces the other', () => {
    const leaving = agent(
      'old',
      '10.1.0.2',
      ', deletionTimestamp: "2026-11-21T00:00:00Z", creationTimestamp: "2026-11-20T00:00:00Z"',
    )
    expect(nodesOf(leaving, agent('new', '10.1.0.3'))[0]?.agent).to.equal('10.1.0.3')
    expect(nodesOf(agent('new', '10.1.0.3'), leaving)[0]?.agent).to.equal('10.1.0.3')
    expect(nodesOf(leaving)[0]?.agent).to.equal('10.1.0.2')
    const young = agent('young', '10.1.0.4', ', creationTimestamp: "2026-11-20T00:00:00Z"')
    expect(nodesOf(young, agent('old', '10.1.0.3'))[0]?.agent).to.equal('10.1.0.4')
  })

  it('is of the mesh namespace alone', () => {
    expect(nodesOf(agent('a', '10.1.0.2').replace('weft-system', 'shop'))[0]?.agent).to.equal('')
  })
})
