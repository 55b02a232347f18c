// Locks against every Kubernetes API at hand: written with the label, repaired when edited, gone without it.

import { expect } from 'chai'
import type { NetworkPolicy } from '../../controller/observe/objects.ts'
import { type ControllerProcess, startController } from '../support/controllerprocess.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

eachCluster('locks of the controller', (cluster) => {
  let controller: ControllerProcess | undefined
  let shop = ''
  let root = ''

  beforeEach(async () => {
    const mesh = await cluster.test.namespace()
    shop = await cluster.test.namespace()
    root = `/apis/networking.k8s.io/v1/namespaces/${shop}/networkpolicies`
    await label({ 'weft.dev/mesh': 'enabled', 'weft.dev/access': 'deny', 'weft.dev/lock': 'enabled' })
    controller = await startController(cluster.kubeconfig, 'controller-a', '--namespace', mesh)
    await cluster.objects.service(shop, 'web', 7090)
  })
  afterEach(async () => {
    await label({ 'weft.dev/mesh': null, 'weft.dev/lock': null })
    await controller?.stop('SIGKILL')
  })

  const label = (labels: Record<string, string | null>) =>
    cluster.objects.patch(`/api/v1/namespaces/${shop}`, { metadata: { labels } })
  const lock = () => cluster.objects.get<NetworkPolicy>(`${root}/weft-lock-web`)
  const appLocked = async () => (await lock())?.spec?.podSelector?.matchLabels?.['app'] === 'web'

  it('come and go with the label, and are repaired; foreign policies stay', async () => {
    await cluster.objects.create(root, {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'own' },
      spec: { podSelector: {}, policyTypes: ['Ingress'] },
    })
    await until(appLocked, 'the lock')
    const written = (await lock())!
    expect(written.spec?.ingress?.[0]?.from?.[0]?.podSelector?.matchLabels).to.deep.equal({
      'app.kubernetes.io/name': 'weft-agent',
    })
    expect(written.metadata.ownerReferences?.[0]).to.include({ kind: 'Service', name: 'web' })

    await cluster.objects.patch(`${root}/weft-lock-web`, { spec: { podSelector: { matchLabels: { app: 'other' } } } })
    await until(appLocked, 'the repair of an edit')
    await cluster.objects.remove(`${root}/weft-lock-web`)
    await until(appLocked, 'the lock after it was deleted')
    // What agrees is not written again.
    const { resourceVersion } = (await lock())!.metadata
    await label({ 'weft.dev/access': 'allow' })
    await cluster.objects.service(shop, 'api', 7091)
    await until(async () => (await cluster.objects.get(`${root}/weft-lock-api`)) !== null, 'the second lock')
    expect((await lock())!.metadata.resourceVersion).to.equal(resourceVersion)

    await label({ 'weft.dev/lock': null })
    await until(async () => (await cluster.objects.list(root)).length === 1, 'the end of the locks')
    expect((await cluster.objects.list<NetworkPolicy>(root))[0]!.metadata.name).to.equal('own')
  })
})
