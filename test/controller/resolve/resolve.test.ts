// The whole World becomes a topology: the same on every replica, and stable from pass to pass.

import { expect } from 'chai'
import { restMs } from '../../../controller/resolve/meshports.ts'
import { shadowName } from '../../../controller/resolve/names.ts'
import { withdrawnForMs } from '../../../controller/resolve/services.ts'
import type { Topology } from '../../../controller/resolve/topology.ts'
import { nowMs, passOf, said, shop, worldOf } from '../../support/world.ts'

const node = (topology: Topology, key: string) => topology.services.find((service) => service.key === key)
const kinds = (pass: ReturnType<typeof passOf>, kind: string) =>
  pass.translation.common.filter(({ resource }) => resource.kind === kind).map(({ resource }) => resource.name)

describe('the topology', () => {
  it('is empty for an empty world', () => {
    const { topology, translation } = passOf(worldOf(''))
    expect(topology.services).to.deep.equal([])
    expect(translation.services.map(({ metadata }) => metadata.name)).to.deep.equal(['weft'])
  })

  it('is JSON, and works as the previous one after a round trip', () => {
    const world = worldOf(shop({ name: 'web', ports: ['tcp-x:5000', 80] }))
    const { topology } = passOf(world)
    const copy = JSON.parse(JSON.stringify(topology)) as Topology
    expect(copy).to.deep.equal(topology)
    expect(passOf(world, {}, copy).topology).to.deep.equal(topology)
  })

  it('is the same in whatever order the objects came', () => {
    const documents = shop({ name: 'a' }, { name: 'b', ports: ['tcp-x:5000'] }, { name: 'c' }).split('\n---\n')
    const forth = passOf(worldOf(documents.join('\n---\n')))
    const back = passOf(worldOf(documents.toReversed().join('\n---\n')))
    expect(back).to.deep.equal(forth)
  })

  it('gives a Service that is only a backend no alias and no mesh port', () => {
    const text = shop({ name: 'root' }, { name: 'v2', ports: [8080, 9999], labels: '{weft.dev/mesh: disabled}' })
    const pass = passOf(
      worldOf(
        `${text}\n---\n{apiVersion: split.smi-spec.io/v1alpha2, kind: TrafficSplit, metadata: {name: s}, spec: {service: root, backends: [{service: v2, weight: 1}]}}`,
      ),
    )
    expect(node(pass.topology, 'shop/v2')).to.include({ isEnrolled: false, alias: null, shadow: null })
    expect(kinds(pass, 'service')).to.deep.equal(['shop/root', 'shop/v2'])
    expect(kinds(pass, 'endpoints')).to.include('shop/v2:8080')
    expect(pass.topology.sharedPorts.map(({ port }) => port)).to.deep.equal([8080])
  })

  it('needs no shared mesh port for the number of the entry', () => {
    expect(passOf(worldOf(shop({ name: 'web', ports: [15001] }))).topology.sharedPorts).to.deep.equal([])
  })

  it('keeps mesh ports when Services come and go', () => {
    const small = passOf(worldOf(shop({ name: 'web', ports: ['tcp-a:5000'] })))
    const large = passOf(
      worldOf(shop({ name: 'a', ports: ['tcp-a:5000'] }, { name: 'web', ports: ['tcp-a:5000'] })),
      {},
      small.topology,
    )
    expect(node(large.topology, 'shop/web')?.ports[0]?.meshPort).to.equal(
      node(small.topology, 'shop/web')?.ports[0]?.meshPort,
    )
  })

  it('says when no mesh port is left, and leaves out what would lead nowhere', () => {
    const text = shop({ name: 'db', ports: ['tcp-a:5000'] }, { name: 'web', ports: [80] })
    const { topology, translation } = passOf(worldOf(text), { meshPorts: { first: 20000, last: 20000 } })
    // Shared ports come first: everyone depends on them.
    expect(topology.sharedPorts).to.deep.equal([{ meshPort: 20000, port: 80 }])
    expect(said(translation.problems)).to.deep.equal(['Service db: MeshPortsExhausted'])
    expect(translation.services.map(({ metadata }) => metadata.name)).to.deep.equal(['web-mesh', 'weft'])
  })

  it('leaves a shadow Service alone that stands for something else', () => {
    const name = shadowName('shop/db')
    const taken = `{apiVersion: v1, kind: Service, metadata: {name: ${name}, namespace: weft-system}, spec: {clusterIP: 10.96.5.5, ports: [{port: 1}]}}`
    const { topology, translation } = passOf(worldOf(`${shop({ name: 'db', ports: ['tcp-a:5000'] })}\n---\n${taken}`))
    expect(node(topology, 'shop/db')?.shadow).to.equal(null)
    expect(said(translation.problems)).to.deep.equal(['Service db: ShadowNameTaken'])
    expect(translation.services.map(({ metadata }) => metadata.name)).to.not.include(name)
  })

  it('reads the address of a shadow Service back', () => {
    const name = shadowName('shop/db')
    const ours = `{apiVersion: v1, kind: Service, metadata: {name: ${name}, namespace: weft-system, labels: {app.kubernetes.io/managed-by: weft, weft.dev/service: db, weft.dev/namespace: shop}}, spec: {clusterIP: 10.96.5.5, ports: [{name: p-5000, port: 5000, targetPort: 16400}]}}`
    const { topology } = passOf(worldOf(`${shop({ name: 'db', ports: ['tcp-a:5000'] })}\n---\n${ours}`))
    expect(node(topology, 'shop/db')?.shadow).to.deep.equal({ name, address: '10.96.5.5' })
    expect(node(topology, 'shop/db')?.ports[0]?.meshPort).to.equal(16400)
  })

  it('makes nothing in a namespace on its way out', () => {
    const text = shop({ name: 'web' }).replace('}}}', '}}, status: {phase: Terminating}}')
    expect(passOf(worldOf(text)).translation.services.map(({ metadata }) => metadata.name)).to.deep.equal(['weft'])
  })

  it('remembers for a while that a Service has left the mesh', () => {
    const text = shop({ name: 'web' }, { name: 'db', ports: ['tcp-a:5000'] })
    const before = passOf(worldOf(text))
    const world = worldOf(text.replace('enabled', 'disabled'))
    const left = passOf(world, {}, before.topology, nowMs + 1)
    expect(kinds(left, 'service')).to.deep.equal(['shop/db', 'shop/web'])
    expect(kinds(left, 'endpoints')).to.deep.equal([])
    expect(kinds(left, 'port').sort()).to.deep.equal(kinds(before, 'port').sort())
    // Aliases and dedicated addresses go; the ports of the address that all share stay open for those who have it from DNS.
    const addresses = ({ translation }: typeof left) =>
      translation.services.map(({ metadata, spec }) => [metadata.name, 'ports' in spec ? spec.ports : []])
    expect(addresses(left)).to.deep.equal(addresses(before).filter(([name]) => name === 'weft'))
    const later = passOf(world, {}, left.topology, nowMs + 1 + withdrawnForMs)
    expect(later.translation.services.map(({ metadata }) => metadata.name)).to.deep.equal(['weft'])
    expect(kinds(later, 'service')).to.deep.equal([])
    expect(kinds(passOf(world, {}, later.topology, nowMs + 1 + restMs), 'port')).to.deep.equal([])
  })

  it('keeps a dedicated address for a while that is not needed any more, and leads clients away from it', () => {
    const ports = (appProtocol: string) =>
      shop({ name: 'web', ports: ['main:5000'] }).replace(
        'targetPort: 5001',
        `targetPort: 5001, appProtocol: ${appProtocol}`,
      )
    const before = passOf(worldOf(ports('tcp')))
    const { name } = node(before.topology, 'shop/web')!.shadow!
    const world = worldOf(ports('http'))
    const after = passOf(world, {}, before.topology, nowMs + 1)
    const ofDedicated = ({ translation }: typeof before) =>
      translation.common.flatMap(({ resource }) => (resource.kind === 'port' && resource.service ? [resource] : []))
    expect(ofDedicated(after)).to.deep.equal(ofDedicated(before)).and.to.have.length(1)
    const wanted = (pass: typeof before) =>
      pass.translation.services.map(({ metadata, spec }) => [
        metadata.name,
        'externalName' in spec && spec.externalName,
      ])
    expect(wanted(after)).to.deep.include.members([
      [name, false],
      ['web-mesh', 'weft.weft-system.svc.cluster.local'],
    ])
    const service = after.translation.common.find(({ resource }) => resource.name === 'shop/web')!.resource
    expect(service).to.include({ kind: 'service', address: '' })
    // However many passes there are, it ends when it should; coming back ends it, too.
    const later = passOf(world, {}, after.topology, nowMs + withdrawnForMs)
    expect(wanted(later)).to.deep.include([name, false])
    const back = passOf(worldOf(ports('tcp')), {}, later.topology, nowMs + withdrawnForMs)
    expect(wanted(back)).to.deep.include(['web-mesh', `${name}.weft-system.svc.cluster.local`])
    const end = passOf(world, {}, later.topology, nowMs + 1 + withdrawnForMs)
    expect(wanted(end)).to.not.deep.include([name, false])
    expect(ofDedicated(end)).to.deep.equal([])
  })

  it('does not remember one that came back, is gone, or is another', () => {
    const text = shop({ name: 'web' })
    const before = passOf(worldOf(text)).topology
    const left = passOf(worldOf(text.replace('enabled', 'disabled')), {}, before).topology
    expect(node(passOf(worldOf(text), {}, left).topology, 'shop/web')?.withdrawnMs).to.equal(null)
    expect(node(passOf(worldOf(''), {}, left).topology, 'shop/web')).to.equal(undefined)
    const another = text
      .replace('enabled', 'disabled')
      .replace('metadata: {name: web, labels', 'metadata: {name: web, uid: other, labels')
    expect(node(passOf(worldOf(another), {}, before).topology, 'shop/web')).to.equal(undefined)
  })

  it('mirrors to a Service of the same namespace that has the ports', () => {
    const text = (mirror: string) =>
      `${shop({ name: 'web' }, { name: 'copy', labels: '{weft.dev/mesh: disabled}' }, { name: 'odd', ports: [1] }).replace('{name: web, labels: {}}', `{name: web, annotations: {weft.dev/mirror: ${mirror}}}`)}`
    const good = passOf(worldOf(text('copy.shop.svc')))
    expect(node(good.topology, 'shop/web')?.policy.mirror).to.deep.equal({ service: 'shop/copy', percent: 100 })
    expect(kinds(good, 'endpoints')).to.include('shop/copy:8080')
    for (const [mirror, reason] of [
      ['web', 'MirrorInvalid'],
      ['x.bank', 'MirrorInvalid'],
      ['odd', 'MirrorInvalid'],
      ['gone', 'BackendNotFound'],
    ] as const) {
      const { topology, translation } = passOf(worldOf(text(mirror)))
      expect(node(topology, 'shop/web')?.policy.mirror, mirror).to.equal(undefined)
      expect(said(translation.problems), mirror).to.deep.equal([`Service web: ${reason}`])
    }
  })
})
