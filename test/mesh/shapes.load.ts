// The second half of shapes.test.ts: Services that change, go and come back while requests are under way.

import { expect } from 'chai'
import type { Service } from '../../controller/observe/objects.ts'
import type { Load } from '../support/load.ts'
import type { Shapes } from '../support/shapes.ts'
import { until } from '../support/until.ts'

const http = (port: number, targetPort: number, name = 'http') => ({ name, port, targetPort })
const selector = { app: 'web' }

/** What failed requests said, each once. */
function reasons({ failures }: Load): string[] {
  return [...new Set(failures.map((line) => line.slice(line.indexOf(' ') + 1)))].sort()
}

async function steady(load: Load, requests = 50): Promise<void> {
  const before = load.succeeded()
  await until(
    () => load.succeeded() >= before + requests,
    () => `${requests} responses (${load.summary()})`,
    20_000,
  )
}

/** Defines the tests. Pods `shapes/web` serve HTTP on 8080 and 8081, and opaque bytes on 8082. */
export function defineLoad(given: () => Shapes): void {
  let shapes: Shapes
  let load: Load | null = null

  beforeEach(() => {
    shapes = given()
  })
  afterEach(async () => {
    await load?.stop()
    load = null
  })

  const uidOf = (key: string) => {
    const [namespace = '', name = ''] = key.split('/')
    return shapes.mesh.cluster.get<Service>('services', namespace, name)?.metadata.uid
  }
  const ownerOf = (alias: string) => {
    const [namespace = '', name = ''] = alias.split('/')
    return shapes.mesh.cluster.get<Service>('services', namespace, name)?.metadata.ownerReferences?.[0]?.uid
  }

  it('ports renamed, added, removed and led elsewhere, without a failed request', async () => {
    const key = 'shapes/moving'
    shapes.service(key, { selector, ports: [http(7101, 8080, 'http-a')] })
    await shapes.answers(`${key}-mesh`, 7101, 200)
    load = shapes.load(`${key}-mesh`, 7101)
    await steady(load)
    shapes.service(key, { selector, ports: [http(7101, 8080, 'http-b')] })
    await steady(load)
    shapes.service(key, { selector, ports: [http(7101, 8080, 'http-b'), http(7102, 8081, 'more')] })
    await shapes.answers(`${key}-mesh`, 7102, ({ port }) => port === 8081)
    const slow = shapes.get(`${key}-mesh`, 7102, '/slow?1000')
    await steady(load)
    shapes.service(key, { selector, ports: [http(7101, 8080, 'http-b')] })
    await shapes.answers(`${key}-mesh`, 7102, '404 no_route')
    expect((await slow).status, 'what was under way on the port that went').to.equal(200)
    shapes.service(key, { selector, ports: [http(7101, 8081, 'http-b')] })
    await shapes.answers(`${key}-mesh`, 7101, ({ port }) => port === 8081)
    await steady(load)
    await load.stop()
    expect(load.summary()).to.equal('')
  })

  it('the protocol of a port changed: what is under way ends well, what comes by the old address is told', async () => {
    const key = 'shapes/turning'
    const spec = (appProtocol: string) => ({ selector, ports: [{ ...http(7103, 8080, 'main'), appProtocol }] })
    shapes.service(key, spec('http'))
    await shapes.answers(`${key}-mesh`, 7103, 200)
    const shared = shapes.address(`${key}-mesh`)
    load = shapes.load(`${key}-mesh`, 7103)
    await steady(load)
    const slow = shapes.get(`${key}-mesh`, 7103, '/slow?1500')
    await until(() => load!.succeeded() > 0)
    shapes.service(key, spec('tcp'))
    await until(() => shapes.address(`${key}-mesh`) !== shared, 'a dedicated address')
    await shapes.answers(`${key}-mesh`, 7103, 200)
    await until(() => load!.failures.length > 0, 'a refusal by the shared port')
    expect((await slow).said.port).to.equal(8080)
    await load.stop()
    expect(reasons(load)).to.deep.equal(['404 no_route'])
    // On the way back the old address goes on for a while.
    load = shapes.load(`${key}-mesh`, 7103)
    await steady(load)
    shapes.service(key, spec('http'))
    await until(() => shapes.address(`${key}-mesh`) === shared, 'the shared address')
    await shapes.answers(`${key}-mesh`, 7103, 200)
    await steady(load)
    await load.stop()
    expect(load.summary()).to.equal('')
  })

  it('pods that end are drained: requests and connections under way are not cut', async () => {
    await shapes.pods('shapes/leaving', { serve: ['8080', '8082:tcp'], replicas: 2, lingerMs: 1000 })
    const ports = [http(7104, 8080), { name: 'tcp-raw', port: 7105, targetPort: 8082 }]
    shapes.service('shapes/leaving', { selector: { app: 'leaving' }, ports })
    const { socket, greeting } = await shapes.open('shapes/leaving-mesh', 7105)
    const [victim = ''] = greeting.split(' ')
    load = shapes.load('shapes/leaving-mesh', 7104)
    await steady(load)
    const slow = Array.from({ length: 8 }, () => shapes.get('shapes/leaving-mesh', 7104, '/slow?1500'))
    const pods = () => shapes.podsOf('shapes', 'leaving')
    await until(() => load!.succeeded() > 100)
    shapes.mesh.cluster.remove('pods', pods().find(({ metadata }) => metadata.name === victim)!.metadata)
    const ended = await Promise.all(slow)
    expect(ended.map(({ status }) => status)).to.deep.equal(Array(8).fill(200))
    expect(
      ended.map(({ said }) => said.pod),
      'some of them by the pod that ends',
    ).to.include(victim)
    await until(async () => {
      const batch = await Promise.all(Array.from({ length: 8 }, () => shapes.get('shapes/leaving-mesh', 7104)))
      return batch.every(({ said }) => said.pod !== victim)
    }, 'requests to other pods alone')
    socket.send('still here')
    expect(await socket.read(10)).to.equal('still here')
    expect(pods().map(({ metadata }) => metadata.name)).to.include(victim)
    socket.end()
    await until(() => pods().every(({ metadata }) => metadata.name !== victim), 'its end')
    await load.stop()
    expect(load.summary()).to.equal('')
  })

  it('a Service deleted and made again within a second: another UID, nothing left of the old one', async () => {
    const key = 'shapes/reborn'
    const make = () =>
      shapes.service(key, { selector, ports: [http(7106, 8080), { name: 'tcp-raw', port: 7107, targetPort: 8082 }] })
    make()
    const old = await shapes.open(`${key}-mesh`, 7107)
    await shapes.answers(`${key}-mesh`, 7106, 200)
    load = shapes.load(`${key}-mesh`, 7106)
    await steady(load)
    const before = uidOf(key)
    shapes.remove('services', key)
    make()
    await until(() => uidOf(key) !== before && ownerOf(`${key}-mesh`) === uidOf(key), 'an alias of the new one')
    await until(() => old.socket.isClosed, 'the end of a connection to the old one')
    const { socket, greeting } = await shapes.open(`${key}-mesh`, 7107)
    expect(greeting).to.match(/ 8082$/)
    socket.destroy()
    await shapes.answers(`${key}-mesh`, 7106, 200)
    await load.stop()
    for (const reason of reasons(load)) expect(reason).to.match(/^(404|503) \w+$|ECONNRE/)
  })

  it('a namespace deleted and made again', async () => {
    const make = async () => {
      shapes.namespace('again')
      await shapes.pods('again/web', { serve: ['8080'], lingerMs: 100 })
      shapes.service('again/web', { selector, ports: [http(7108, 8080)] })
      await shapes.answers('again/web-mesh', 7108, 200)
    }
    await make()
    const before = uidOf('again/web')
    load = shapes.load('again/web-mesh', 7108)
    await steady(load)
    shapes.remove('namespaces', 'again')
    await until(() => load!.failures.length > 0, 'refusals')
    await until(() => shapes.mesh.cluster.get('namespaces', '', 'again') === undefined, 'the end of the namespace')
    await make()
    await steady(load)
    await load.stop()
    expect(uidOf('again/web')).to.not.equal(before)
    expect(ownerOf('again/web-mesh')).to.equal(uidOf('again/web'))
    for (const reason of reasons(load)) expect(reason).to.match(/^(404|502|503) \w+$/)
  })

  it('opt-in removed: requests under way end well, later ones are told why, until it is back', async () => {
    const key = 'shapes/fickle'
    const enrol = (mesh: string) =>
      shapes.service(
        key,
        { selector, ports: [http(7109, 8080), { name: 'tcp-raw', port: 7110, targetPort: 8082 }] },
        { labels: { 'weft.dev/mesh': mesh } },
      )
    enrol('enabled')
    shapes.service(
      'shapes/fickle-too',
      { selector, ports: [http(7109, 8080)] },
      { labels: { 'weft.dev/mesh': 'enabled' } },
    )
    await shapes.answers('shapes/fickle-too-mesh', 7109, 200)
    const { socket } = await shapes.open(`${key}-mesh`, 7110)
    const shared = shapes.load('shapes/fickle-too-mesh', 7109)
    load = shapes.load(`${key}-mesh`, 7109)
    await steady(load)
    const slow = shapes.get(`${key}-mesh`, 7109, '/slow?1500')
    const count = load.succeeded()
    await until(() => load!.succeeded() > count + 50)
    enrol('disabled')
    shapes.service(
      'shapes/fickle-too',
      { selector, ports: [http(7109, 8080)] },
      { labels: { 'weft.dev/mesh': 'disabled' } },
    )
    await until(() => shapes.address(`${key}-mesh`) === undefined, 'the end of the alias')
    await until(() => load!.failures.some((line) => line.endsWith('404 not_enrolled')), 'refusals')
    expect((await slow).status).to.equal(200)
    await shared.stop()
    expect(reasons(shared)).to.deep.equal(['404 not_enrolled'])
    await load.stop()
    // The dedicated address goes with the label: who connects anew finds nobody there.
    for (const reason of reasons(load)) expect(reason).to.match(/^404 not_enrolled$|ECONNREFUSED|ECONNRESET/)
    await shapes.answers('shapes/fickle-too', 7109, '404 not_enrolled', 'fickle-too-mesh.shapes')
    socket.send('open')
    expect(await socket.read(4), 'on a connection from before').to.equal('open')
    socket.destroy()
    enrol('enabled')
    await shapes.answers(`${key}-mesh`, 7109, 200)
  })
}
