// `weft install`, `upgrade` and `uninstall` as people run them.

import { execFileSync } from 'node:child_process'
import { expect } from 'chai'
import { type Manifest, parseObjects } from '../../controller/cli/install/manifests.ts'
import type { Service } from '../../controller/observe/objects.ts'
import type { Body } from '../support/api.ts'
import { type CliResult, runCli } from '../support/cli.ts'
import { eachCluster } from '../support/kubecluster.ts'

const deployment = '/apis/apps/v1/namespaces/weft-system/deployments/weft-controller'
const apply = { 'content-type': 'application/apply-patch+yaml' }

describe('weft install', () => {
  it('prints what the base has, with what was set', async () => {
    const { code, out, err } = await runCli(
      'install',
      '--image',
      'r/w:1',
      '--set',
      'mesh.clusterDomain=k8s.example',
      '--no-crds',
    )
    expect({ code, err }).to.deep.equal({ code: 0, err: '' })
    const objects = parseObjects(out)
    const kinds = objects.map(({ kind }) => kind)
    expect(kinds).to.include.members(['Namespace', 'Deployment', 'DaemonSet', 'ClusterRole'])
    expect(kinds).to.not.include('CustomResourceDefinition')
    const find = (kind: string) => objects.find((each) => each.kind === kind) as Manifest
    for (const kind of ['Deployment', 'DaemonSet']) {
      expect(find(kind).spec.template.spec.containers[0].image).to.equal('r/w:1')
    }
    const { env } = find('Deployment').spec.template.spec.containers[0]
    expect(env).to.deep.include({ name: 'WEFT_CLUSTER_DOMAIN', value: 'k8s.example' })
    const guard = JSON.stringify(find('ValidatingAdmissionPolicy').spec.validations)
    expect(guard).to.include('.svc.k8s.example').and.not.include('.svc.cluster.local')
  })

  it('builds an overlay by kubectl', async function () {
    try {
      execFileSync('kubectl', ['version', '--client'], { stdio: 'ignore' })
    } catch {
      this.skip()
    }
    const { code, out } = await runCli('install', '--overlay', 'ha', '--image', 'r/w:1')
    expect(code).to.equal(0)
    const deployment = parseObjects(out).find(({ kind }) => kind === 'Deployment')!
    expect(deployment.spec.replicas).to.equal(3)
    expect(deployment.spec.template.spec.containers[0].image).to.equal('r/w:1')
  })

  it('names the value that is wrong, and those that there are', async () => {
    const wrong = async (...args: string[]) => {
      const { code, err } = await runCli('install', ...args)
      expect(code).to.equal(64)
      return err
    }
    expect(await wrong('--set', 'mesh.defaultAccess=maybe')).to.include(
      '--set mesh.defaultAccess: must be allow or deny',
    )
    expect(await wrong('--set', 'mode=deny')).to.include(
      '--set mode: no such value; there are image, mesh.defaultAccess',
    )
    expect(await wrong('--dry-run')).to.include('--dry-run: only with --apply')
    expect(await wrong('--mesh-namespace', 'mesh')).to.include('--mesh-namespace: these manifests are for weft-system')
    expect((await runCli('install', '--overlay', '/nowhere')).code).to.equal(65)
  })
})

