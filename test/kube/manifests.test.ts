// Manifests against every Kubernetes API at hand: each field is known, and their pods are admitted.

import { join } from 'node:path'
import { expect } from 'chai'
import { root } from '../../scripts/local/environment.ts'
import { type Manifest, readManifests } from '../../scripts/local/manifests.ts'
import type { PodTemplate } from '../../scripts/local/objects.ts'
import { eachCluster } from '../support/kubecluster.ts'

const folders = ['manifests/base', 'manifests/examples/shop']

eachCluster('manifests', (cluster) => {
  const strict = 'fieldValidation=Strict'

  // Nobody answers it here: whoever shares the API server would wait for it with every SMI object.
  afterEach(async () => {
    const path = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/weft-smi'
    await cluster.test.request('DELETE', path)
  })

  function path({ apiVersion, kind, metadata }: Manifest): string {
    const group = apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`
    const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`
    const lower = kind.toLowerCase()
    return `${group}${scope}/${lower.endsWith('y') ? `${lower.slice(0, -1)}ies` : `${lower}s`}`
  }

  for (const folder of folders) {
    it(`of ${folder} are accepted, every field of them`, async () => {
      for (const object of readManifests(join(root, folder))) {
        const { status, body, headers } = await cluster.test.request('POST', `${path(object)}?${strict}`, object)
        // Another suite may have put it into the same API server; fields are judged before that.
        expect(status, `${object.kind} ${object.metadata.name}: ${JSON.stringify(body)}`).to.be.oneOf([201, 409])
        expect(headers['warning'], `${object.kind} ${object.metadata.name}`).to.equal(undefined)
      }
    })

    it(`of ${folder} make pods that the namespace admits`, async () => {
      for (const object of readManifests(join(root, folder))) {
        const { template } = (object.spec ?? {}) as { template?: PodTemplate }
        if (!template) continue
        const metadata = { ...template.metadata, name: 'tried', namespace: object.metadata.namespace! }
        const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: template.spec }
        const { status, body } = await cluster.test.request('POST', `${path(pod)}?dryRun=All&${strict}`, pod)
        expect(status, `${object.metadata.name}: ${JSON.stringify(body)}`).to.equal(201)
      }
    })
  }

  it('of the examples say who may call reviews', async () => {
    for (const object of readManifests(join(root, 'manifests/examples/reviews-access.yaml'))) {
      const { status, body } = await cluster.test.request('POST', `${path(object)}?${strict}`, object)
      expect(status, JSON.stringify(body)).to.equal(201)
    }
  })

  it('of the examples are accepted in place of the first split', async () => {
    for (const file of ['reviews-canary.yaml', 'reviews-split.yaml']) {
      const [split] = readManifests(join(root, 'manifests/examples', file))
      const type = { 'content-type': 'application/merge-patch+json' }
      const { status, body } = await cluster.test.request('PATCH', `${path(split!)}/reviews?${strict}`, split, type)
      expect(status, JSON.stringify(body)).to.equal(200)
      expect(body.spec.backends).to.deep.equal((split!.spec as { backends: unknown }).backends)
    }
  })
})
