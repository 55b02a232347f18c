// The validating webhook between an API server and the controller, with the configuration of manifests/base.

import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { pino } from 'pino'
import { parse } from 'yaml'
import { type RunningAdmission, startAdmission } from '../../controller/admission/start.ts'
import { replaceRoot } from '../../controller/authority/keep.ts'
import { type RunningAuthority, startAuthority } from '../../controller/authority/start.ts'
import { kubeStore } from '../../controller/authority/store.ts'
import { emptyWorld } from '../../controller/observe/world.ts'
import { defaultSettings } from '../../controller/resolve/settings.ts'
import type { Answer, Body } from '../support/api.ts'
import { FakeClock } from '../support/clock.ts'
import { type ControllerProcess, startController } from '../support/controllerprocess.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

const configurations = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations'
const manifest = new URL('../../manifests/base/admission.yaml', import.meta.url)

eachCluster('admission', (cluster) => {
  let mesh = ''
  let shop = ''
  let controller: ControllerProcess | undefined
  const log = pino({ level: 'silent' })
  const stops: (() => Promise<void>)[] = []
  // The local API stores the configuration and asks nobody.
  const calling = (name: string, run: () => Promise<void>, timeoutMs = 20_000): void => {
    if (cluster.name !== 'local') it(name, run).timeout(timeoutMs)
  }

  beforeEach(async () => {
    mesh = await cluster.test.namespace()
    shop = await cluster.test.namespace()
  })
  afterEach(async () => {
    await cluster.test.request('DELETE', `${configurations}/weft-smi`)
    await controller?.stop('SIGKILL')
    controller = undefined
    for (const stop of stops.splice(0)) await stop()
  })

  /** As applied, but for the port and the namespace; the Service leads to this machine. */
  async function configure(port: number): Promise<void> {
    const configuration = parse(readFileSync(manifest, 'utf8'))
    Object.assign(configuration.webhooks[0].clientConfig.service, { namespace: mesh, port })
    const { status, body } = await cluster.test.request('POST', configurations, configuration)
    expect(status, JSON.stringify(body)).to.equal(201)
    const spec = { type: 'ExternalName', externalName: '127.0.0.1' }
    const service = { metadata: { name: 'weft-controller' }, spec }
    expect((await cluster.test.request('POST', `/api/v1/namespaces/${mesh}/services`, service)).status).to.equal(201)
  }

  const configuration = async (): Promise<Body> =>
    (await cluster.test.request('GET', `${configurations}/weft-smi`)).body
  const bundle = async (): Promise<string> =>
    Buffer.from((await configuration()).webhooks[0].clientConfig.caBundle ?? '', 'base64').toString()
  const trust = async (): Promise<string> =>
    (await cluster.test.request('GET', `/api/v1/namespaces/${mesh}/configmaps/weft-trust`)).body.data?.['bundle.pem']

  /** Not stored. What `root` says no schema can judge: another namespace's Service must not be named. */
  function split(version: string, root: string, weights: unknown[] = ['0', 100]): Promise<Answer> {
    const apiVersion = `split.smi-spec.io/${version}`
    const backends = weights.map((weight, index) => ({ service: `web-${index}`, weight }))
    const object = { apiVersion, kind: 'TrafficSplit', metadata: { name: 's' }, spec: { service: root, backends } }
    return cluster.test.request('POST', `/apis/${apiVersion}/namespaces/${shop}/trafficsplits?dryRun=All`, object)
  }
  const isRefused = async () => String((await split('v1alpha4', 'web.other')).body.message).includes('smi.weft.dev')

  it('has the root of the mesh in its configuration, where nothing else is touched', async () => {
    controller = await startController(cluster.kubeconfig, 'controller-1', '--namespace', mesh)
    await configure(controller.admissionPort)
    await until(async () => (await bundle()) !== '', 'the root in the configuration', 15_000)
    expect(await bundle()).to.equal(await trust())
    const before = await configuration()
    const applied = parse(readFileSync(manifest, 'utf8')).webhooks[0]
    expect(before.webhooks).to.have.length(1)
    for (const field of ['name', 'failurePolicy', 'sideEffects', 'timeoutSeconds', 'rules', 'matchPolicy']) {
      expect(before.webhooks[0][field], field).to.deep.equal(applied[field])
    }
  }).timeout(30_000)

  calling(
    'refuses, warns and lets through, for every version of every kind',
    async () => {
      controller = await startController(cluster.kubeconfig, 'controller-1', '--namespace', mesh)
      await configure(controller.admissionPort)
      // Until the API server knows of the configuration and its root, everything goes through.
      await until(isRefused, 'the first refusal', 20_000)
      for (const version of ['v1alpha1', 'v1alpha2', 'v1alpha3', 'v1alpha4']) {
        const { status, body } = await split(version, 'web.other')
        expect(status, version).to.equal(422)
        expect(body.message).to.match(
          /^admission webhook "smi\.weft\.dev" denied the request: spec\.service: "web\.other"/,
        )
        const fine = await split(version, 'web')
        expect(fine.status, JSON.stringify(fine.body)).to.equal(201)
        expect(fine.headers['warning']).to.equal(undefined)
      }
      const twice = { service: 'web-0', weight: 1 }
      const warned = await cluster.test.request(
        'POST',
        `/apis/split.smi-spec.io/v1alpha2/namespaces/${shop}/trafficsplits?dryRun=All`,
        {
          apiVersion: 'split.smi-spec.io/v1alpha2',
          kind: 'TrafficSplit',
          metadata: { name: 'w' },
          spec: { service: 'web', backends: [twice, twice] },
        },
      )
      expect(warned.status).to.equal(201)
      expect(String(warned.headers['warning'])).to.include('is listed twice')
      await refusesEachKind()
      const { text } = await controller.get('/metrics')
      expect(text).to.match(/weft_controller_reviews_total\{result="denied"\} [1-9]/)
      expect(text).to.match(/weft_controller_reviews_total\{result="warned"\} 1\n/)
      expect(text).to.match(/weft_controller_reviews_total\{result="failed"\} 0\n/)
    },
    40_000,
  )

  /** One wrong object of each kind that is not a TrafficSplit. */
  async function refusesEachKind(): Promise<void> {
    const account = { kind: 'ServiceAccount', name: 'a' }
    // Schemas know RE2, but not how much of it the mesh takes.
    const large = '(abcdefghij){500}'
    const wrong: [string, string, object][] = [
      [
        'access.smi-spec.io/v1alpha3',
        'TrafficTarget',
        {
          spec: {
            destination: { ...account, namespace: 'other' },
            sources: [account],
            rules: [{ kind: 'TCPRoute', name: 'r' }],
          },
        },
      ],
      [
        'specs.smi-spec.io/v1alpha1',
        'HTTPRouteGroup',
        { matches: [{ name: 'm', pathRegex: large, methods: ['GET'] }] },
      ],
      ['specs.smi-spec.io/v1alpha4', 'HTTPRouteGroup', { spec: { matches: [{ name: 'm', headers: { a: large } }] } }],
    ]
    for (const [apiVersion, kind, rest] of wrong) {
      const path = `/apis/${apiVersion}/namespaces/${shop}/${kind.toLowerCase()}s?dryRun=All`
      const { status, body } = await cluster.test.request('POST', path, {
        apiVersion,
        kind,
        metadata: { name: 'x' },
        ...rest,
      })
      expect(status, `${kind}: ${JSON.stringify(body)}`).to.equal(422)
      expect(body.message).to.include('smi.weft.dev')
    }
  }

  calling(
    'goes on refusing while the root is replaced',
    async () => {
      const clock = new FakeClock(0, Date.now() - 600_000)
      const authority: RunningAuthority = startAuthority({
        ...{ api: cluster.api, clock, log, namespace: mesh, controller: 'controller-1', agentSelector: {} },
        ...{ trustDomain: 'cluster.local', lifetimeMs: 86_400_000, world: () => emptyWorld, isLeader: () => true },
      })
      const { authority: own } = await authority.opened
      const settings = { ...defaultSettings, namespace: mesh }
      const parts = { api: cluster.api, clock, log, settings, authority, isLeader: () => true }
      const admission: RunningAdmission = await startAdmission('127.0.0.1', 0, parts)
      stops.push(admission.stop, authority.stop)
      await configure(admission.port)
      admission.lead()
      await until(isRefused, 'the first refusal', 20_000)

      const first = own.signer()
      await replaceRoot(kubeStore(cluster.api, mesh), clock.wall())
      const phases = new Set<string>()
      // Two phases of a minute each at least; what is asked meanwhile must be answered.
      await until(
        async () => {
          clock.tick(10_000)
          expect(await isRefused(), own.status().phase).to.equal(true)
          phases.add(own.status().phase)
          return own.status().phase === 'steady' && own.signer() !== first
        },
        'the end of the rotation',
        20_000,
      )
      expect([...phases]).to.include.members(['trusting', 'retiring', 'steady'])
      clock.tick(10_000)
      await until(async () => (await bundle()) === own.trust(), 'the new root alone')
      expect(admission.counts.failed).to.equal(0)

      // Somebody replaces the object by the manifest.
      const taken = await configuration()
      delete taken.webhooks[0].clientConfig.caBundle
      expect((await cluster.test.request('PUT', `${configurations}/weft-smi`, taken)).status).to.equal(200)
      clock.tick(10_000)
      await until(async () => (await bundle()) === own.trust(), 'the root again')
    },
    60_000,
  )

  calling('lets everything through while no controller answers', async () => {
    await configure(1)
    expect((await split('v1alpha4', 'web.other')).status).to.equal(201)
  })
})
