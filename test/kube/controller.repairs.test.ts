// What the controller keeps in the cluster, whoever else writes there: repaired within two seconds, collected when nobody
// needs it any more. One controller for all tests, with few mesh ports, against every Kubernetes API at hand.

import { isIPv6 } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import type { Service } from '../../controller/observe/objects.ts'
import { shadowName } from '../../controller/resolve/names.ts'
import { type ControllerProcess, startController } from '../support/controllerprocess.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

const mesh = 'weft-repairs'
const shop = 'shop-repairs'
const http = 7991
/** Seven mesh ports: of the shared ones 7991 and 7992, of db and cache, and three to run out of. */
const first = 30_000
const last = first + 6
const withinMs = 2000

interface KubeEvent {
  reason: string
  message: string
  involvedObject: { name: string }
}

eachCluster('controller', (cluster) => {
  describe('repairs', () => {
    let controller: ControllerProcess
    let resourcesBefore: string[]

    const pathOf = (key: string) => `/api/v1/namespaces/${key.replace('/', '/services/')}`
    const get = (key: string) => cluster.objects.get<Service>(pathOf(key))
    const shadow = (name: string) => `${mesh}/${shadowName(`${shop}/${name}`)}`
    const marks = (name: string) => ({
      'app.kubernetes.io/managed-by': 'weft',
      'weft.dev/service': name,
      'weft.dev/namespace': shop,
    })

    async function events(name: string): Promise<string[]> {
      const list = await cluster.objects.list<KubeEvent>(`/api/v1/namespaces/${shop}/events`)
      return list.filter((each) => each.involvedObject.name === name).map(({ reason }) => reason)
    }

    /** What is ours in a Service, in the words of this test. */
    async function shape(key: string): Promise<unknown> {
      const found = await get(key)
      if (found === null || found.metadata.deletionTimestamp !== undefined) return null
      const { labels = {}, annotations = {}, ownerReferences } = found.metadata
      const { type, selector, internalTrafficPolicy, externalName, ports } = found.spec
      const own = Object.entries(labels).filter(([label]) => /weft|managed-by/.test(label))
      return {
        ...{ type, selector, internalTrafficPolicy, externalName, uid: annotations['weft.dev/uid'] },
        labels: Object.fromEntries(own.sort()),
        owners: ownerReferences?.map(({ kind, name, uid }) => `${kind} ${name} ${uid}`),
        ports: type === 'ExternalName' ? [] : ports?.map((each) => `${each.name} ${each.port} ${each.targetPort}`),
      }
    }

    async function settled(key: string): Promise<unknown> {
      await until(async () => (await get(key)) !== null, key)
      return shape(key)
    }

    async function repaired(key: string, before: unknown): Promise<void> {
      const text = JSON.stringify(before)
      let now: unknown
      const isSo = async () => {
        now = await shape(key)
        return JSON.stringify(now) === text
      }
      await until(isSo, () => `${key} as ${text} rather than ${JSON.stringify(now)}`, withinMs)
    }

    before(async () => {
      await cluster.objects.namespace(mesh)
      await cluster.objects.namespace(shop, { 'weft.dev/mesh': 'enabled' })
      await cluster.objects.service(shop, 'reviews', http)
      await cluster.objects.service(shop, 'ratings', http + 1)
      await cluster.objects.service(shop, 'db', 5432)
      // What a controller before this one left behind: of a Service that is gone, and of one that is not in the mesh.
      await cluster.objects.service(shop, 'out', http)
      await cluster.objects.patch(pathOf(`${shop}/out`), { metadata: { labels: { 'weft.dev/mesh': 'disabled' } } })
      const create = (namespace: string, name: string, of: string, spec: object) =>
        cluster.objects.create(`/api/v1/namespaces/${namespace}/services`, {
          ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace, labels: marks(of) }, spec },
        })
      const alias = { type: 'ExternalName', externalName: `weft.${mesh}.svc.cluster.local` }
      await create(shop, 'ghost-mesh', 'ghost', alias)
      await create(shop, 'out-mesh', 'out', alias)
      const ports = [{ name: 'p-5432', port: 5432, targetPort: first }]
      await create(mesh, shadowName(`${shop}/ghost`), 'ghost', { ports })
      resourcesBefore = [`${shop}/ghost-mesh`, `${shop}/out-mesh`, shadow('ghost')]
      const range = ['--mesh-ports', `${first}-${last}`]
      controller = await startController(cluster.kubeconfig, 'controller-a', '--namespace', mesh, ...range)
      await until(async () => (await get(`${shop}/db-mesh`)) !== null, 'the first aliases')
      // Younger by the seconds that Kubernetes counts in.
      await sleep(1000)
      await cluster.objects.service(shop, 'cache', 6379)
      await until(async () => (await get(`${shop}/cache-mesh`)) !== null, 'another alias')
    })

    after(async () => {
      await controller?.stop('SIGKILL')
      // Later suites' controllers see these namespaces, too.
      await cluster.objects.patch(`/api/v1/namespaces/${shop}`, { metadata: { labels: { 'weft.dev/mesh': null } } })
    })

    it('collects at the start what nobody stands behind, and lets its mesh port rest', async () => {
      for (const key of resourcesBefore) await until(async () => (await get(key)) === null, `the end of ${key}`)
      expect(await get(`${shop}/out`)).to.not.equal(null)
      const { metadata } = (await get(`${mesh}/weft`))!
      const resting = JSON.parse(metadata.annotations!['weft.dev/resting-ports'] ?? '[]') as [number, string, number][]
      expect(resting.map(([port, owner]) => [port, owner])).to.deep.equal([[first, `${shop}/ghost:5432`]])
    })

    it('asks for an address of each IP family, and tells agents of those that the cluster gives', async () => {
      for (const key of [`${mesh}/weft`, shadow('db')]) {
        await settled(key)
        const { ipFamilyPolicy, clusterIPs = [] } = (await get(key))!.spec
        expect(ipFamilyPolicy).to.equal('PreferDualStack')
        expect(clusterIPs.map((address) => isIPv6(address))).to.deep.equal(
          cluster.name === 'real' ? [false, true] : [false],
        )
        const [own, second] = clusterIPs
        const told = `"address": "${own}"${second === undefined ? '' : `,\n +"secondAddress": "${second}"`}`
        const isTold = async () => new RegExp(told).test((await controller.get('/debug/snapshot')).text)
        await until(isTold, `${told} among what agents are told`)
      }
    })

    const kept = { mesh: `${mesh}/weft`, alias: `${shop}/reviews-mesh`, shadow: shadow('db') }
    const noLabels = Object.fromEntries(Object.keys(marks('')).map((label) => [label, null]))
    const edits: [string, keyof typeof kept, object][] = [
      ['the selector of the mesh Service', 'mesh', { spec: { selector: { app: 'mine' } } }],
      ['the ports of the mesh Service', 'mesh', { spec: { ports: [{ name: 'entry', port: 15001, targetPort: 1 }] } }],
      ['the traffic policy of the mesh Service', 'mesh', { spec: { internalTrafficPolicy: 'Cluster' } }],
      ['the type of the mesh Service', 'mesh', { spec: { type: 'NodePort' } }],
      ['the labels of the mesh Service', 'mesh', { metadata: { labels: noLabels } }],
      ['where an alias leads', 'alias', { spec: { externalName: 'example.com' } }],
      ['the type of an alias', 'alias', { spec: { type: 'ClusterIP', externalName: null, ports: [{ port: 80 }] } }],
      ['the labels of an alias', 'alias', { metadata: { labels: noLabels } }],
      ['the owner of an alias', 'alias', { metadata: { ownerReferences: null } }],
      ['the selector of a shadow Service', 'shadow', { spec: { selector: null } }],
      ['a target out of range of a shadow Service', 'shadow', { spec: { ports: [{ port: 5432, targetPort: 80 }] } }],
      ['the labels of a shadow Service', 'shadow', { metadata: { labels: noLabels } }],
      ['the annotation of a shadow Service', 'shadow', { metadata: { annotations: { 'weft.dev/uid': 'x' } } }],
    ]
    for (const [what, which, change] of edits) {
      it(`repairs ${what} within 2 s`, async () => {
        const key = kept[which]
        const wanted = await settled(key)
        await cluster.objects.patch(pathOf(key), change)
        await repaired(key, wanted)
      })
    }

    for (const which of ['mesh', 'alias', 'shadow'] as const) {
      it(`makes a deleted ${which} Service again within 2 s, as it was and where it was`, async () => {
        const key = kept[which]
        const wanted = await settled(key)
        const { clusterIPs } = (await get(key))!.spec
        await cluster.objects.remove(pathOf(key))
        await repaired(key, wanted)
        expect((await get(key))!.spec.clusterIPs, 'the address that clients have from DNS').to.deep.equal(clusterIPs)
      })
    }

    it('makes a deleted Service again elsewhere if somebody else has its address, and tells agents where', async () => {
      const key = kept.shadow
      const wanted = await settled(key)
      const { metadata, spec } = (await get(key))!
      // The controller must not be faster than whoever takes the address.
      process.kill(controller.pid, 'SIGSTOP')
      await cluster.objects.remove(pathOf(key))
      const thief = { name: 'thief', namespace: mesh }
      const take = () =>
        cluster.objects.create(`/api/v1/namespaces/${mesh}/services`, {
          ...{ apiVersion: 'v1', kind: 'Service', metadata: thief },
          spec: { clusterIP: spec.clusterIP, ports: [{ port: 80 }] },
        })
      await take()
      process.kill(controller.pid, 'SIGCONT')
      await until(async () => ((await get(key))?.metadata.uid ?? metadata.uid) !== metadata.uid, 'another one')
      await repaired(key, wanted)
      const { clusterIP } = (await get(key))!.spec
      expect(clusterIP).to.not.equal(spec.clusterIP)
      const isTold = async () => (await controller.get('/debug/snapshot')).text.includes(`"address": "${clusterIP}"`)
      await until(isTold, 'the new address among what agents are told', withinMs)
    })

    it('leaves a mesh port that two Services record to the older one, and says so on the other', async () => {
      const older = await settled(shadow('db'))
      const { targetPort } = (await get(shadow('db')))!.spec.ports![0]!
      const [port] = (await get(shadow('cache')))!.spec.ports!
      expect(port!.targetPort).to.not.equal(targetPort)
      await cluster.objects.patch(pathOf(shadow('cache')), { spec: { ports: [{ ...port, targetPort }] } })
      const isParted = async () => (await get(shadow('cache')))!.spec.ports![0]!.targetPort !== targetPort
      await until(isParted, 'another port of cache', withinMs)
      await repaired(shadow('db'), older)
      await until(async () => (await events('cache')).includes('MeshPortClash'), 'an Event')
      expect(await events('db')).to.not.include('MeshPortClash')
    })

    it('goes on with the rest when mesh ports run out, and says so where one is missing', async () => {
      const ports = [1, 2, 3, 4, 5].map((each) => ({ name: `tcp-${each}`, port: 9000 + each }))
      await cluster.objects.service(shop, 'greedy', ...ports)
      await until(async () => (await events('greedy')).includes('MeshPortsExhausted'), 'an Event')
      const isThere = async () => (await get(`${shop}/greedy-mesh`)) !== null
      await until(isThere, 'an alias for the ports that it got')
      const got = (await get(shadow('greedy')))!.spec.ports!
      expect(got.length).to.be.within(1, 4)
      // A Service that needs no further port comes in as ever.
      await cluster.objects.service(shop, 'details', http)
      await until(async () => (await get(`${shop}/details-mesh`)) !== null, 'the alias of details', withinMs)
      expect(await events('details')).to.deep.equal([])
      // Those that rest are not given away for it.
      const snapshot = (await controller.get('/debug/snapshot')).text
      expect(snapshot).to.not.match(new RegExp(`"name": "${first}",\\s*"port": 900\\d`))
    })
  })
})
