// The observer against every Kubernetes API at hand.

import { expect } from 'chai'
import { pino } from 'pino'
import { systemClock } from '../../controller/clock.ts'
import { type Observer, startObserver } from '../../controller/observe/observer.ts'
import { defineCrds, eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

const log = pino({ level: 'silent' })

function observe(api: Parameters<typeof startObserver>[0]['api']): Observer {
  return startObserver({ api, clock: systemClock, log, changed: () => {} })
}

eachCluster('observer', (cluster) => {
  let observer: Observer
  afterEach(() => observer.stop())

  it('holds what the API server holds, and follows it', async () => {
    const shop = await cluster.test.namespace()
    await cluster.objects.service(shop, 'one', 80)
    observer = observe(cluster.api)
    await until(() => observer.missing().length === 0)
    const held = () => [...observer.world().services.keys()].filter((key) => key.startsWith(`${shop}/`))
    expect(held()).to.deep.equal([`${shop}/one`])
    await cluster.objects.service(shop, 'two', 80)
    await until(() => held().length === 2)
    await cluster.objects.remove(`/api/v1/namespaces/${shop}/services/one`)
    await until(() => held().join() === `${shop}/two`)
    const two = observer.world().services.get(`${shop}/two`)!
    expect(two).to.include({ apiVersion: 'v1', kind: 'Service' })
    expect(two.metadata).not.to.have.property('managedFields')
  })

  it('reads a split whichever version wrote it', async () => {
    const shop = await cluster.test.namespace()
    await cluster.objects.create(`/apis/split.smi-spec.io/v1alpha1/namespaces/${shop}/trafficsplits`, {
      apiVersion: 'split.smi-spec.io/v1alpha1',
      kind: 'TrafficSplit',
      metadata: { name: 'old' },
      spec: { service: 'reviews', backends: [{ service: 'reviews-v1', weight: '500m' }] },
    })
    observer = observe(cluster.api)
    await until(() => observer.missing().length === 0)
    const split = observer.world().splits.get(`${shop}/old`)!
    expect(split.apiVersion).to.equal('split.smi-spec.io/v1alpha4')
    expect(split.spec).to.have.nested.property('backends[0].weight', '500m')
    expect(observer.served('splits')).to.deep.equal({ version: 'v1alpha4', hasStatus: true })
  })

  it('follows lists of several pages', async () => {
    const shop = await cluster.test.namespace()
    const names = Array.from({ length: 520 }, (_each, index) => `account-${index}`)
    for (let start = 0; start < names.length; start += 40) {
      await Promise.all(
        names
          .slice(start, start + 40)
          .map((name) => cluster.objects.create(`/api/v1/namespaces/${shop}/serviceaccounts`, { metadata: { name } })),
      )
    }
    observer = observe(cluster.api)
    await until(() => observer.missing().length === 0)
    const held = [...observer.world().accounts.keys()].filter((key) => key.startsWith(`${shop}/account-`))
    expect(held).to.have.length(names.length)
  }).timeout(40_000)
})

eachCluster(
  'observer of a cluster without CRDs',
  (cluster) => {
    let observer: Observer
    afterEach(() => observer.stop())

    it('is whole without them, and picks them up when they come', async () => {
      observer = observe(cluster.api)
      await until(() => observer.missing().length === 0)
      expect(observer.served('splits')).to.equal(undefined)
      await defineCrds(cluster.test)
      const shop = await cluster.test.namespace()
      await cluster.objects.split(shop, 'canary', 'reviews', { reviews: 1 })
      await until(() => observer.world().splits.has(`${shop}/canary`))
    })

    it('lists again when its version was compacted away', async () => {
      const shop = await cluster.test.namespace()
      observer = observe(cluster.api)
      await until(() => observer.missing().length === 0)
      const reflector = () => observer.reflectors().find(({ part }) => part === 'services')!.reflector
      cluster.test.compact!()
      await cluster.objects.service(shop, 'one', 80)
      await until(() => observer.world().services.has(`${shop}/one`))
      expect(reflector().trouble).to.equal('')
    })
  },
  // The real one is shared with suites that bring the CRDs along.
  { crds: false, only: 'local' },
)
