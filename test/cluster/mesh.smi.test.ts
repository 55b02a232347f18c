// SMI's conformance on a cluster: three small programs that call each other through the mesh, in a namespace of mode `deny`,
// with the kinds and shapes that the conformance runs of that project use. Every step counts what arrived, not what was meant.

import { expect } from 'chai'
import { until } from '../support/until.ts'
import { serves, service, workload } from './fleet.ts'
import { apply, kubectl, list, pods, rolledOut } from './kubectl.ts'
import { figure, withMesh } from './mesh.ts'
import { callFrom, detachLoad, evaluate, failuresOf, type Place } from './pod.ts'

const space = 'smi'
const port = 9091
const limitMs = 5000
const account = (name: string) => ({ kind: 'ServiceAccount', name, namespace: space })
const meta = (name: string) => ({ name, namespace: space })
let marks = 0

/** What a program's pods have seen of a mark. */
async function seen(place: Place, app: string, mark: string): Promise<{ count: number; pods: number }> {
  let count = 0
  let from = 0
  for (const { status } of await pods(space, `app=${app}`)) {
    const said = await evaluate(place, `console.log(await (await fetch('http://${status.podIP}:8081/')).text())`)
    const here = (JSON.parse(said) as Record<string, { count: number }>)[mark]?.count ?? 0
    count += here
    if (here > 0) from++
  }
  return { count, pods: from }
}

const group = (name: string, matches: object[]) => ({
  apiVersion: 'specs.smi-spec.io/v1alpha4',
  kind: 'HTTPRouteGroup',
  metadata: meta(name),
  // Where the conformance run writes them; the specification has them under `spec`.
  matches,
})

const target = (name: string, to: string, from: string, rules: object[], more: object = {}) => ({
  apiVersion: 'access.smi-spec.io/v1alpha2',
  kind: 'TrafficTarget',
  metadata: meta(name),
  spec: { destination: { ...account(to), ...more }, sources: [account(from)], rules },
})

const split = (apiVersion: string, backends: Record<string, number>) => ({
  apiVersion,
  kind: 'TrafficSplit',
  metadata: meta('app-svc'),
  spec: {
    service: 'app-svc',
    backends: Object.entries(backends).map(([name, weight]) => ({ service: name, weight })),
  },
})