eachCluster('weft install, upgrade', (cluster) => {
  const weft = (...args: string[]): Promise<CliResult> => runCli('--kubeconfig', cluster.kubeconfig, ...args)
  const read = async () => (await cluster.test.request('GET', deployment)).body

  // Suites share the real API server: what one leaves there is found by the others.
  const clean = async () => {
    if (cluster.name === 'local') return
    for (const [path, names] of Object.entries({
      '/apis/apps/v1/namespaces/weft-system/deployments': ['weft-controller'],
      '/apis/apps/v1/namespaces/weft-system/daemonsets': ['weft-agent'],
      '/api/v1/namespaces/weft-system/services': ['weft-dns', 'weft-controller'],
      '/apis/networking.k8s.io/v1/namespaces/weft-system/networkpolicies': [
        'weft-default',
        'weft-agent',
        'weft-controller',
      ],
      '/apis/rbac.authorization.k8s.io/v1/clusterroles': ['weft-controller'],
      '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings': ['weft-controller'],
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies': ['weft-controller'],
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings': ['weft-controller'],
      '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations': ['weft-smi'],
    })) {
      for (const name of names) await cluster.test.request('DELETE', `${path}/${name}`)
    }
  }
  before(clean)
  after(clean)

  it('says what it would do, does it, and does nothing a second time', async () => {
    const flags = ['--image', 'r/w:0.1.0', '--apply', '--wait', '0', '--set', 'mesh.defaultAccess=deny']
    const dry = await weft('install', ...flags, '--dry-run')
    expect(dry.err).to.equal('')
    expect(dry.code).to.equal(0)
    expect(dry.out).to.include('DaemonSet weft-system/weft-agent created (dry run)')
    expect((await cluster.test.request('GET', deployment)).status).to.equal(404)

    const first = await weft('install', ...flags)
    expect(first.err).to.equal('')
    expect(first.out).to.include('Deployment weft-system/weft-controller created\n')
    const before = (await read()).metadata.resourceVersion
    const second = await weft('install', ...flags)
    expect(second.out.split('\n').filter((line) => !line.endsWith('unchanged'))).to.deep.equal([''])
    expect((await read()).metadata.resourceVersion).to.equal(before)
  })

  it('upgrades to another image, and keeps what was set', async () => {
    const missing = await weft('upgrade', '--wait', '0')
    expect(missing.code).to.equal(64)
    expect(missing.err).to.include('--image: must be given, such as r/w:0.1.0; now it is r/w:0.1.0')
    const { code, out } = await weft('upgrade', '--image', 'r/w:0.1.1', '--wait', '0')
    expect(code).to.equal(0)
    expect(out)
      .to.include('Deployment weft-system/weft-controller changed')
      .and.include('Namespace weft-system unchanged')
    const { containers } = (await read()).spec.template.spec
    expect(containers[0].image).to.equal('r/w:0.1.1')
    expect(containers[0].env).to.deep.include({ name: 'WEFT_DEFAULT_ACCESS', value: 'deny' })
  })

  it('waits, and says what is not ready', async () => {
    const { code, err } = await weft('upgrade', '--image', 'r/w:0.1.1', '--wait', '500ms')
    expect(code).to.equal(1)
    expect(err).to.include('not ready in time: controller (0 of 2 ready), agents (0 of 0 ready, 0 new)')
  })

  it('leaves fields alone that somebody else owns, unless told to', async () => {
    const body = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'weft-controller' },
      spec: { replicas: 5 },
    }
    await cluster.test.request('PATCH', `${deployment}?fieldManager=autoscaler&force=true`, JSON.stringify(body), apply)
    const { code, err } = await weft('upgrade', '--image', 'r/w:0.1.1', '--wait', '0')
    expect(code).to.equal(1)
    expect(err)
      .to.match(/Deployment weft-system\/weft-controller: .*autoscaler.*replicas/)
      .and.include('--force-conflicts')
    expect((await weft('upgrade', '--image', 'r/w:0.1.1', '--wait', '0', '--force-conflicts')).code).to.equal(0)
    expect((await read()).spec.replicas).to.equal(2)
  })

  it('takes over from kubectl apply', async () => {
    const path = '/api/v1/namespaces/weft-system/services/weft-dns'
    const body = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'weft-dns', labels: { 'app.kubernetes.io/version': '0.0.9' } },
    }
    const merge = { 'content-type': 'application/merge-patch+json' }
    await cluster.test.request('PATCH', `${path}?fieldManager=kubectl-client-side-apply`, body, merge)
    const { code, err } = await weft('upgrade', '--image', 'r/w:0.1.1', '--wait', '0')
    expect({ code, isQuiet: !err.includes('owns') }).to.deep.equal({ code: 0, isQuiet: true })
    const { metadata } = (await cluster.test.request('GET', path)).body
    expect(metadata.labels['app.kubernetes.io/version']).to.equal('0.1.0')
  })

  it('goes no further than one minor version at a time', async () => {
    const label = (version: string) =>
      cluster.objects.patch(deployment, { metadata: { labels: { 'app.kubernetes.io/version': version } } })
    await label('0.5.2')
    const { code, err } = await weft('upgrade', '--image', 'r/w:0.1.1', '--wait', '0')
    expect(code).to.equal(1)
    expect(err).to.include('0.5.2 and 0.1.0 are more than one minor version apart').and.include('go by way of 0.4')
    const forced = ['--image', 'r/w:0.1.1', '--wait', '0', '--force', '--force-conflicts']
    expect((await weft('upgrade', ...forced)).code).to.equal(0)
  })

  it('leaves an installation to Helm that Helm made', async () => {
    const annotate = (release: string | null) =>
      cluster.objects.patch(deployment, { metadata: { annotations: { 'meta.helm.sh/release-name': release } } })
    await annotate('mesh')
    const { code, err } = await weft('install', '--apply', '--wait', '0')
    expect(code).to.equal(1)
    expect(err).to.include('Helm installed this mesh (release mesh)')
    await annotate(null)
  })
})

