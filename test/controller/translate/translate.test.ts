// From the topology to resources with hashes, and to the Services that should be.

import { expect } from 'chai'
import { passOf, shop, worldOf } from '../../support/world.ts'

const texts = (yaml: string) => {
  const { common, nodes } = passOf(worldOf(yaml)).translation
  return new Map(
    [...common, ...[...nodes.values()].flat()].map(({ resource, hash }) => [`${resource.kind} ${resource.name}`, hash]),
  )
}

describe('translate', () => {
  it('encodes each resource once, sorted, without equal names', () => {
    const { common } = passOf(worldOf(shop({ name: 'b' }, { name: 'a' }))).translation
    const names = common.map(({ resource }) => `${resource.kind} ${resource.name}`)
    expect(names).to.deep.equal([...new Set(names)].sort())
    for (const { resource, text } of common) expect(JSON.parse(text)).to.deep.equal(resource)
  })

  it('changes the hash of what changed, and of nothing else', () => {
    const before = texts(shop({ name: 'a' }, { name: 'b' }))
    expect(texts(shop({ name: 'a' }, { name: 'b' }))).to.deep.equal(before)
    const after = texts(shop({ name: 'a' }, { name: 'b' }).replaceAll('10.1.0.2', '10.1.0.9'))
    const changed = [...after].filter(([name, hash]) => before.get(name) !== hash).map(([name]) => name)
    expect(changed).to.deep.equal(['endpoints shop/b:8080', 'workload pod-b-1'])
  })

  it('tells a node only of its own pods', () => {
    const { nodes } = passOf(
      worldOf(shop({ name: 'a' }, { name: 'b' }).replace('nodeName: node1', 'nodeName: node2')),
    ).translation
    expect([...nodes].map(([name, list]) => [name, list.map(({ resource }) => resource.name)])).to.deep.equal([
      ['node1', ['pod-b-1']],
      ['node2', ['pod-a-1']],
    ])
  })

  it('tells of both IP families where there are two, and of nothing more where there is one', () => {
    const mesh = (spec: string) =>
      `{apiVersion: v1, kind: Service, metadata: {name: weft, namespace: weft-system}, spec: {${spec}, ports: []}}`
    const resources = (yaml: string) => {
      const { common, nodes } = passOf(worldOf(yaml)).translation
      const all = [...common, ...(nodes.get('node1') ?? [])].map(({ resource }) => resource)
      const find = (kind: string) => all.find((resource) => resource.kind === kind)
      return { mesh: find('mesh'), workload: find('workload') }
    }
    const pods = shop({ name: 'a' })
    const one = resources(`${pods}\n---\n${mesh('clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9]')}`)
    expect(one.mesh).to.include({ address: '10.96.0.9' }).and.not.have.property('secondAddress')
    expect(one.workload).to.include({ address: '10.1.0.1' }).and.not.have.property('secondAddress')
    const dual = pods.replace('podIP: 10.1.0.1', 'podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}, {ip: "fd00::1"}]')
    const two = resources(`${dual}\n---\n${mesh('clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9, "fd00:96::9"]')}`)
    expect(two.mesh).to.include({ address: '10.96.0.9', secondAddress: 'fd00:96::9' })
    expect(two.workload).to.include({ address: '10.1.0.1', secondAddress: 'fd00::1' })
  })

  it('wants addresses of every IP family that the cluster has', () => {
    const { services } = passOf(worldOf(shop({ name: 'a', ports: ['tcp-x:5000'] }))).translation
    const policies = services.flatMap(({ spec }) => (spec.type === 'ClusterIP' ? [spec.ipFamilyPolicy] : []))
    expect(policies).to.deep.equal(['PreferDualStack', 'PreferDualStack'])
  })

  it('wants Services that Kubernetes takes', () => {
    const { services } = passOf(worldOf(shop({ name: 'a', ports: [80, 'tcp-x:5000'] }, { name: 'b' }))).translation
    for (const { metadata, spec } of services) {
      expect(metadata.name).to.match(/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/)
      if (spec.type === 'ExternalName') continue
      expect(spec.ports).to.not.be.empty
      expect(new Set(spec.ports.map(({ name }) => name)).size).to.equal(spec.ports.length)
      for (const { name } of spec.ports) expect(name).to.match(/^[a-z0-9-]{1,15}$/)
    }
  })
})
