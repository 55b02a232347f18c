// Other products' definitions of the SMI kinds, which may be there before ours: fewer versions, no status, or one that keeps
// nothing. Whatever is served is read, and what is wrong is said by Events where it can't be said in a status.

import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { parse } from 'yaml'
import type { Body } from '../support/api.ts'
import { type Judging, startJudging } from '../support/judging.ts'
import { defineCrds, eachCluster, type KubeCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

const root = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const kinds: Record<string, [group: string, kind: string]> = {
  trafficsplits: ['split.smi-spec.io', 'TrafficSplit'],
  traffictargets: ['access.smi-spec.io', 'TrafficTarget'],
  httproutegroups: ['specs.smi-spec.io', 'HTTPRouteGroup'],
  tcproutes: ['specs.smi-spec.io', 'TCPRoute'],
  udproutes: ['specs.smi-spec.io', 'UDPRoute'],
}

interface Product {
  name: string
  /** By plural, the first is stored; a version in brackets is not served. */
  versions: Record<string, string[]>
  /** `none`: no subresource; `empty`: one whose schema has no fields. */
  status: 'none' | 'empty'
  /** The version that the split is written in, and its weights. */
  writes: string
  weights: [unknown, unknown]
}

const products: Product[] = [
  {
    name: 'one with v1alpha1 and v1alpha2 of splits alone',
    versions: { trafficsplits: ['v1alpha1', 'v1alpha2'] },
    status: 'none',
    writes: 'v1alpha1',
    weights: ['500m', '1500m'],
  },
  {
    name: 'one with v1alpha1 alone',
    versions: { trafficsplits: ['v1alpha1'], traffictargets: ['v1alpha1'], httproutegroups: ['v1alpha1'] },
    status: 'none',
    writes: 'v1alpha1',
    weights: ['25', '75'],
  },
  {
    name: 'one with v1alpha4 alone, older ones not served',
    versions: {
      trafficsplits: ['v1alpha4', '(v1alpha3)', '(v1alpha2)'],
      tcproutes: ['v1alpha4'],
      udproutes: ['v1alpha4'],
    },
    status: 'none',
    writes: 'v1alpha4',
    weights: [25, 75],
  },
  {
    name: 'one with v1alpha2 of splits, and newer routes',
    versions: {
      trafficsplits: ['v1alpha2', '(v1alpha4)'],
      traffictargets: ['v1alpha3'],
      httproutegroups: ['v1alpha4'],
      tcproutes: ['v1alpha4'],
    },
    status: 'none',
    writes: 'v1alpha2',
    weights: [1, 3],
  },
  {
    name: 'one with all versions and a status without fields',
    versions: {
      trafficsplits: ['v1alpha4', 'v1alpha3', 'v1alpha2', 'v1alpha1'],
      traffictargets: ['v1alpha4', 'v1alpha3'],
    },
    status: 'empty',
    writes: 'v1alpha3',
    weights: [1, 3],
  },
]

function definition(plural: string, versions: string[], status: Product['status']): Body {
  const [group, kind] = kinds[plural]!
  const any = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
  // A root that keeps unknown fields would keep the status, too.
  const isTop = versions.every((each) => each.includes('v1alpha1'))
  const fields = { spec: any, ...(status === 'empty' ? { status: { type: 'object' } } : {}) }
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: versions.map((version, index) => ({
        name: version.replace(/[()]/g, ''),
        served: !version.startsWith('('),
        storage: index === 0,
        ...(status === 'empty' ? { subresources: { status: {} } } : {}),
        schema: { openAPIV3Schema: { type: 'object', properties: fields, ...(isTop ? any : {}) } },
      })),
    },
  }
}

/** Removes every SMI kind, and waits until none is served. */
async function undefineAll({ test }: KubeCluster): Promise<void> {
  for (const [plural, [group]] of Object.entries(kinds)) await test.request('DELETE', `${root}/${plural}.${group}`)
  await until(async () => {
    const { body } = await test.request('GET', root)
    const { body: apis } = await test.request('GET', '/apis')
    const isSmi = (name: string) => name.endsWith('smi-spec.io')
    return (
      !body.items.some((each: Body) => isSmi(each.spec.group)) && !apis.groups.some((each: Body) => isSmi(each.name))
    )
  }, 'the end of the SMI kinds')
}