eachCluster(
  'weft uninstall',
  (cluster) => {
    const weft = (...args: string[]): Promise<CliResult> => runCli('--kubeconfig', cluster.kubeconfig, ...args)
    const ours = { 'app.kubernetes.io/managed-by': 'weft', 'weft.dev/service': 'web', 'weft.dev/namespace': 'shop' }
    const get = async (path: string) => (await cluster.test.request('GET', path)).status

    before(async () => {
      await weft('install', '--image', 'r/w:0.1.0', '--apply', '--wait', '0')
      await cluster.objects.namespace('shop', { 'weft.dev/mesh': 'enabled' })
      await cluster.objects.service('shop', 'web', 80)
      await cluster.objects.create<Service>('/api/v1/namespaces/shop/services', {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'web-mesh', labels: ours },
        spec: { type: 'ExternalName', externalName: 'weft.weft-system.svc.cluster.local' },
      })
      const { body: web } = await cluster.test.request('GET', '/api/v1/namespaces/shop/services/web')
      const ownerReferences = [{ apiVersion: 'v1', kind: 'Service', name: 'web', uid: web.metadata.uid }]
      await cluster.objects.create<Body>('/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies', {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { name: 'weft-lock-web', ownerReferences },
        spec: { podSelector: {} },
      })
      await cluster.objects.split('shop', 'canary', 'web', { web: 1 })
    })

    it('refuses while Services are in the mesh', async () => {
      const { code, err } = await weft('uninstall', '--apply')
      expect(code).to.equal(1)
      expect(err).to.include('1 Services are in the mesh still (shop/web)').and.include('--force')
      expect(await get(deployment)).to.equal(200)
    })

    it('prints what to delete, first who would write it again', async () => {
      const { code, out, err } = await weft('uninstall')
      expect(code).to.equal(0)
      expect(err).to.include('the SMI definitions stay, with 1 trafficsplits.split.smi-spec.io; --crds takes them too')
      const kinds = parseObjects(out).map(({ kind, metadata }) => `${kind} ${metadata.name}`)
      expect(kinds.slice(0, 2)).to.deep.equal(['ClusterRoleBinding weft-controller', 'Deployment weft-controller'])
      expect(kinds).to.include.members(['Service web-mesh', 'NetworkPolicy weft-lock-web', 'Namespace weft-system'])
      expect(kinds).to.not.include('Service web')
      const { out: listed } = await weft('uninstall', '--dry-run', '--crds')
      expect(listed).to.include('CustomResourceDefinition trafficsplits.split.smi-spec.io\n')
    })

    it('removes everything of ours, and nothing else', async () => {
      const event = (name: string, component: string) =>
        cluster.objects.create<Body>('/api/v1/namespaces/shop/events', {
          apiVersion: 'v1',
          kind: 'Event',
          metadata: { name },
          involvedObject: { kind: 'Service', namespace: 'shop', name: 'web' },
          reportingComponent: component,
          reportingInstance: 'x',
        })
      await event('ours', 'weft-controller')
      await event('theirs', 'kubelet')
      const { code, out } = await weft('uninstall', '--apply', '--force')
      expect(code).to.equal(0)
      expect(await get('/api/v1/namespaces/shop/events/ours')).to.equal(404)
      expect(await get('/api/v1/namespaces/shop/events/theirs')).to.equal(200)
      expect(out).to.include('Service shop/web-mesh removed\n')
      expect(await get('/api/v1/namespaces/weft-system')).to.equal(404)
      expect(await get('/api/v1/namespaces/shop/services/web-mesh')).to.equal(404)
      expect(await get('/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/weft-lock-web')).to.equal(404)
      expect(await get('/apis/rbac.authorization.k8s.io/v1/clusterroles/weft-controller')).to.equal(404)
      expect(await get('/api/v1/namespaces/shop/services/web')).to.equal(200)
      expect(await get('/apis/split.smi-spec.io/v1alpha4/namespaces/shop/trafficsplits/canary')).to.equal(200)
      const again = await weft('uninstall', '--apply')
      expect(again).to.deep.include({ code: 0, out: '' })
      expect(again.err).to.include('nothing of the mesh was found')
    })

    it('takes the SMI kinds only when asked to, and says what goes with them', async () => {
      const { code, err } = await weft('uninstall', '--apply', '--crds')
      expect(code).to.equal(0)
      expect(err).to.include('‼ these objects of users go with the definitions: 1 trafficsplits.split.smi-spec.io')
      expect(await get('/apis/split.smi-spec.io/v1alpha4')).to.equal(404)
    })
  },
  // A real API server alone never ends a namespace: that is a controller's work.
  { only: 'local' },
)
