// Canaries by Flagger and Argo Rollouts, played to their end on a whole local mesh: their objects in their versions, traffic
// from both nodes all through, and the checks of Flagger answered from what the agents export.

import { KubeConfig } from '@kubernetes/client-node'
import { expect } from 'chai'
import { openCluster } from '../../controller/observe/access.ts'
import { type Api, openApi } from '../../controller/observe/api.ts'
import type { KubeObject } from '../../controller/observe/objects.ts'
import type { LocalMesh } from '../../scripts/local/mesh.ts'
import { type Deployment, isReady, type Pod } from '../../scripts/local/objects.ts'
import { openArgo } from '../support/argo.ts'
import { call } from '../support/call.ts'
import {
  adjusted,
  application,
  definitionOf,
  serviceOf,
  settles,
  startTraffic,
  type Traffic,
} from '../support/delivery.ts'
import { type Flagger, openFlagger, type Provider, providers } from '../support/flagger.ts'
import { startTestMesh } from '../support/localmesh.ts'
import { openRecording } from '../support/promql.ts'
import { traefikMesh } from '../support/traefik.ts'
import { until } from '../support/until.ts'

const port = 9898
const namespace = 'test'

/** What agent/README.md offers for MetricTemplates and AnalysisTemplates. */
const ownSelector = 'direction="outbound", backend="test/podinfo-canary"'
const ownRate = `sum(rate(weft_requests_total{${ownSelector}, status_class!="5xx"}[1m])) / sum(rate(weft_requests_total{${ownSelector}}[1m])) * 100`

interface Checked {
  rate: number
  ownRate: number
  p99Ms: number
}

