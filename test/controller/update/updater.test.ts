// Writing to the cluster: only as leader, and past what is refused.

import { expect } from 'chai'
import { pino } from 'pino'
import { systemClock } from '../../../controller/clock.ts'
import type { Namespace, Service } from '../../../controller/observe/objects.ts'
import { emptyWorld, type World } from '../../../controller/observe/world.ts'
import type { Pass } from '../../../controller/pipeline.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import type { DesiredService } from '../../../controller/translate/desired.ts'
import type { DesiredPolicy } from '../../../controller/translate/lock.ts'
import type { Notice } from '../../../controller/update/events.ts'
import { openUpdater, type Updater } from '../../../controller/update/updater.ts'
import { type FakeServer, json, refuse, startFakeServer } from '../../support/fakeserver.ts'
import { until } from '../../support/until.ts'
import { passOf } from '../../support/world.ts'

interface Written {
  method: string
  path: string
  name: string
}

function alias(service: string, namespace = 'shop'): DesiredService {
  const labels = { 'app.kubernetes.io/managed-by': 'weft', 'weft.dev/service': service }
  const ownerReferences = [{ apiVersion: 'v1', kind: 'Service', name: service, uid: `uid-${service}` }]
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `${service}-mesh`, namespace, labels, annotations: {}, ownerReferences },
    spec: { type: 'ExternalName', externalName: 'weft.weft-system.svc.cluster.local' },
  }
}

function pass(services: DesiredService[], world: Partial<World> = {}): Pass {
  return {
    world: { ...emptyWorld, ...world },
    topology: passOf(emptyWorld).topology,
    translation: { common: [], nodes: new Map(), services, policies: [], problems: [] },
  }
}