function defineSuite(chosen: readonly Product[]) {
  return (cluster: KubeCluster) => {
    let judging: Judging
    let shop: string

    /** Defines a kind, and waits until those who look for kinds find it. */
    async function define(...[plural, versions, status]: Parameters<typeof definition>): Promise<void> {
      await cluster.test.define(definition(plural, versions, status))
      await until(async () => {
        const { body } = await cluster.test.request('GET', '/apis')
        return body.groups.some((each: Body) => each.name === kinds[plural]![0])
      }, 'the group')
    }

    beforeEach(async () => {
      await undefineAll(cluster)
      shop = await cluster.test.namespace()
      const labels = { 'weft.dev/mesh': 'enabled' }
      await cluster.objects.patch(`/api/v1/namespaces/${shop}`, { metadata: { labels } })
      for (const name of ['root', 'a', 'b']) await cluster.objects.service(shop, name, 80)
    })

    afterEach(async () => {
      await judging?.stop()
      await cluster.objects.patch(`/api/v1/namespaces/${shop}`, { metadata: { labels: { 'weft.dev/mesh': null } } })
    })

    // The real API server is one for all suites of the process; the local one has ended.
    after(async function () {
      if (cluster.name === 'local') return
      this.timeout(20_000)
      await undefineAll(cluster)
      await defineCrds(cluster.test)
    })

    for (const product of chosen) {
      it(`${product.name}: splits divide, Events tell, no status is tried in vain`, async () => {
        for (const [plural, versions] of Object.entries(product.versions)) {
          await define(plural, versions, product.status)
        }
        judging = await startJudging(cluster.api)
        const { observer } = judging
        const served = Object.entries(product.versions).map(([, versions]) =>
          versions
            .filter((each) => !each.startsWith('('))
            .sort()
            .at(-1),
        )
        expect(observer.served('splits')).to.deep.equal({ version: served[0], hasStatus: product.status === 'empty' })

        const [one, other] = product.weights
        const path = `/apis/split.smi-spec.io/${product.writes}/namespaces/${shop}/trafficsplits`
        const backends = [
          { service: 'a', weight: one },
          { service: 'b', weight: other },
          { service: 'late', weight: 0 },
        ]
        await cluster.objects.create(path, {
          apiVersion: `split.smi-spec.io/${product.writes}`,
          kind: 'TrafficSplit',
          metadata: { name: 's', namespace: shop },
          spec: { service: 'root', backends },
        })
        await until(() => observer.world().splits.has(`${shop}/s`), 'the split')
        const { topology, failures } = await judging.judge()
        const split = topology.services.find(({ key }) => key === `${shop}/root`)!.ports[0]!.splits[0]!
        const [first, second] = split.backends.map(({ weight }) => weight)
        expect(second! / first!).to.equal(3)
        expect(failures).to.equal(0)

        const events = await cluster.objects.list<Body>(`/api/v1/namespaces/${shop}/events`)
        const found = events.find(({ reason }) => reason === 'BackendNotFound')
        expect(found.involvedObject).to.include({
          kind: 'TrafficSplit',
          name: 's',
          apiVersion: `split.smi-spec.io/${served[0]}`,
        })

        const before = judging.writes
        await judging.judge()
        expect(judging.writes, 'a status that is not kept is not written again').to.equal(before)
        const object = await cluster.objects.get<Body>(`${path}/s`)
        expect(object.spec.backends).to.deep.equal(backends)
        expect(object.status?.conditions).to.equal(undefined)
      })
    }

    it('ours over theirs: objects stay as they are, and are read in every version', async () => {
      await define('trafficsplits', ['v1alpha1', 'v1alpha2'], 'none')
      const path = (version: string) => `/apis/split.smi-spec.io/${version}/namespaces/${shop}/trafficsplits`
      const spec = {
        service: 'root',
        backends: [
          { service: 'a', weight: '500m' },
          { service: 'b', weight: '1500m' },
        ],
      }
      await cluster.objects.create(path('v1alpha1'), {
        apiVersion: 'split.smi-spec.io/v1alpha1',
        kind: 'TrafficSplit',
        metadata: { name: 's', namespace: shop },
        spec,
      })
      const ours = parse(readFileSync(new URL('../../manifests/crds/trafficsplits.yaml', import.meta.url), 'utf8'))
      await cluster.objects.patch(`${root}/${ours.metadata.name}`, ours)
      await until(async () => (await cluster.test.request('GET', path('v1alpha4'))).status === 200, 'v1alpha4')
      await until(async () => {
        const { body } = await cluster.test.request('GET', '/apis/split.smi-spec.io')
        return body.versions.length === 4
      }, 'the versions')
      for (const version of ['v1alpha1', 'v1alpha2', 'v1alpha3', 'v1alpha4']) {
        expect((await cluster.objects.get<Body>(`${path(version)}/s`)).spec).to.deep.equal(spec)
      }
      judging = await startJudging(cluster.api)
      expect(judging.observer.served('splits')).to.deep.equal({ version: 'v1alpha4', hasStatus: true })
      const { topology } = await judging.judge()
      const split = topology.services.find(({ key }) => key === `${shop}/root`)!.ports[0]!.splits[0]!
      expect(split.backends.map(({ weight }) => weight)).to.deep.equal([500, 1500])
      const { status } = await cluster.objects.get<Body>(`${path('v1alpha4')}/s`)
      expect(status.conditions.map((each: Body) => each.type)).to.deep.equal(['Accepted', 'ResolvedRefs', 'Enforced'])
    })

    it('ones without splits at all: the rest goes on', async () => {
      await define('tcproutes', ['v1alpha3'], 'none')
      judging = await startJudging(cluster.api)
      expect(judging.observer.served('splits')).to.equal(undefined)
      expect((await judging.judge()).topology.splits).to.deep.equal([])
    })
  }
}

const title = 'foreign SMI definitions'
eachCluster(title, defineSuite(products), { crds: false, only: 'local' })
// A new kind takes the real one two seconds: only what is most unlike ours.
eachCluster(title, defineSuite([products[1]!, products[4]!]), { crds: false, only: 'real' })
