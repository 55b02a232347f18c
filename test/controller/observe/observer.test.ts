// All kinds together: SMI versions that come and go, and worlds that don't change once handed out.

import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { pino } from 'pino'
import { systemClock } from '../../../controller/clock.ts'
import { discover } from '../../../controller/observe/discovery.ts'
import { smiKinds } from '../../../controller/observe/kinds.ts'
import { type Observer, startObserver } from '../../../controller/observe/observer.ts'
import { event, type FakeServer, json, refuse, startFakeServer } from '../../support/fakeserver.ts'
import { until } from '../../support/until.ts'

const log = pino({ level: 'silent' })

/** A cluster that serves what `crds` says: resource names by `group/version`. */
async function startCluster(crds: Record<string, string[]>, objects: Record<string, unknown[]> = {}) {
  const watches = new Map<string, ServerResponse>()
  const refused = new Map<string, number>()
  const server = await startFakeServer(({ url }, response) => {
    const path = url.pathname
    const status = refused.get(path)
    if (status !== undefined) return refuse(response, status, 'Refused')
    if (path === '/apis') {
      const groups = Map.groupBy(Object.keys(crds), (each) => each.split('/')[0]!)
      const list = [...groups].map(([name, versions]) => ({
        name,
        versions: versions.map((each) => ({ version: each.split('/')[1] })),
      }))
      return json(response, 200, { groups: list })
    }
    const [, , group = '', version = '', plural] = path.split('/')
    const resources = crds[`${group}/${version}`]
    if (path.startsWith('/apis/') && plural === undefined) {
      if (resources === undefined) return refuse(response, 404, 'NotFound')
      return json(response, 200, { resources: resources.map((name) => ({ name })) })
    }
    if (group.includes('smi-spec') && !resources?.includes(plural!)) return refuse(response, 404, 'NotFound')
    if (url.searchParams.get('watch') === 'true') {
      response.writeHead(200).flushHeaders()
      watches.set(path, response)
      return
    }
    json(response, 200, { metadata: { resourceVersion: '1' }, items: objects[path] ?? [] })
  })
  return { server, watches, refused }
}

function split(name: string) {
  return { metadata: { name, namespace: 'shop', uid: name, resourceVersion: '1' }, spec: {} }
}

describe('discovery', () => {
  let server: FakeServer
  afterEach(() => server.close())

  async function discovered(crds: Record<string, string[]>) {
    server = (await startCluster(crds)).server
    return Object.fromEntries(await discover(server.api, smiKinds, new AbortController().signal))
  }

  it('picks the newest version served of each kind', async () => {
    const found = await discovered({
      'split.smi-spec.io/v1alpha1': ['trafficsplits', 'trafficsplits/status'],
      'split.smi-spec.io/v1alpha4': ['trafficsplits', 'trafficsplits/status'],
      'specs.smi-spec.io/v1alpha4': ['httproutegroups', 'tcproutes', 'udproutes'],
      'access.smi-spec.io/v1alpha3': ['traffictargets'],
    })
    expect(found).to.deep.equal({
      'trafficsplits.split.smi-spec.io': { version: 'v1alpha4', hasStatus: true },
      'httproutegroups.specs.smi-spec.io': { version: 'v1alpha4', hasStatus: false },
      'tcproutes.specs.smi-spec.io': { version: 'v1alpha4', hasStatus: false },
      'udproutes.specs.smi-spec.io': { version: 'v1alpha4', hasStatus: false },
      'traffictargets.access.smi-spec.io': { version: 'v1alpha3', hasStatus: false },
    })
  })

  it('adapts to CRDs with other versions, kind by kind', async () => {
    const found = await discovered({
      'split.smi-spec.io/v1alpha2': ['trafficsplits'],
      'specs.smi-spec.io/v1alpha3': ['httproutegroups', 'tcproutes'],
      'specs.smi-spec.io/v1alpha4': ['httproutegroups'],
      'specs.smi-spec.io/v2': ['udproutes'],
    })
    expect(found).to.deep.equal({
      'trafficsplits.split.smi-spec.io': { version: 'v1alpha2', hasStatus: false },
      'httproutegroups.specs.smi-spec.io': { version: 'v1alpha4', hasStatus: false },
      'tcproutes.specs.smi-spec.io': { version: 'v1alpha3', hasStatus: false },
    })
  })

  it('finds nothing without CRDs', async () => {
    expect(await discovered({})).to.deep.equal({})
  })
})