describe('mesh: progressive delivery', function () {
  this.timeout(60_000)
  let mesh: LocalMesh
  let api: Api
  const all: Traffic[] = []

  before(async () => {
    mesh = await startTestMesh({ nodes: 2, demo: false, adjust: adjusted })
    const config = new KubeConfig()
    config.loadFromFile(mesh.kubeconfig)
    api = openApi(openCluster(config))
    apply(
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: { 'weft.dev/mesh': 'enabled' } } },
      definitionOf('canaries', 'Canary', 'flagger.app', 'v1beta1'),
      definitionOf('rollouts', 'Rollout', 'argoproj.io', 'v1alpha1'),
      application('tester', {}, 2),
    )
  })
  afterEach(async () => {
    await Promise.all(all.splice(0).map((traffic) => traffic.stop()))
  })
  after(async () => {
    await api?.close()
    await mesh?.stop(0)
  })

  function apply(...objects: object[]): void {
    mesh.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'))
  }

  const callerPods = () => mesh.pods(namespace, { app: 'tester' }).map(({ status }) => status!.podIP!)

  /** Calls a Service of the mesh from a pod on each node. */
  function calls(service: string): Traffic {
    const host = mesh.clusterIP('weft-system', 'weft')!
    const traffic = startTraffic({ host, port, headers: { host: `${service}-mesh.${namespace}` } }, callerPods())
    all.push(traffic)
    return traffic
  }

  async function isServed(service: string): Promise<void> {
    const [from = ''] = callerPods()
    const options = { host: mesh.clusterIP('weft-system', 'weft')!, port, path: '/healthz', from }
    const headers = { host: `${service}-mesh.${namespace}` }
    const isUp = () =>
      call({ ...options, headers }).then(
        ({ status }) => status === 200,
        () => false,
      )
    await until(isUp, `an answer of ${service}`)
  }

  const podOf = (deployment: string) => mesh.pods(namespace, { app: deployment }).find(isReady)!

  async function scrape(): Promise<Record<string, string>> {
    const agents = mesh.pods('weft-system', { 'app.kubernetes.io/name': 'weft-agent' })
    const pages = agents.map(async ({ metadata, status }): Promise<[string, string]> => {
      return [metadata.name, await (await fetch(`http://${status!.podIP}:15020/metrics`)).text()]
    })
    return Object.fromEntries(await Promise.all(pages))
  }

  /** What Flagger's checks say of the time in which so many more answers come. */
  async function check(flagger: Flagger, traffic: Traffic, answers = 100): Promise<Checked> {
    const recording = openRecording()
    const queries = flagger.queries('1m')
    const done = () => traffic.answers()
    recording.add(performance.now(), await scrape())
    const before = done()
    await until(() => done() >= before + answers, `${answers} answers`)
    recording.add(performance.now(), await scrape())
    return {
      rate: recording.query(queries.successRate) ?? Number.NaN,
      ownRate: recording.query(ownRate) ?? Number.NaN,
      p99Ms: recording.query(queries.duration) ?? Number.NaN,
    }
  }

  async function own(apiVersion: string, kind: string, name: string): Promise<KubeObject> {
    const plural = `${kind.toLowerCase().replace(/y$/, 'ie')}s`
    const path = `/apis/${apiVersion}/namespaces/${namespace}/${plural}`
    return api.request<KubeObject>('POST', path, { body: { apiVersion, kind, metadata: { name, namespace } } })
  }

  const isGone = async (path: string) => (await api.request('GET', path).catch(() => null)) === null

  describe('Flagger', () => {
    const splits = `/apis/split.smi-spec.io/v1alpha4/namespaces/${namespace}/trafficsplits`

    before(async () => {
      apply(
        application('podinfo', { version: '2' }),
        application('podinfo-primary', { version: '1' }),
        serviceOf('podinfo', { app: 'podinfo-primary' }),
        serviceOf('podinfo-canary', { app: 'podinfo' }),
        serviceOf('podinfo-primary', { app: 'podinfo-primary' }),
      )
      await mesh.ready()
      await isServed('podinfo')
    })

    async function begin(provider: Provider): Promise<{ flagger: Flagger; traffic: Traffic }> {
      const canary = await own('flagger.app/v1beta1', 'Canary', 'podinfo')
      const flagger = openFlagger(api, canary, provider)
      expect(await flagger.reconcile()).to.equal(true)
      expect(await flagger.routes()).to.deep.equal({ primary: 100, canary: 0 })
      const traffic = calls('podinfo')
      await settles(traffic, 'pods', 'podinfo-primary')
      return { flagger, traffic }
    }

    async function end(): Promise<void> {
      await api.request('DELETE', `/apis/flagger.app/v1beta1/namespaces/${namespace}/canaries/podinfo`)
      await until(() => isGone(`${splits}/podinfo`), 'the end of the split with its Canary')
    }

    for (const provider of providers) {
      it(`with provider ${provider} promotes a good version and takes a bad one back`, async () => {
        const { flagger, traffic } = await begin(provider)
        for (const canary of [20, 50]) {
          await flagger.setRoutes(100 - canary, canary)
          await settles(traffic, 'pods', 'podinfo-primary', 'podinfo')
          expect(await flagger.reconcile(), 'the spec is as it was written').to.equal(false)
          const { rate, ownRate, p99Ms } = await check(flagger, traffic)
          expect(rate, 'success rate').to.equal(100)
          expect(ownRate, 'success rate by our own metrics').to.equal(100)
          expect(p99Ms, 'duration').to.be.within(0.001, 1_000)
          expect(await flagger.routes()).to.deep.equal({ primary: 100 - canary, canary })
        }
        await flagger.setRoutes(100, 0)
        await settles(traffic, 'pods', 'podinfo-primary')
        expect(traffic.summary()).to.equal('')

        await flagger.setRoutes(50, 50)
        await settles(traffic, 'pods', 'podinfo-primary', 'podinfo')
        const { podIP } = podOf('podinfo').status!
        await fetch(`http://${podIP}:${port}/status?code=500`)
        await until(() => traffic.failures().length > 0, 'the first failure')
        const bad = await check(flagger, traffic)
        expect(bad.rate, 'success rate of the bad version').to.be.below(20)
        expect(bad.ownRate, 'the same by our own metrics').to.be.below(20)
        await flagger.setRoutes(100, 0)
        await settles(traffic, 'pods', 'podinfo-primary')
        await fetch(`http://${podIP}:${port}/status?code=200`)
        // Nothing but what the application itself said.
        expect(traffic.failures().filter((line) => !/ 500 \{"version"/.test(line))).to.deep.equal([])
        await end()
      })
    }

    it('replaces the primary’s pods and ends the canary’s without a failed request', async () => {
      const { flagger, traffic } = await begin('smi:v1alpha2')
      await settles(traffic, 'versions', '1')
      await flagger.setRoutes(0, 100)
      await settles(traffic, 'versions', '2')
      const primary = mesh.cluster.get<Deployment>('deployments', namespace, 'podinfo-primary')!
      const promoted = structuredClone(primary)
      const { env = [] } = promoted.spec.template.spec!.containers[0]!
      env.find(({ name }) => name === 'VERSION')!.value = '2'
      mesh.cluster.update('deployments', promoted)
      const isRolled = () => {
        const pods = mesh.pods(namespace, { app: 'podinfo-primary' })
        const version = ({ spec }: Pod) => spec.containers[0]?.env?.find(({ name }) => name === 'VERSION')?.value
        return pods.length === 1 && isReady(pods[0]!) && version(pods[0]!) === '2'
      }
      await until(isRolled, 'the new primary', 20_000)
      await flagger.setRoutes(100, 0)
      await settles(traffic, 'pods', 'podinfo-primary')
      const canary = mesh.cluster.get<Deployment>('deployments', namespace, 'podinfo')!
      mesh.cluster.update('deployments', { ...canary, spec: { ...canary.spec, replicas: 0 } })
      await until(() => mesh.pods(namespace, { app: 'podinfo' }).length === 0, 'the end of the canary', 20_000)
      await settles(traffic, 'versions', '2')
      expect(traffic.summary()).to.equal('')
      await end()
    })
  })

  it('Argo Rollouts divides a Service with itself, adds an experiment, and flips selectors without a failed request', async () => {
    const hash = (value: string) => ({ app: 'rollouts-demo', 'rollouts-pod-template-hash': value })
    const flip = (service: string, value: string) =>
      api.request('PATCH', `/api/v1/namespaces/${namespace}/services/${service}`, {
        body: { spec: { selector: hash(value) } },
        contentType: 'application/merge-patch+json',
      })
    apply(
      application('rollouts-demo-5747959bdb', { version: 'a', labels: hash('5747959bdb') }),
      application('rollouts-demo-6b8c9f7d44', { version: 'b', labels: hash('6b8c9f7d44') }),
      application('rollouts-demo-7f6d5c4b33', { version: 'c', labels: hash('7f6d5c4b33') }),
      serviceOf('rollouts-demo-stable', hash('5747959bdb')),
      serviceOf('rollouts-demo-canary', hash('5747959bdb')),
    )
    await mesh.ready()
    await isServed('rollouts-demo-stable')
    const rollout = await own('argoproj.io/v1alpha1', 'Rollout', 'rollouts-demo')
    const argo = openArgo(api, rollout)
    await argo.setWeight(0)
    const traffic = calls('rollouts-demo-stable')
    await settles(traffic, 'versions', 'a')

    await flip('rollouts-demo-canary', '6b8c9f7d44')
    await argo.setWeight(40)
    await settles(traffic, 'versions', 'a', 'b')
    await api.request('POST', `/api/v1/namespaces/${namespace}/services`, {
      body: serviceOf('rollouts-demo-exp', hash('7f6d5c4b33')),
    })
    await argo.setWeight(20, { 'rollouts-demo-exp': 20 })
    await settles(traffic, 'versions', 'a', 'b', 'c')
    await argo.setWeight(50)
    await settles(traffic, 'versions', 'a', 'b')
    await api.request('DELETE', `/api/v1/namespaces/${namespace}/services/rollouts-demo-exp`)

    await argo.setWeight(100)
    await settles(traffic, 'versions', 'b')
    await flip('rollouts-demo-stable', '6b8c9f7d44')
    await argo.setWeight(0)
    await settles(traffic, 'versions', 'b')
    const old = mesh.cluster.get<Deployment>('deployments', namespace, 'rollouts-demo-5747959bdb')!
    mesh.cluster.update('deployments', { ...old, spec: { ...old.spec, replicas: 0 } })
    await until(() => mesh.pods(namespace, hash('5747959bdb')).length === 0, 'the end of the old pods', 20_000)
    await settles(traffic, 'versions', 'b')
    expect(traffic.summary()).to.equal('')
    const { spec } = await argo.split()
    expect(spec).to.deep.equal({
      service: 'rollouts-demo-stable',
      backends: [
        { service: 'rollouts-demo-canary', weight: '0' },
        { service: 'rollouts-demo-stable', weight: '100' },
      ],
    })
  })

  it('takes the objects, annotations and host names of Traefik Mesh as they are', async () => {
    for (const name of ['server', 'client']) {
      const labels = { 'weft.dev/mesh': 'enabled' }
      apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
      apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: name } })
    }
    const server = { namespace: 'server', account: 'server' }
    apply(
      application('server-v1', { ...server, version: 'v1' }),
      application('server-v2', { ...server, version: 'v2' }),
      application('client', { namespace: 'client', account: 'client' }),
    )
    mesh.apply(traefikMesh)
    await mesh.ready()
    const clusterIP = mesh.clusterIP('weft-system', 'weft')!
    const ask = async (path: string, from: string, method = 'GET') => {
      const headers = { host: 'server.server.traefik.mesh' }
      const { status, body } = await call({ host: clusterIP, port: 8080, path, from, method, headers })
      return { status, version: status === 200 ? (JSON.parse(body) as { version: string }).version : '' }
    }
    const client = mesh.pods('client', { app: 'client' })[0]!.status!.podIP!
    const [stranger = ''] = callerPods()
    const isAllowed = () => ask('/api', client).then(({ status }) => status === 200)
    await until(() => isAllowed().catch(() => false), 'the first answer')

    const versions = { v1: 0, v2: 0 }
    for (let i = 0; i < 100; i++) versions[(await ask('/api', client)).version as 'v1' | 'v2']++
    expect(versions.v2).to.be.within(5, 40)
    expect(versions.v1 + versions.v2).to.equal(100)
    expect((await ask('/api/v2/users?x=1', client, 'POST')).status).to.equal(200)
    expect((await ask('/metrics', client)).status, 'a match that the target does not name').to.equal(403)
    expect((await ask('/api', stranger)).status, 'an account that it does not name').to.equal(403)
    const many = await Promise.all(Array.from({ length: 400 }, () => ask('/api', client)))
    expect(many.filter(({ status }) => status === 429).length, 'beyond the rate limit').to.be.above(0)

    interface Events {
      items: { type: string; reason: string; message: string; involvedObject: { kind: string } }[]
    }
    const { items } = await api.request<Events>('GET', '/api/v1/namespaces/server/events')
    const told = items.filter(({ type, involvedObject }) => type === 'Warning' && involvedObject.kind !== 'Pod')
    expect(told.map(({ reason, message }) => `${reason}: ${message}`)).to.deep.equal([])
  })
})
