// `weft dns` as people run it, on clusters with CoreDNS of several kinds.

import { expect } from 'chai'
import { readDns } from '../../controller/cli/dns/block.ts'
import { blockFor } from '../../controller/cli/dns/corefile.ts'
import { type Ask, verify } from '../../controller/cli/dns/verify.ts'
import { type CliResult, runCli, runCliAsked } from '../support/cli.ts'
import { eachCluster } from '../support/kubecluster.ts'

const corefile = '.:53 {\n    errors\n    kubernetes cluster.local {\n        ttl 5\n    }\n    reload 2s\n}'
const maps = '/api/v1/namespaces/kube-system/configmaps'
const deployments = '/apis/apps/v1/namespaces/kube-system/deployments'

eachCluster(
  'weft dns',
  (cluster) => {
    let mesh = ''
    let address = ''

    before(async () => {
      await cluster.test.request('POST', '/api/v1/namespaces', { metadata: { name: 'kube-system' } })
    })
    beforeEach(async () => {
      mesh = await cluster.test.namespace()
      await cluster.objects.create(maps, { metadata: { name: 'coredns' }, data: { Corefile: corefile } })
      const labels = { 'k8s-app': 'kube-dns' }
      const volumes = [{ name: 'config', configMap: { name: 'coredns' } }]
      const spec = { containers: [{ name: 'coredns', image: 'coredns:1' }], volumes }
      await cluster.objects.create(deployments, {
        metadata: { name: 'coredns' },
        spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
      })
    })
    afterEach(async () => {
      for (const name of ['coredns', 'coredns-custom', 'node-local-dns', 'kube-dns']) {
        await cluster.objects.remove(`${maps}/${name}`)
        await cluster.objects.remove(`${deployments}/${name}`)
      }
    })

    const weft = (...args: string[]): Promise<CliResult> =>
      runCli('--kubeconfig', cluster.kubeconfig, '--mesh-namespace', mesh, 'dns', ...args)
    const textOf = async (name = 'coredns', key = 'Corefile') =>
      (await cluster.test.request('GET', `${maps}/${name}`)).body.data?.[key]

    async function meshDns(): Promise<void> {
      const ports = [{ port: 53, name: 'dns' }]
      const service = { metadata: { name: 'weft-dns' }, spec: { ports, selector: { a: 'b' } } }
      const { body } = await cluster.test.request('POST', `/api/v1/namespaces/${mesh}/services`, service)
      address = body.spec.clusterIP
    }

    it('needs a mesh', async () => {
      const { code, err } = await weft('install')
      expect(code).to.equal(1)
      expect(err).to.include(`Service ${mesh}/weft-dns is not there`).and.include('weft install --apply')
    })

    it('shows the change, makes it, makes it once, and takes it back byte for byte', async () => {
      await meshDns()
      const dry = await weft('install', '--dry-run')
      expect(dry.code).to.equal(0)
      expect(dry.out)
        .to.include('--- ConfigMap kube-system/coredns Corefile')
        .and.include(`+    forward . ${address}\n`)
      expect(await textOf()).to.equal(corefile)

      const flags = ['--kubeconfig', cluster.kubeconfig, '--mesh-namespace', mesh, 'dns', 'install', '--wait', '0']
      const refused = await runCliAsked('n', ...flags)
      expect(refused).to.deep.include({ code: 1, err: 'Write this? [y/N] weft: nothing was done\n' })
      expect(await textOf()).to.equal(corefile)

      const install = await weft('install', '--wait', '0')
      expect(install).to.deep.include({ code: 0, err: '√ written\n' })
      expect(install.out).to.equal(dry.out)
      expect(await textOf()).to.equal(blockFor('mesh.internal', address) + corefile)
      const { metadata } = (await cluster.test.request('GET', `${maps}/coredns`)).body
      const again = await weft('install', '--wait', '0')
      expect(again).to.deep.include({ code: 0, out: '' })
      expect(again.err).to.include('is in ConfigMap kube-system/coredns Corefile already')
      expect((await cluster.test.request('GET', `${maps}/coredns`)).body.metadata.resourceVersion).to.equal(
        metadata.resourceVersion,
      )
      expect((await weft('status')).out).to.include('Block     ConfigMap kube-system/coredns Corefile: in place')

      expect((await weft('remove', '--dry-run')).out).to.include(`-    forward . ${address}\n`)
      expect((await weft('remove')).code).to.equal(0)
      expect(await textOf()).to.equal(corefile)
      expect((await weft('remove')).err).to.include('there is no block')
    })

    it('notices that its block is gone, or for an address that is no more', async () => {
      await meshDns()
      await weft('install', '--wait', '0')
      const block = async () => (await readDns(cluster.api, mesh)).block
      await cluster.objects.patch(`${maps}/coredns`, { data: { Corefile: corefile } })
      expect(await block()).to.equal('overwritten')
      const { code, out } = await weft('status')
      expect(code).to.equal(1)
      expect(out).to.include('was put in and is gone; put it in again with: weft dns install')
      const stale = blockFor('mesh.internal', '10.96.250.250') + corefile
      await cluster.objects.patch(`${maps}/coredns`, { data: { Corefile: stale } })
      expect(await block()).to.equal('stale')
      const { out: diff } = await weft('install', '--wait', '0')
      expect(diff).to.include('-    forward . 10.96.250.250\n').and.include(`+    forward . ${address}\n`)
      await weft('remove')
      expect(await block()).to.equal('missing')
    })

    it('uses coredns-custom where that is, and leaves its other keys alone', async () => {
      await meshDns()
      const custom = { metadata: { name: 'coredns-custom' }, data: { 'mine.server': 'example.com:53 {\n}\n' } }
      await cluster.objects.create(maps, custom)
      expect((await weft('install', '--wait', '0')).code).to.equal(0)
      expect(await textOf('coredns-custom', 'weft.server')).to.equal(blockFor('mesh.internal', address))
      expect(await textOf()).to.equal(corefile)
      expect((await weft('remove')).code).to.equal(0)
      const { body } = await cluster.test.request('GET', `${maps}/coredns-custom`)
      expect(body.data).to.deep.equal(custom.data)
    })

    it('makes coredns-custom where the Corefile imports it, and takes it away again', async () => {
      await meshDns()
      const importing = `${corefile}\nimport /etc/coredns/custom/*.server\n`
      await cluster.objects.patch(`${maps}/coredns`, { data: { Corefile: importing } })
      const volume = { name: 'custom', configMap: { name: 'coredns-custom', optional: true } }
      const own = { name: 'config', configMap: { name: 'coredns' } }
      await cluster.objects.patch(`${deployments}/coredns`, {
        spec: { template: { spec: { volumes: [own, volume] } } },
      })
      expect((await weft('install', '--wait', '0')).code).to.equal(0)
      expect(await textOf('coredns-custom', 'weft.server')).to.equal(blockFor('mesh.internal', address))
      expect((await weft('remove')).code).to.equal(0)
      expect((await cluster.test.request('GET', `${maps}/coredns-custom`)).status).to.equal(404)
    })

    it('writes nothing where somebody else owns the file, and says what to do', async () => {
      await meshDns()
      await cluster.objects.patch(`${maps}/coredns`, {
        metadata: { annotations: { 'meta.helm.sh/release-name': 'dns' } },
      })
      const { code, out } = await weft('install')
      expect(code).to.equal(1)
      expect(out).to.include('ConfigMap kube-system/coredns belongs to dns.').and.include(`parameters: . ${address}`)
      expect(await textOf()).to.equal(corefile)
      await cluster.objects.patch(`${maps}/coredns`, { data: { Corefile: `mesh.internal {\n}\n${corefile}` } })
      await cluster.objects.patch(`${maps}/coredns`, { metadata: { annotations: null } })
      expect((await weft('install')).err).to.include('it has a block for mesh.internal already, which is not ours')
    })

    it('knows kube-dns by its Deployment', async () => {
      await meshDns()
      await cluster.objects.remove(`${deployments}/coredns`)
      const labels = { 'k8s-app': 'kube-dns' }
      const spec = { containers: [{ name: 'kubedns', image: 'kube-dns:1' }] }
      await cluster.objects.create(deployments, {
        metadata: { name: 'kube-dns' },
        spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
      })
      expect((await weft('install')).out).to.include('The cluster runs kube-dns, which takes stub domains')
    })

    it('says what NodeLocal DNSCache and a missing reload plugin mean', async () => {
      await meshDns()
      await cluster.objects.create(maps, {
        metadata: { name: 'node-local-dns' },
        data: { Corefile: 'cluster.local:53 {\n    bind 169.254.20.10\n}\n' },
      })
      await cluster.objects.patch(`${maps}/coredns`, { data: { Corefile: corefile.replace('reload 2s', 'ready') } })
      const { out, err } = await weft('install', '--wait', '0')
      expect(out).to.include('ConfigMap kube-system/node-local-dns').and.include('bind 169.254.20.10')
      expect(err).to.include('has no reload plugin')
    })

    it('asks every CoreDNS pod until all know a name', async () => {
      await meshDns()
      for (const name of ['coredns-a', 'coredns-b', 'coredns-c']) {
        const pod = {
          metadata: { name, labels: { 'k8s-app': 'kube-dns' } },
          spec: { containers: [{ name: 'c', image: 'i' }] },
        }
        await cluster.test.request('POST', '/api/v1/namespaces/kube-system/pods', pod)
        const conditions = [{ type: 'Ready', status: name === 'coredns-c' ? 'False' : 'True' }]
        await cluster.objects.patch(`/api/v1/namespaces/kube-system/pods/${name}/status`, { status: { conditions } })
      }
      const state = await readDns(cluster.api, mesh)
      // Suites share the real API server, with whatever aliases the others have left there.
      const before = await cluster.test.request('GET', '/api/v1/services?labelSelector=weft.dev/service')
      for (const { metadata } of before.body.items) {
        await cluster.objects.remove(`/api/v1/namespaces/${metadata.namespace}/services/${metadata.name}`)
      }
      const asked: string[] = []
      let early = 1
      const ask: Ask = async ({ name }, question, type) => {
        asked.push(`${name} ${type} ${question}`)
        const hasAnswer = name !== 'coredns-b' || early-- <= 0
        return { rcode: hasAnswer ? 'NOERROR' : 'NXDOMAIN', addresses: [], hasAnswer }
      }
      expect(await verify(cluster.api, ask, state, 0)).to.deep.equal({
        result: 'fails',
        text: 'pod coredns-b answers NXDOMAIN to the SOA of mesh.internal',
      })
      const verdict = await verify(cluster.api, ask, state, 5000)
      expect(verdict).to.deep.equal({ result: 'resolves', text: '2 CoreDNS pods answer for mesh.internal' })
      expect(asked).to.include('coredns-a SOA mesh.internal').and.not.include('coredns-c SOA mesh.internal')

      const labels = { 'app.kubernetes.io/managed-by': 'weft', 'weft.dev/service': 'web', 'weft.dev/namespace': 'shop' }
      const alias = `/api/v1/namespaces/${mesh}/services`
      const spec = { type: 'ExternalName', externalName: 'x.example' }
      await cluster.objects.create(alias, { metadata: { name: 'web-mesh', labels }, spec })
      await verify(cluster.api, ask, state, 0)
      expect(asked.at(-1)).to.equal('coredns-b A web.shop.mesh.internal')
      const broken: Ask = () => Promise.reject(new Error('forbidden'))
      expect((await verify(cluster.api, broken, state, 0)).result).to.equal('unknown')
      await cluster.objects.remove(`${alias}/web-mesh`)
      for (const name of ['coredns-a', 'coredns-b', 'coredns-c']) {
        await cluster.objects.remove(`/api/v1/namespaces/kube-system/pods/${name}`)
      }
    })
  },
  { crds: false },
)