describe('updater', () => {
  let server: FakeServer
  let updater: Updater
  /** Status by name of the object written; 0: no answer at all. */
  let refusals: Map<string, number>
  let written: Written[]
  /** What agents say of callers. */
  let noticed: Notice[]

  beforeEach(async () => {
    refusals = new Map()
    noticed = []
    written = []
    server = await startFakeServer(({ method, url, body }, response) => {
      const { name = '' } = (body as { metadata?: { name?: string } } | undefined)?.metadata ?? {}
      written.push({ method, path: url.pathname, name })
      const status = refusals.get(name)
      if (status === 0) return
      if (status === 429) response.setHeader('retry-after', '1')
      if (status !== undefined) return refuse(response, status, 'Refused')
      json(response, 200, body)
    })
    // All goes a hundred times as fast.
    const now = () => systemClock.now() * 100
    const clock = {
      ...systemClock,
      now,
      sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 100, signal),
    }
    updater = openUpdater({
      api: server.api,
      clock,
      log: pino({ level: 'silent' }),
      settings: defaultSettings,
      controller: 'controller-1',
      served: () => undefined,
      noticed: () => noticed,
    })
  })

  afterEach(async () => {
    await updater.stop()
    await server.close()
  })

  const names = () => written.map(({ name }) => name)
  const times = (name: string) => names().filter((each) => each === name).length

  it('makes Events of what agents have noticed, as long as they say so', async () => {
    const object = { apiVersion: 'v1', kind: 'Pod', namespace: 'shop', name: 'client-1', uid: 'uid-1' }
    noticed = [{ object, reason: 'TlsOnHttpPort', message: 'calls with TLS' }]
    updater.lead(true)
    updater.update(pass([]))
    await until(() => written.length === 1, 'the Event')
    expect(written[0]).to.include({ method: 'POST', path: '/api/v1/namespaces/shop/events' })
    noticed = []
    updater.update(pass([alias('reviews')]))
    await until(() => names().includes('reviews-mesh'), 'the next pass')
    expect(written).to.have.length(2)
  })

  it('writes only while it leads, and then the newest pass', async () => {
    updater.update(pass([alias('old')]))
    updater.update(pass([alias('new')]))
    await new Promise((resolve) => setImmediate(resolve))
    expect(written).to.deep.equal([])
    updater.lead(true)
    await until(() => written.length > 0)
    expect(names()).to.deep.equal(['new-mesh'])
    updater.lead(false)
    updater.update(pass([alias('newer')]))
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(names()).to.deep.equal(['new-mesh'])
    expect([...updater.writes]).to.deep.equal([['create Service', 1]])
  })

  it('lets one that is refused hold up no other, shows it on its owner, and tries again', async () => {
    refusals.set('bad-mesh', 403)
    updater.update(pass([alias('bad'), alias('good')]))
    updater.lead(true)
    await until(() => times('good-mesh') >= 1 && times('bad-mesh') >= 3)
    const event = server.requests.find(({ url }) => url.pathname === '/api/v1/namespaces/shop/events')!
    expect(event.body).to.deep.include({ reason: 'AliasNotWritten', type: 'Warning' })
    expect(event.body).to.have.nested.property('involvedObject.uid', 'uid-bad')
    expect((event.body as { message: string }).message).to.contain('it is Refused')
    refusals.clear()
    const before = times('bad-mesh')
    await until(() => times('bad-mesh') > before)
    const failures = updater.failures
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(updater.failures).to.equal(failures)
  })

  it('writes locks, and shows on the Service that one is refused', async () => {
    const path = '/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies'
    const { metadata } = alias('web')
    const policy: DesiredPolicy = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { ...metadata, name: 'weft-lock-web', ownerReferences: metadata.ownerReferences! },
      spec: { podSelector: {}, policyTypes: ['Ingress'], ingress: [] },
    }
    const next = pass([])
    next.translation.policies = [policy]
    refusals.set('weft-lock-web', 403)
    updater.update(next)
    updater.lead(true)
    const event = () => server.requests.find(({ url }) => url.pathname === '/api/v1/namespaces/shop/events')
    await until(() => event() !== undefined)
    expect(event()!.body).to.deep.include({ reason: 'LockNotWritten', type: 'Warning' })
    expect(event()!.body).to.have.nested.property('involvedObject.uid', 'uid-web')
    refusals.clear()
    await until(() => updater.writes.get('create NetworkPolicy') === 1)
    expect(written.filter(({ name }) => name === 'weft-lock-web').at(-1)).to.deep.include({ method: 'POST', path })
  })

  it('takes a conflict for news to come, not for a failure', async () => {
    refusals.set('reviews-mesh', 409)
    updater.update(pass([alias('reviews')]))
    updater.lead(true)
    await until(() => written.length === 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(written).to.have.length(1)
    expect(updater.failures).to.equal(0)
  })

  it('puts right at once what somebody changes, but not without end, and says so', async () => {
    const desired = alias('reviews')
    const spec = { ...desired.spec, externalName: 'example.com' }
    const spoilt = { ...desired, metadata: { ...desired.metadata, uid: 'uid-alias' }, spec } as unknown as Service
    updater.lead(true)
    // Somebody is as quick as we are.
    for (let round = 0; round < 40; round++) {
      const services = new Map([['shop/reviews-mesh', structuredClone(spoilt)]])
      updater.update(pass([desired], { services }))
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const put = () => written.filter(({ method }) => method === 'PUT').length
    expect(put()).to.be.within(11, 15)
    const isEvent = ({ url }: { url: URL }) => url.pathname === '/api/v1/namespaces/shop/events'
    await until(() => server.requests.some(isEvent), 'an Event')
    const event = server.requests.find(isEvent)!
    expect(event.body).to.deep.include({ reason: 'Contested' })
    expect(event.body).to.have.nested.property('involvedObject.uid', 'uid-alias')
    // Not given up: the next attempt comes by itself, without another pass.
    const before = put()
    await until(() => put() > before, 'another attempt')
    expect(updater.failures).to.equal(0)
  })

  it('waits when the API server asks it to', async () => {
    refusals.set('a-mesh', 429)
    updater.update(pass([alias('a')]))
    updater.lead(true)
    await until(() => times('a-mesh') >= 2)
    expect(server.requests.filter(({ url }) => url.pathname.endsWith('/events'))).to.deep.equal([])
  })

  it('creates nothing in a namespace that is going', async () => {
    const metadata = { name: 'shop', uid: 'u', resourceVersion: '1', deletionTimestamp: '2026-01-01T00:00:00Z' }
    const shop: Namespace = { apiVersion: 'v1', kind: 'Namespace', metadata }
    updater.update(pass([alias('a'), alias('b', 'other')], { namespaces: new Map([['shop', shop]]) }))
    updater.lead(true)
    await until(() => written.length > 0)
    expect(names()).to.deep.equal(['b-mesh'])
  })

  it('ends though the API server does not answer', async () => {
    refusals.set('a-mesh', 0)
    updater.update(pass([alias('a')]))
    updater.lead(true)
    await until(() => written.length === 1)
    await updater.stop()
    expect(updater.failures).to.equal(0)
  })
})
