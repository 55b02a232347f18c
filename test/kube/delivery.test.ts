// The objects of Flagger and Argo Rollouts against every Kubernetes API at hand: our definitions take what they write, in
// each of their versions, to the last step, and give it back as it was written.

import { expect } from 'chai'
import type { KubeObject } from '../../controller/observe/objects.ts'
import type { Body } from '../support/api.ts'
import { openArgo } from '../support/argo.ts'
import { definitionOf } from '../support/delivery.ts'
import { openFlagger, providers } from '../support/flagger.ts'
import { eachCluster } from '../support/kubecluster.ts'

eachCluster('canary tools', (cluster) => {
  let namespace = ''
  before(async () => {
    await cluster.test.define(definitionOf('canaries', 'Canary', 'flagger.app', 'v1beta1'))
    await cluster.test.define(definitionOf('rollouts', 'Rollout', 'argoproj.io', 'v1alpha1'))
  })
  beforeEach(async () => {
    namespace = await cluster.test.namespace()
  })

  const own = (apiVersion: string, kind: string, name: string): Promise<KubeObject> =>
    cluster.objects.create(`/apis/${apiVersion}/namespaces/${namespace}/${kind.toLowerCase().replace(/y$/, 'ie')}s`, {
      ...{ apiVersion, kind, metadata: { name } },
    })

  async function stored(name: string): Promise<Body> {
    const path = `/apis/split.smi-spec.io/v1alpha4/namespaces/${namespace}/trafficsplits/${name}`
    return (await cluster.test.request('GET', path)).body
  }

  for (const provider of providers) {
    it(`Flagger with provider ${provider} writes, reads back and never meets a change of its own`, async () => {
      const canary = await own('flagger.app/v1beta1', 'Canary', 'podinfo')
      const flagger = openFlagger(cluster.api, canary, provider)
      expect(await flagger.reconcile()).to.equal(true)
      const weight = ['linkerd', 'smi:v1alpha1'].includes(provider) ? String : Number
      for (const step of [0, 5, 50, 100, 0]) {
        await flagger.setRoutes(100 - step, step)
        expect(await flagger.routes()).to.deep.equal({ primary: 100 - step, canary: step })
        expect(await flagger.reconcile(), 'the spec is as it was written').to.equal(false)
        const { spec, metadata } = await stored('podinfo')
        expect(spec).to.deep.equal({
          service: 'podinfo',
          backends: [
            { service: 'podinfo-canary', weight: weight(step) },
            { service: 'podinfo-primary', weight: weight(100 - step) },
          ],
        })
        expect(metadata.ownerReferences[0]).to.include({ kind: 'Canary', uid: canary.metadata.uid, controller: true })
      }
    })
  }

  it('Flagger puts back what somebody else made of its split', async () => {
    const flagger = openFlagger(cluster.api, await own('flagger.app/v1beta1', 'Canary', 'podinfo'), 'smi:v1alpha3')
    await flagger.reconcile()
    await flagger.setRoutes(50, 50)
    const path = `/apis/split.smi-spec.io/v1alpha3/namespaces/${namespace}/trafficsplits/podinfo`
    await cluster.objects.patch(path, { spec: { matches: [{ kind: 'HTTPRouteGroup', name: 'x' }] } })
    expect(await flagger.reconcile()).to.equal(true)
    expect((await stored('podinfo')).spec.matches).to.equal(undefined)
    expect(await flagger.routes()).to.deep.equal({ primary: 100, canary: 0 })
  })

  it('Argo Rollouts patches the backends of a split that names its own root', async () => {
    const argo = openArgo(cluster.api, await own('argoproj.io/v1alpha1', 'Rollout', 'demo'))
    const steps: [number, Record<string, number>][] = [
      [0, {}],
      [5, { 'demo-exp': 5 }],
      [5, {}],
      [100, {}],
    ]
    for (const [canary, experiments] of steps) {
      await argo.setWeight(canary, experiments)
      const others = Object.entries(experiments).map(([service, weight]) => ({ service, weight: String(weight) }))
      const stable = 100 - canary - others.length * 5
      expect((await stored('demo')).spec).to.deep.equal({
        service: 'demo-stable',
        backends: [
          { service: 'demo-canary', weight: String(canary) },
          ...others,
          { service: 'demo-stable', weight: String(stable) },
        ],
      })
    }
  })
})
