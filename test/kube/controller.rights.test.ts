// The controller with the rights of manifests/base: they suffice, and it says which one is missing.

import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'chai'
import { parse, parseAllDocuments, stringify } from 'yaml'
import type { Service } from '../../controller/observe/objects.ts'
import { type ControllerProcess, startController } from '../support/controllerprocess.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

const manifest = new URL('../../manifests/base/controller-access.yaml', import.meta.url)

/** Only a real API server asks for rights. */
eachCluster(
  'controller with the rights of manifests/base',
  (cluster) => {
    let controller: ControllerProcess | undefined

    const webhooks = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations'

    afterEach(async () => {
      await controller?.stop('SIGKILL')
      await cluster.test.request('DELETE', `${webhooks}/weft-smi`)
    })

    async function apply(): Promise<void> {
      await cluster.test.request('POST', '/api/v1/namespaces', { metadata: { name: 'weft-system' } })
      // The guard too: what the controller writes has to get past it.
      const texts = ['controller-access.yaml', 'controller-guard.yaml'].map((file) =>
        readFileSync(new URL(file, manifest), 'utf8'),
      )
      for (const document of texts.flatMap((text) => parseAllDocuments(text))) {
        const object = document.toJS()
        const { namespace } = object.metadata
        const group = object.apiVersion === 'v1' ? '/api/v1' : `/apis/${object.apiVersion}`
        const scope = namespace === undefined ? '' : `/namespaces/${namespace}`
        const plural = `${object.kind.toLowerCase()}s`.replace(/ys$/, 'ies')
        const { status, body } = await cluster.test.request('POST', `${group}${scope}/${plural}`, object)
        expect(status, JSON.stringify(body)).to.be.oneOf([201, 409])
      }
    }

    /** A kubeconfig with the ServiceAccount's own token. */
    async function accountConfig(): Promise<string> {
      const path = '/api/v1/namespaces/weft-system/serviceaccounts/weft-controller/token'
      const { body } = await cluster.test.request('POST', path, {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { expirationSeconds: 3600 },
      })
      const config = parse(readFileSync(cluster.kubeconfig, 'utf8'))
      config.users[0].user = { token: body.status.token }
      const file = join(dirname(cluster.kubeconfig), 'controller.kubeconfig')
      writeFileSync(file, stringify(config), { mode: 0o600 })
      return file
    }

    it('can do all its work, and meets no refusal', async () => {
      await apply()
      const shop = await cluster.test.namespace()
      await cluster.objects.patch(`/api/v1/namespaces/${shop}`, {
        metadata: { labels: { 'weft.dev/mesh': 'enabled', 'weft.dev/lock': 'enabled' } },
      })
      await cluster.objects.service(shop, 'reviews', 9080)
      await cluster.objects.split(shop, 'canary', 'reviews', { 'reviews-v2': 1 })
      const config = await accountConfig()
      const webhook = parse(readFileSync(new URL('admission.yaml', manifest), 'utf8'))
      await cluster.test.request('POST', webhooks, webhook)

      const alias = `/api/v1/namespaces/${shop}/services/reviews-mesh`
      const split = `/apis/split.smi-spec.io/v1alpha4/namespaces/${shop}/trafficsplits/canary`
      const count = async () => {
        const events = await cluster.objects.list<{ involvedObject: { name: string }; count: number }>(
          `/api/v1/namespaces/${shop}/events`,
        )
        return events.find(({ involvedObject }) => involvedObject.name === 'canary')?.count ?? 0
      }
      // Twice: the second counts the Event of the first up.
      for (const round of [1, 2]) {
        controller = await startController(config, `controller-${round}`)
        await until(async () => (await controller!.get('/readyz')).status === 200, 'readiness')
        await until(async () => (await count()) === round, `Event number ${round}`)
        await until(async () => (await cluster.objects.get<{ status?: object }>(split))?.status !== undefined)
        expect(await controller.stop()).to.equal(0)
        expect(controller.lines.filter(({ level }) => level !== 'info')).to.deep.equal([])
      }
      expect((await cluster.objects.get<Service>(alias))?.spec.type).to.equal('ExternalName')
      const locks = `/apis/networking.k8s.io/v1/namespaces/${shop}/networkpolicies`
      expect(await cluster.objects.list(locks)).to.have.length(1)
      const { body } = await cluster.test.request('GET', `${webhooks}/weft-smi`)
      expect(body.webhooks[0].clientConfig.caBundle).to.be.a('string').and.not.equal('')
      await cluster.objects.patch(`/api/v1/namespaces/${shop}`, { metadata: { labels: { 'weft.dev/mesh': null } } })
    })

    it('says which right is missing, and waits', async () => {
      await apply()
      const config = await accountConfig()
      const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/weft-controller'
      const before = await cluster.objects.get<{ rules: { resources: string[] }[] }>(role)
      const rules = before!.rules.filter(({ resources }) => !resources.includes('endpointslices'))
      await cluster.objects.patch(role, { rules })
      controller = await startController(config, 'controller-3')
      await until(async () => (await controller!.get('/readyz?verbose')).text.includes('403'))
      expect((await controller.get('/readyz?verbose')).text).to.match(
        /listing EndpointSlice: .*endpointslices.* is forbidden/,
      )
      await cluster.objects.patch(role, { rules: before!.rules })
      await until(async () => (await controller!.get('/readyz')).status === 200, 'readiness', 30_000)
    }).timeout(40_000)
  },
  { only: 'real' },
)