describe('SMI conformance on a cluster', function () {
  this.timeout(120_000)
  withMesh()
  let a: Place = { namespace: space, pod: '', node: '' }

  before(async function () {
    this.timeout(180_000)
    const names = ['app-a', 'app-b', 'app-c']
    const at = { name: 'http', port, targetPort: 8080 }
    await apply(
      {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: space, labels: { 'weft.dev/mesh': 'enabled', 'weft.dev/access': 'deny' } },
      },
      ...names.map((name) => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta(name) })),
      ...names.map((name) =>
        workload(
          'Deployment',
          space,
          name,
          { ...serves(name), labels: name === 'app-a' ? {} : { served: 'yes' } },
          { replicas: name === 'app-b' ? 2 : 1 },
        ),
      ),
      ...names.map((name) => service(space, name, { app: name }, at)),
      service(space, 'app-svc', { served: 'yes' }, at),
    )
    for (const name of names) await rolledOut(space, `deployment/${name}`)
    const [pod] = await pods(space, 'app=app-a')
    a = { namespace: space, pod: pod.metadata.name, node: pod.spec.nodeName }
    const isThere = async () => (await list(space, 'services')).some(({ metadata }) => metadata.name === 'app-svc-mesh')
    await until(isThere, 'the aliases', 20_000)
  })

  after(async function () {
    this.timeout(120_000)
    await kubectl(['delete', 'namespace', space, '--timeout=100s'])
  })

  const urlOf = (name: string, path = '/call') => `http://${name}-mesh:${port}${path}`
  /** Calls once. @returns the status, '200' or what failed */
  const answer = async (name: string, path = '/call', options: object = {}) => {
    const { failed, failures } = await callFrom(a, urlOf(name, path), 1, options)
    return failed === 0 ? '200' : (failures[0]?.what ?? '')
  }
  /** How long ago the last objects were applied, when they were seen to be in force. */
  let lastMs = 0
  /** Applies objects and waits for what they change. */
  const inForce = async (objects: object[], isSo: () => Promise<boolean>, what: string) => {
    await apply(...objects)
    const start = performance.now()
    await until(isSo, what, limitMs)
    lastMs = performance.now() - start
  }
  const remove = (kind: string, ...names: string[]) => kubectl(['delete', kind, '-n', space, ...names])

  describe('TrafficTarget', () => {
    it('none: a status of 400 or more, and nothing arrives', async () => {
      await until(async () => (await answer('app-b')) === '403 denied', 'the refusal', 20_000)
      const mark = `none-${marks++}`
      expect(await answer('app-b', '/call', { headers: { 'x-mark': mark } })).to.equal('403 denied')
      expect(await seen(a, 'app-b', mark)).to.deep.equal({ count: 0, pods: 0 })
    })

    it('with an HTTPRouteGroup whose matches stand at the top, and a port in quotes: lets through what it names', async () => {
      const routes = group('routes', [{ name: 'call', pathRegex: '/call', methods: ['GET'] }])
      const rules = [{ kind: 'HTTPRouteGroup', name: 'routes', matches: ['call'] }]
      const objects = [routes, target('to-b', 'app-b', 'app-a', rules, { port: '8080' })]
      const load = await detachLoad(a, { url: urlOf('app-b'), callers: 2, pauseMs: 5 })
      await new Promise((resolve) => setTimeout(resolve, 500))
      await inForce(objects, async () => (await answer('app-b')) === '200', 'the permission')
      const appliedAt = Date.now() - lastMs
      await remove('traffictarget', 'to-b')
      const removedAt = Date.now()
      await until(async () => (await answer('app-b')) === '403 denied', 'the refusal', limitMs)
      const { services, failed } = await load.stop()
      const [first = 0, last = 0] = [services['echo']?.first, services['echo']?.last]
      figure('TrafficTarget in force, from kubectl to the first answer in a pod', `${Math.round(first - appliedAt)} ms`)
      figure('TrafficTarget out of force, from kubectl to the last answer in a pod', `${last - removedAt} ms`)
      expect(failed).to.be.above(0)
      expect(first).to.be.within(appliedAt - 1000, appliedAt + 1000)
      expect(last).to.be.below(removedAt + 1000)
      await inForce(objects, async () => (await answer('app-b')) === '200', 'the permission')
      const mark = `once-${marks++}`
      const headers = { 'x-mark': mark, 'x-own': 'as it was' }
      expect(await answer('app-b', '/call', { headers })).to.equal('200')
      expect((await seen(a, 'app-b', mark)).count, 'arrived').to.equal(1)
      const script = `
        const response = await fetch('${urlOf('app-b')}', { headers: { 'x-own': 'as it was' } })
        console.log((await response.json()).headers['x-own'])`
      expect(await evaluate(a, script)).to.equal('as it was')
    })

    it('denies other paths, other methods and other callers', async () => {
      expect(await answer('app-b', '/other')).to.equal('403 denied')
      expect(await answer('app-b', '/call', { method: 'POST' })).to.equal('403 denied')
      const [pod] = await pods(space, 'app=app-c')
      const c = { namespace: space, pod: pod.metadata.name, node: pod.spec.nodeName }
      const { failures } = await callFrom(c, urlOf('app-b'))
      expect(failures.map(({ what }) => what)).to.deep.equal(['403 denied'])
      expect(await answer('app-c'), 'a destination that nothing names').to.equal('403 denied')
    })

    it('with a TCPRoute alone: HTTP is denied with a status', async () => {
      const tcp = {
        apiVersion: 'specs.smi-spec.io/v1alpha4',
        kind: 'TCPRoute',
        metadata: meta('tcp'),
        spec: { matches: { ports: [7000] } },
      }
      await remove('traffictarget', 'to-b')
      const objects = [tcp, target('tcp-to-b', 'app-b', 'app-a', [{ kind: 'TCPRoute', name: 'tcp' }])]
      await inForce(objects, async () => (await answer('app-b')) === '403 denied', 'the refusal')
      await remove('traffictarget', 'tcp-to-b')
    })
  })

  describe('TrafficSplit', () => {
    before(async () => {
      const routes = group('routes', [{ name: 'all', pathRegex: '.*', methods: ['*'] }])
      const rules = [{ kind: 'HTTPRouteGroup', name: 'routes' }]
      await apply(routes, target('to-b', 'app-b', 'app-a', rules), target('to-c', 'app-c', 'app-a', rules))
      await until(async () => (await answer('app-svc')) === '200', 'the permissions', limitMs)
    })

    /** Which pods answer a number of requests on one kept connection. */
    const answered = async (most: number, url = urlOf('app-svc'), pauseMs = 0) => {
      const result = await callFrom(a, url, most, { pauseMs })
      expect(result.failed, failuresOf(result)).to.equal(0)
      const of = (app: string) =>
        Object.entries(result.pods).reduce((sum, [pod, { count }]) => sum + (pod.startsWith(`${app}-`) ? count : 0), 0)
      return { b: of('app-b'), c: of('app-c'), pods: Object.keys(result.pods).length }
    }

    it('none: requests of one kept connection reach all pods of the Service', async () => {
      expect((await answered(120, urlOf('app-svc'), 20)).pods).to.equal(3)
    })

    for (const version of ['v1alpha1', 'v1alpha2', 'v1alpha3', 'v1alpha4']) {
      it(`${version}: each request of one kept connection is divided on its own`, async () => {
        const apiVersion = `split.smi-spec.io/${version}`
        const weights = version === 'v1alpha1' ? { 'app-b': '0', 'app-c': '1' } : { 'app-b': 0, 'app-c': 1 }
        const only = split(apiVersion, weights as Record<string, number>)
        await inForce([only], async () => (await answered(20)).b === 0, 'all at app-c')
        const halves = version === 'v1alpha1' ? { 'app-b': '500m', 'app-c': '500m' } : { 'app-b': 50, 'app-c': 50 }
        const both = split(apiVersion, halves as Record<string, number>)
        await inForce([both], async () => (await answered(20)).b > 0, 'half at app-b')
        const { b, c } = await answered(1000)
        // Four standard deviations.
        expect(b / (b + c)).to.be.closeTo(0.5, 0.064)
        await remove('trafficsplit', 'app-svc')
      })
    }

    it('takes a Host with a trailing dot and a port', async () => {
      const host = `app-svc-mesh.${space}.svc.cluster.local.`
      expect((await answered(120, `http://${host}:${port}/call`, 20)).pods).to.equal(3)
    })
  })
})
