// Services of every shape in a local mesh, with the real controller and agents: what each is reached by, and what is said
// where one can't be.

import { expect } from 'chai'
import { type Shapes, startShapes } from '../support/shapes.ts'
import { until } from '../support/until.ts'
import { defineLoad } from './shapes.load.ts'

describe('mesh: Services of every shape', function () {
  this.timeout(60_000)
  let shapes: Shapes

  before(async () => {
    shapes = await startShapes()
    await Promise.all([
      shapes.pods('shapes/web', { serve: ['8080', '8081', '8082:tcp'], replicas: 2 }),
      shapes.pods('shapes/other', { serve: ['9090'], labels: { app: 'other', kind: 'mixed' }, names: { http: 9090 } }),
      shapes.pods('shapes/same', { serve: ['9191'], labels: { app: 'same', kind: 'mixed' }, names: { http: 9191 } }),
      shapes.pods('shapes/unready', { serve: ['8080'], isUnready: true }),
    ])
  })
  after(() => shapes?.stop())

  const web = { app: 'web' }
  const addresses = (app: string) => shapes.podsOf('shapes', app).map((pod) => pod.status!.podIP!)
  const names = (app: string) => shapes.podsOf('shapes', app).map((pod) => pod.metadata.name)

  /** The pods and ports that requests come to, until there are as many as wanted. */
  async function reached(alias: string, port: number, count: number): Promise<string[]> {
    const found = new Set<string>()
    await shapes.answers(alias, port, 200)
    await until(async () => {
      // Many at once: one after the other would all go to the pod that was quicker at first.
      const batch = await Promise.all(Array.from({ length: 8 }, () => shapes.get(alias, port)))
      for (const { said } of batch) found.add(`${said.pod} ${said.port}`)
      return found.size >= count
    }, `${count} pods of ${alias}`)
    return [...found].sort()
  }

  it('named target ports that differ between pods', async () => {
    shapes.service('shapes/mixed', { selector: { kind: 'mixed' }, ports: [{ port: 7001, targetPort: 'http' }] })
    expect(await reached('shapes/mixed-mesh', 7001, 2)).to.deep.equal([
      `${names('other')} 9090`,
      `${names('same')} 9191`,
    ])
  })

  it('several ports, HTTP and opaque, each to its own target', async () => {
    shapes.service('shapes/ports', {
      selector: web,
      ports: [
        { name: 'http', port: 7001, targetPort: 8080 },
        { name: 'admin', port: 7002, targetPort: 8081 },
        { name: 'tcp-raw', port: 7003, targetPort: 8082 },
        { name: 'udp', port: 7004, targetPort: 8080, protocol: 'UDP' },
      ],
    })
    await shapes.answers('shapes/ports-mesh', 7001, (said) => said.port === 8080)
    await shapes.answers('shapes/ports-mesh', 7002, (said) => said.port === 8081)
    const { socket, greeting } = await shapes.open('shapes/ports-mesh', 7003)
    expect(greeting).to.match(/^web-\S+ 8082$/)
    socket.send('echo')
    expect(await socket.read(4)).to.equal('echo')
    socket.destroy()
    await until(async () => (await shapes.events('shapes/ports')).length > 0, 'the Event about UDP')
    expect(await shapes.events('shapes/ports')).to.deep.equal([
      'ProtocolUnsupported: spec.ports[3].protocol: UDP is not carried by the mesh; clients must use the plain Service for this port',
    ])
  })

  it('headless', async () => {
    shapes.service('shapes/headless', { clusterIP: 'None', selector: web, ports: [{ port: 7001, targetPort: 8080 }] })
    const both = names('web').map((name) => `${name} 8080`)
    expect(await reached('shapes/headless-mesh', 7001, 2)).to.deep.equal(both.sort())
  })

  for (const type of ['NodePort', 'LoadBalancer']) {
    it(`of type ${type}`, async () => {
      const key = `shapes/${type.toLowerCase()}`
      shapes.service(key, { type, selector: web, ports: [{ port: 7001, targetPort: 8080, nodePort: 30_001 }] })
      await shapes.answers(`${key}-mesh`, 7001, (said) => said.port === 8080)
      expect(shapes.mesh.cluster.get('services', 'shapes', type.toLowerCase())).to.have.nested.property(
        'spec.type',
        type,
      )
    })
  }

  it('without selector: endpoints that are pods, with their identity; all others refused by name', async () => {
    shapes.service('shapes/manual', { ports: [{ name: 'main', port: 7001 }] })
    const [one = ''] = addresses('web')
    shapes.slice('shapes/manual-1', 'manual', { name: 'main', port: 8081 }, ['127.0.0.1', '203.0.113.9', one])
    await shapes.answers('shapes/manual-mesh', 7001, (said) => said.port === 8081)
    await until(async () => (await shapes.events('shapes/manual')).length === 2, 'two Events')
    expect((await shapes.events('shapes/manual')).sort()).to.deep.equal([
      'EndpointRefused: EndpointSlice manual-1 endpoints[0].addresses[0]: "127.0.0.1" is a loopback, link-local, multicast or reserved address; it gets no traffic',
      'EndpointRefused: EndpointSlice manual-1 endpoints[1].addresses[0]: "203.0.113.9" belongs to no pod; if it may be reached, the controller needs --foreign-cidrs; it gets no traffic',
    ])
  })

  it('without selector nor endpoints', async () => {
    shapes.service('shapes/empty', { ports: [{ port: 7001 }] })
    await shapes.answers('shapes/empty-mesh', 7001, '503 no_endpoint')
  })

  it('ExternalName: refused, and not enrolled', async () => {
    shapes.service('shapes/outside', { type: 'ExternalName', externalName: 'example.com', ports: [{ port: 7001 }] })
    await until(async () => (await shapes.events('shapes/outside')).length > 0, 'an Event')
    expect(await shapes.events('shapes/outside')).to.deep.equal([
      'HostRefused: spec.externalName: "example.com" is outside of the mesh; if it may be reached, the controller needs --foreign-hosts',
    ])
    expect(shapes.address('shapes/outside-mesh')).to.equal(undefined)
  })

  it('internalTrafficPolicy: Local: pods of the caller’s node alone', async () => {
    const { nodeName } = shapes.podsOf('shapes', 'client')[0]!.spec
    const near = shapes.podsOf('shapes', 'web').filter(({ spec }) => spec.nodeName === nodeName)
    const ports = [{ port: 7001, targetPort: 8080 }]
    shapes.service('shapes/near', { selector: web, internalTrafficPolicy: 'Local', ports })
    await shapes.answers('shapes/near-mesh', 7001, near.length === 0 ? '503 no_endpoint' : 200)
    const batch = await Promise.all(Array.from({ length: 32 }, () => shapes.get('shapes/near-mesh', 7001)))
    const reachedPods = new Set(batch.flatMap(({ status, said }) => (status === 200 ? [said.pod] : [])))
    expect([...reachedPods]).to.have.members(near.map(({ metadata }) => metadata.name))
    shapes.service('shapes/near', { selector: web, internalTrafficPolicy: 'Cluster', ports })
    expect(await reached('shapes/near-mesh', 7001, 2)).to.have.length(2)
  })

  it('publishNotReadyAddresses', async () => {
    const spec = { selector: { app: 'unready' }, ports: [{ port: 7001, targetPort: 8080 }] }
    shapes.service('shapes/unready', spec)
    await shapes.answers('shapes/unready-mesh', 7001, '503 no_endpoint')
    shapes.service('shapes/unready', { ...spec, publishNotReadyAddresses: true })
    await shapes.answers('shapes/unready-mesh', 7001, 200)
  })

  it('names of 63 characters: no alias, an Event that says by which name instead, and a dedicated address', async () => {
    const long = 'l'.repeat(63)
    const ports = [{ name: 'http', port: 7001, targetPort: 8080 }]
    shapes.service(`shapes/${long}`, { selector: web, ports })
    await shapes.answers(`shapes/${long}`, 7001, 200, `${long}.shapes.mesh.internal`)
    await until(async () => (await shapes.events(`shapes/${long}`)).length > 0, 'an Event')
    expect((await shapes.events(`shapes/${long}`))[0]).to.match(
      /^AliasNameTooLong: .*clients can use l{63}\.shapes\.mesh\.internal$/,
    )
    shapes.service(`shapes/${long}`, {
      selector: web,
      ports: [...ports, { name: 'tcp-x', port: 7003, targetPort: 8082 }],
    })
    const shadows = () =>
      shapes.mesh.cluster
        .list('services', 'weft-system')
        .filter(({ metadata }) => metadata.labels?.['weft.dev/service'] === long)
    await until(() => shadows().length === 1, 'its shadow Service')
    expect(shadows()[0]!.metadata.name).to.match(/^l{46}-[0-9a-f]{16}$/)
    const address = shapes.mesh.clusterIP('weft-system', shadows()[0]!.metadata.name)!
    const { socket, greeting } = await shapes.connect(address, 7003)
    expect(greeting).to.match(/^web-\S+ 8082$/)
    socket.destroy()
  })

  it('an alias name that a user’s Service has: left alone, with an Event', async () => {
    const spec = { selector: web, ports: [{ port: 7001, targetPort: 8081 }] }
    shapes.service('shapes/taken-mesh', spec, { labels: { 'weft.dev/mesh': 'disabled' } })
    shapes.service('shapes/taken', { selector: web, ports: [{ port: 7001, targetPort: 8080 }] })
    await shapes.answers('shapes/taken', 7001, (said) => said.port === 8080, 'taken.shapes.mesh.internal')
    await until(async () => (await shapes.events('shapes/taken')).length > 0, 'an Event')
    expect((await shapes.events('shapes/taken'))[0]).to.match(/^AliasNameTaken: .*"taken-mesh" and is left alone/)
    expect(shapes.mesh.cluster.get('services', 'shapes', 'taken-mesh')).to.have.nested.property(
      'spec.type',
      'ClusterIP',
    )
  })

  describe('that change under load', () => defineLoad(() => shapes))
})
