// One SMI object in the hands of clients of several versions: each sees the others' fields, what one drops is gone for all,
// and the mesh follows what stands there, says so in status and Events, and never touches it.

import { expect } from 'chai'
import type { Body } from '../support/api.ts'
import { type Judging, startJudging } from '../support/judging.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

const groups: Record<string, string> = {
  trafficsplits: 'split.smi-spec.io',
  traffictargets: 'access.smi-spec.io',
  httproutegroups: 'specs.smi-spec.io',
  tcproutes: 'specs.smi-spec.io',
  udproutes: 'specs.smi-spec.io',
}
const kinds: Record<string, string> = {
  trafficsplits: 'TrafficSplit',
  traffictargets: 'TrafficTarget',
  httproutegroups: 'HTTPRouteGroup',
  tcproutes: 'TCPRoute',
  udproutes: 'UDPRoute',
}
const parts = { trafficsplits: 'splits', traffictargets: 'targets', httproutegroups: 'routeGroups' } as const
const backends = (...list: [string, unknown][]) => list.map(([service, weight]) => ({ service, weight }))

eachCluster('SMI objects of several versions', (cluster) => {
  let judging: Judging
  let shop: string

  before(async () => {
    judging = await startJudging(cluster.api)
  })
  after(() => judging.stop())

  beforeEach(async () => {
    shop = await cluster.test.namespace()
    await cluster.objects.patch(`/api/v1/namespaces/${shop}`, { metadata: { labels: { 'weft.dev/mesh': 'enabled' } } })
    for (const name of ['root', 'a', 'b']) await cluster.objects.service(shop, name, 80)
  })
  afterEach(async () => {
    await cluster.objects.patch(`/api/v1/namespaces/${shop}`, { metadata: { labels: { 'weft.dev/mesh': null } } })
  })

  const path = (version: string, plural: string, name = '') =>
    `/apis/${groups[plural]}/${version}/namespaces/${shop}/${plural}${name && `/${name}`}`

  function create(version: string, plural: string, name: string, fields: object): Promise<Body> {
    const apiVersion = `${groups[plural]}/${version}`
    return cluster.objects.create(path(version, plural), {
      apiVersion,
      kind: kinds[plural],
      metadata: { name },
      ...fields,
    })
  }

  const read = async (version: string, plural: string, name: string): Promise<Body> =>
    cluster.objects.get(path(version, plural, name))

  /** A client reads in its version, changes, and puts back. */
  async function put(version: string, plural: string, name: string, change: (object: Body) => void): Promise<void> {
    const object = await read(version, plural, name)
    change(object)
    const { status, body } = await cluster.test.request('PUT', path(version, plural, name), object)
    expect(status, JSON.stringify(body)).to.equal(200)
  }

  /** Judges once the observed object is as the API server has it. */
  async function judge(plural: keyof typeof parts, name: string): Promise<Awaited<ReturnType<Judging['judge']>>> {
    const { resourceVersion } = (await read('v1alpha3', plural, name)).metadata
    await until(
      () =>
        judging.observer.world()[parts[plural]].get(`${shop}/${name}`)?.metadata.resourceVersion === resourceVersion,
      'the object',
    )
    return judging.judge()
  }

  /** Weights on the root's port, by Service. */
  async function divided(name: string): Promise<{ weights: Record<string, number>; hasMatches: boolean }> {
    const { topology } = await judge('trafficsplits', name)
    const split = topology.services.find(({ key }) => key === `${shop}/root`)!.ports[0]!.splits[0]!
    const { matches } = topology.splits.find(({ key }) => key === split.split)!
    const weights = split.backends.map(({ service, weight }) => [service.split('/')[1], weight])
    return { weights: Object.fromEntries(weights), hasMatches: matches !== null }
  }

  async function conditions(plural: string, name: string): Promise<string[]> {
    const { status } = await read('v1alpha4', plural, name)
    return status.conditions.map((each: Body) => `${each.type}=${each.reason} ${each.observedGeneration}`)
  }

  it('made in v1alpha1, put in v1alpha2, patched in v1alpha3: each time the newest weights count', async () => {
    await create('v1alpha1', 'trafficsplits', 's', {
      spec: { service: 'root', backends: backends(['a', '0'], ['b', '100']) },
    })
    expect((await divided('s')).weights).to.deep.equal({ a: 0, b: 100_000 })
    await put('v1alpha2', 'trafficsplits', 's', (object) => {
      object.spec.backends = backends(['a', 5], ['b', 95])
    })
    expect((await divided('s')).weights).to.deep.equal({ a: 5000, b: 95_000 })
    const patch = { spec: { backends: backends(['a', '500m'], ['b', '1500m']) } }
    await cluster.objects.patch(path('v1alpha3', 'trafficsplits', 's'), patch)
    expect((await divided('s')).weights).to.deep.equal({ a: 500, b: 1500 })
    expect((await read('v1alpha1', 'trafficsplits', 's')).spec.backends).to.deep.equal(patch.spec.backends)
  })

  it('one backend in strings, the other in numbers', async () => {
    await create('v1alpha1', 'trafficsplits', 's', { spec: { service: 'root', backends: backends(['a', '25']) } })
    await put('v1alpha4', 'trafficsplits', 's', (object) => object.spec.backends.push({ service: 'b', weight: 75 }))
    expect((await divided('s')).weights).to.deep.equal({ a: 25_000, b: 75_000 })
  })

  it('matches that a client of v1alpha1 does not know are gone when it has written: all is divided', async () => {
    await create('v1alpha4', 'httproutegroups', 'g', { spec: { matches: [{ name: 'm', pathRegex: '/x' }] } })
    const spec = { service: 'root', matches: [{ kind: 'HTTPRouteGroup', name: 'g' }], backends: backends(['a', 1]) }
    await create('v1alpha3', 'trafficsplits', 's', { spec })
    expect((await divided('s')).hasMatches).to.equal(true)
    await put('v1alpha1', 'trafficsplits', 's', (object) => {
      object.spec = { service: object.spec.service, backends: object.spec.backends }
    })
    expect((await divided('s')).hasMatches).to.equal(false)
    expect(await conditions('trafficsplits', 's')).to.include('Enforced=Enforced 2')
  })

  it('a target made at the top, as v1alpha1 has it, that gets a spec by a newer client: spec counts, and it is said', async () => {
    const web = [{ kind: 'ServiceAccount', name: 'web' }]
    const destination = { kind: 'ServiceAccount', name: 'a', port: 8080 }
    const specs = [{ kind: 'TCPRoute', name: 'r' }]
    await create('v1alpha4', 'tcproutes', 'r', { spec: { matches: { ports: [8080, 9090] } } })
    await create('v1alpha1', 'traffictargets', 't', { destination, sources: web, specs })
    const ruleOf = async () =>
      (await judge('traffictargets', 't')).topology.targets.find(({ key }) => key === `${shop}/t`)
    expect((await ruleOf())!.rule!.ports).to.deep.equal([8080])
    await cluster.objects.patch(path('v1alpha3', 'traffictargets', 't'), {
      spec: { destination: { kind: 'ServiceAccount', name: 'a' }, sources: web, rules: specs },
    })
    const mixed = (await ruleOf())!
    expect(mixed.rule!.ports).to.deep.equal([8080, 9090])
    expect(mixed.problems.filter(({ reason }) => reason === 'FieldIgnored').map(({ field }) => field)).to.deep.equal([
      'destination',
      'sources',
      'specs',
    ])
    const events = await cluster.objects.list<Body>(`/api/v1/namespaces/${shop}/events`)
    expect(events.map(({ reason }) => reason)).to.include('FieldIgnored')
  })

  it('say what holds for their generation, tell when a problem is over, and are otherwise left alone', async () => {
    const spec = { service: 'root', backends: backends(['a', 1], ['late', 1]) }
    const made = await create('v1alpha2', 'trafficsplits', 's', { spec })
    const events = async () =>
      (await cluster.objects.list<Body>(`/api/v1/namespaces/${shop}/events`))
        .filter(({ involvedObject }) => involvedObject.uid === made.metadata.uid)
        .map(({ type, reason, count }) => `${type} ${reason} ${count}`)
    for (const _turn of [1, 2]) await judge('trafficsplits', 's')
    expect(await conditions('trafficsplits', 's')).to.deep.equal([
      'Accepted=Accepted 1',
      'ResolvedRefs=BackendNotFound 1',
      'Enforced=Enforced 1',
    ])
    expect(await events()).to.deep.equal(['Warning BackendNotFound 1'])

    await cluster.objects.service(shop, 'late', 80)
    await until(() => judging.observer.world().services.has(`${shop}/late`))
    await judge('trafficsplits', 's')
    expect(await conditions('trafficsplits', 's')).to.include('ResolvedRefs=ResolvedRefs 1')
    expect(await events()).to.have.members(['Warning BackendNotFound 1', 'Normal ProblemOver 1'])

    const { status: _status, ...after } = await read('v1alpha2', 'trafficsplits', 's')
    const { managedFields: _before, resourceVersion: _old, ...metadata } = made.metadata
    const { managedFields = [], resourceVersion: _new, ...now } = after.metadata
    expect(now).to.deep.equal(metadata)
    expect(after.spec).to.deep.equal(spec)
    const whole = managedFields.filter((each: Body) => each.fieldsV1?.['f:status'] !== undefined)
    expect(whole.every((each: Body) => each.subresource === 'status')).to.equal(true)
  })

  it('have conditions of every kind', async () => {
    const account = (name: string) => ({ kind: 'ServiceAccount', name })
    await create('v1alpha4', 'httproutegroups', 'g', { spec: { matches: [{ name: 'm' }] } })
    await create('v1alpha4', 'tcproutes', 'r', { spec: {} })
    await create('v1alpha4', 'udproutes', 'u', { spec: {} })
    await create('v1alpha3', 'traffictargets', 't', {
      spec: { destination: account('a'), sources: [account('b')], rules: [{ kind: 'HTTPRouteGroup', name: 'g' }] },
    })
    await until(() => judging.observer.world().udpRoutes.has(`${shop}/u`))
    await until(() => judging.observer.world().tcpRoutes.has(`${shop}/r`))
    await judge('traffictargets', 't')
    const said = async (plural: string, name: string) =>
      (await conditions(plural, name)).map((each) => each.split(/[ =]/)[1])
    expect(await said('traffictargets', 't')).to.deep.equal(['Accepted', 'AccountNotFound', 'Enforced'])
    expect(await said('httproutegroups', 'g')).to.deep.equal(['Accepted', 'ResolvedRefs', 'Enforced'])
    expect(await said('tcproutes', 'r')).to.deep.equal(['Accepted', 'ResolvedRefs', 'NotReferenced'])
    expect(await said('udproutes', 'u')).to.deep.equal(['Accepted', 'ResolvedRefs', 'UdpNotEnforced'])
  })

  it('that two write at once: the loser of a conflict is told by the next look', async () => {
    await create('v1alpha2', 'trafficsplits', 's', { spec: { service: 'root', backends: backends(['a', 1]) } })
    await until(() => judging.observer.world().splits.has(`${shop}/s`))
    const world = judging.observer.world()
    await put('v1alpha2', 'trafficsplits', 's', (object) => {
      object.spec.backends = backends(['b', 1])
    })
    expect(world.splits.get(`${shop}/s`)!.spec).to.deep.include({ backends: backends(['a', 1]) })
    await judge('trafficsplits', 's')
    expect(await conditions('trafficsplits', 's')).to.include('Enforced=Enforced 2')
    expect((await divided('s')).weights).to.deep.equal({ b: 1000 })
  })
})