describe('observer', () => {
  let cluster: Awaited<ReturnType<typeof startCluster>>
  let observer: Observer
  let changes: number

  afterEach(async () => {
    await observer.stop()
    await cluster.server.close()
  })

  async function observe(crds: Record<string, string[]>, objects: Record<string, unknown[]> = {}) {
    changes = 0
    cluster = await startCluster(crds, objects)
    observer = startObserver({ api: cluster.server.api, clock: systemClock, log, changed: () => changes++ })
  }

  it('is whole without any CRD', async () => {
    await observe({}, { '/api/v1/services': [split('reviews')] })
    await until(() => observer.missing().length === 0)
    expect([...observer.world().services.keys()]).to.deep.equal(['shop/reviews'])
    expect(observer.world().splits.size).to.equal(0)
    expect(observer.served('splits')).to.equal(undefined)
  })

  it('is not whole while one kind can’t be listed, and says which and why', async () => {
    cluster = await startCluster({})
    cluster.refused.set('/api/v1/pods', 403)
    changes = 0
    observer = startObserver({ api: cluster.server.api, clock: systemClock, log, changed: () => changes++ })
    await until(() => observer.missing().length === 1 && observer.missing()[0]!.includes('403'))
    expect(observer.missing()[0]).to.match(/^listing Pod: GET \/api\/v1\/pods: 403/)
    cluster.refused.clear()
    const before = changes
    await until(() => observer.missing().length === 0)
    // The list was empty: that the World became whole is the only news.
    await until(() => changes > before)
  })

  it('follows the newest version served', async () => {
    const path = '/apis/split.smi-spec.io/v1alpha2/trafficsplits'
    await observe({ 'split.smi-spec.io/v1alpha2': ['trafficsplits'] }, { [path]: [split('one')] })
    await until(() => observer.missing().length === 0)
    const object = observer.world().splits.get('shop/one')
    expect(object).to.include({ apiVersion: 'split.smi-spec.io/v1alpha2', kind: 'TrafficSplit' })
  })

  it('picks up CRDs that come later, moves to a newer version, and forgets what is not served any more', async () => {
    const crds: Record<string, string[]> = {}
    const objects: Record<string, unknown[]> = {
      '/apis/split.smi-spec.io/v1alpha1/trafficsplits': [split('one')],
      '/apis/split.smi-spec.io/v1alpha4/trafficsplits': [split('one'), split('two')],
    }
    // A clock that runs fast: discovery asks every few seconds.
    const clock = {
      ...systemClock,
      sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 100, signal),
    }
    cluster = await startCluster(crds, objects)
    observer = startObserver({ api: cluster.server.api, clock, log, changed: () => changes++ })
    await until(() => observer.missing().length === 0)
    crds['split.smi-spec.io/v1alpha1'] = ['trafficsplits']
    await until(() => observer.world().splits.size === 1)
    crds['split.smi-spec.io/v1alpha4'] = ['trafficsplits']
    await until(() => observer.world().splits.size === 2)
    expect(observer.world().splits.get('shop/one')!.apiVersion).to.equal('split.smi-spec.io/v1alpha4')
    delete crds['split.smi-spec.io/v1alpha1']
    delete crds['split.smi-spec.io/v1alpha4']
    await until(() => observer.world().splits.size === 0)
  })

  it('hands out worlds that don’t change, and shares what did not', async () => {
    await observe({}, { '/api/v1/services': [split('a')], '/api/v1/nodes': [] })
    await until(() => observer.missing().length === 0 && cluster.watches.has('/api/v1/services'))
    const before = observer.world()
    const watch = cluster.watches.get('/api/v1/services')!
    watch.write(event('ADDED', { ...split('b'), metadata: { ...split('b').metadata, resourceVersion: '2' } }))
    await until(() => observer.world().services.size === 2)
    expect(before.services.size).to.equal(1)
    expect(observer.world().services.get('shop/a')).to.equal(before.services.get('shop/a'))
    expect(observer.world().pods).to.equal(before.pods)
  })

  it('keeps of a Pod what is used, and takes no notice of the rest', async () => {
    const pod = (version: string, more: object = {}) => ({
      metadata: {
        name: 'p',
        namespace: 'shop',
        uid: 'p',
        resourceVersion: version,
        managedFields: [{}],
        annotations: { large: 'x' },
      },
      spec: { nodeName: 'node1', serviceAccountName: 'reviews', containers: [{ name: 'c' }] },
      status: { phase: 'Running', podIP: '10.0.0.1', containerStatuses: [{}], ...more },
    })
    await observe({}, { '/api/v1/pods': [pod('1')] })
    await until(() => observer.missing().length === 0 && cluster.watches.has('/api/v1/pods'))
    const held = observer.world().pods.get('shop/p')!
    expect(held.metadata).to.deep.equal({ name: 'p', namespace: 'shop', uid: 'p', resourceVersion: '1' })
    expect(held.spec).to.deep.equal({ nodeName: 'node1', serviceAccountName: 'reviews' })
    const before = changes
    const watch = cluster.watches.get('/api/v1/pods')!
    watch.write(event('MODIFIED', pod('2', { containerStatuses: [{ restartCount: 1 }] })))
    watch.write(event('MODIFIED', pod('3', { phase: 'Succeeded' })))
    await until(() => observer.world().pods.get('shop/p')!.status!.phase === 'Succeeded')
    expect(changes).to.equal(before + 1)
  })
})
