// What networks and API servers do to those who follow them, against every Kubernetes API at hand: the observer behind a
// proxy that breaks, and a leader that hangs.

import { expect } from 'chai'
import { pino } from 'pino'
import { type Clock, systemClock } from '../../controller/clock.ts'
import type { Service } from '../../controller/observe/objects.ts'
import { type Observer, startObserver } from '../../controller/observe/observer.ts'
import { type ControllerProcess, startController } from '../support/controllerprocess.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { services } from '../support/kubeobjects.ts'
import { type ProxiedApi, proxyApi } from '../support/proxiedapi.ts'
import { until } from '../support/until.ts'

/** Nobody wants to wait for 90 s of silence. */
const hurry = 60
const clock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / hurry, signal) }

eachCluster('observer behind a network that breaks', (cluster) => {
  let observer: Observer
  let proxied: ProxiedApi
  let shop = ''
  let number = 0
  let changes = 0

  const path = (name: string) => `/api/v1/namespaces/${shop}/services/${name}`
  const held = () =>
    [...observer.world().services.keys()].filter((key) => key.startsWith(`${shop}/`)).map((key) => key.split('/')[1])
  const troubles = () => observer.reflectors().filter(({ reflector }) => reflector.trouble !== '')
  const follower = () => observer.reflectors().find(({ part }) => part === 'services')!.reflector

  beforeEach(async () => {
    shop = await cluster.test.namespace()
    changes = 0
    number = 0
    await change()
    proxied = await proxyApi(cluster.kubeconfig)
    observer = startObserver({ api: proxied.api, clock, log: pino({ level: 'silent' }), changed: () => {} })
  })

  afterEach(async () => {
    await observer.stop()
    await proxied.close()
  })

  /** One Service comes, the one before goes. */
  async function change(): Promise<void> {
    changes++
    await cluster.objects.service(shop, `service-${changes}`, { name: 'x', port: 80 })
    if (changes > 1) await cluster.objects.remove(path(`service-${changes - 1}`))
  }

  const inStep = (what: string) => until(() => held().join() === `service-${changes}`, what)
  const whole = () => until(() => observer.missing().length === 0, 'the World')

  it('follows again when the API server was away, and keeps what it knew meanwhile', async () => {
    await whole()
    for (let round = 0; round < 2; round++) {
      const before = held()
      proxied.set({ kind: 'refuse' })
      await until(() => troubles().length === observer.reflectors().length, 'trouble of all kinds')
      await change()
      expect(held()).to.deep.equal(before)
      expect(observer.missing(), 'what was whole stays so').to.deep.equal([])
      proxied.set({ kind: 'pass' })
      await inStep('the change')
      await until(() => troubles().length === 0)
    }
    expect(follower().lists, 'it went on from where it was').to.equal(1)
  })

  it('becomes whole while connections break in the middle of answers', async () => {
    // Enough for the handshake and small answers.
    for (const afterBytes of [5000, 9000, 20_000]) {
      proxied.set({ kind: 'cut', afterBytes })
      await new Promise((resolve) => setTimeout(resolve, 100))
      await change()
    }
    proxied.set({ kind: 'pass' })
    await whole()
    await inStep('all changes')
  })

  it('waits for an answer that stalls, and takes it when it comes', async () => {
    await whole()
    proxied.set({ kind: 'stall' })
    await change()
    const before = held()
    await cluster.objects.get(path(`service-${changes}`))
    expect(held()).to.deep.equal(before)
    proxied.set({ kind: 'pass' })
    await inStep('the change')
  })

  it('notices a connection that is open at this end alone', async () => {
    await whole()
    proxied.set({ kind: 'half-open' })
    await change()
    proxied.set({ kind: 'pass' })
    const { failures } = follower()
    await inStep('the change')
    expect(follower().failures).to.be.greaterThan(failures)
    expect(follower().lists).to.equal(1)
  })

  it('follows a slow network', async () => {
    proxied.set({ kind: 'delay', ms: 30 })
    await whole()
    for (; number < 3; number++) {
      await change()
      await inStep('each change')
    }
    expect(follower()).to.include({ failures: 0, lists: 1 })
  })
})

eachCluster('a leader that hangs', (cluster) => {
  const [mesh, shop] = ['weft-hang', 'shop-hang']
  const running: ControllerProcess[] = []
  let proxied: ProxiedApi

  afterEach(async () => {
    await Promise.all(running.splice(0).map((each) => each.stop('SIGKILL')))
    await proxied.close()
    // A later suite's controllers see these, too.
    await cluster.objects.patch(`/api/v1/namespaces/${shop}`, { metadata: { labels: { 'weft.dev/mesh': null } } })
    for (const namespace of [shop, mesh]) {
      for (const name of (await services(cluster.objects, namespace)).keys()) {
        await cluster.objects.remove(`/api/v1/namespaces/${namespace}/services/${name}`)
      }
    }
  })

  it('loses the Lease; what it writes on waking is outdated and fails; no mesh port is given twice', async () => {
    await cluster.objects.namespace(mesh)
    await cluster.objects.namespace(shop, { 'weft.dev/mesh': 'enabled' })
    await cluster.objects.service(shop, 'db', 5432)
    proxied = await proxyApi(cluster.kubeconfig)
    // Hardly more mesh ports than are needed: whoever is wrong about one takes another's.
    const flags = ['--namespace', mesh, '--mesh-ports', '20000-20007', '--log-level', 'debug']
    const lease = ['--lease-duration', '3s', '--lease-renew', '2s', '--lease-retry', '300ms']
    const start = async (kubeconfig: string, pod: string) => {
      const started = await startController(kubeconfig, pod, ...flags, ...lease)
      running.push(started)
      await until(async () => (await started.get('/readyz')).status === 200, `readiness of ${pod}`)
      return started
    }
    const all = async () => [...(await services(cluster.objects, mesh)).values()]
    const exists = async (name: string) => (await services(cluster.objects, shop)).has(name)
    const meshService = async () => (await cluster.objects.get<Service>(`/api/v1/namespaces/${mesh}/services/weft`))!
    const meshPorts = async () =>
      (await all()).flatMap(({ metadata, spec }) =>
        (spec.ports ?? []).map((port) => [Number(port.targetPort), `${metadata.name}:${port.port}`] as const),
      )

    const a = await start(proxied.kubeconfig, 'controller-a')
    await until(() => a.isLeader())
    await until(() => exists('db-mesh'))
    const b = await start(cluster.kubeconfig, 'controller-b')

    // A sees that something is to be repaired, and says so into a connection that takes it nowhere; then it hangs.
    proxied.set({ kind: 'hold' })
    await cluster.objects.patch(`/api/v1/namespaces/${mesh}/services/weft`, {
      spec: { internalTrafficPolicy: 'Cluster' },
    })
    const passes = async () => Number(/passes_total\{result="done"\} (\d+)/.exec((await a.get('/metrics')).text)?.[1])
    const before = await passes()
    await until(async () => (await passes()) > before, 'the pass of A')
    process.kill(a.pid, 'SIGSTOP')

    await until(() => b.isLeader(), 'leadership of B')
    await until(async () => (await meshService()).spec.internalTrafficPolicy === 'Local', 'the repair by B')
    await cluster.objects.remove(`/api/v1/namespaces/${shop}/services/db`)
    await cluster.objects.service(shop, 'cache', 6379)
    await cluster.objects.service(shop, 'queue', 9092)
    await cluster.objects.service(shop, 'web', 7990)
    await until(async () => (await exists('cache-mesh')) && (await exists('queue-mesh')) && (await exists('web-mesh')))
    const settled = await meshPorts()
    const { resourceVersion } = (await meshService()).metadata

    proxied.set({ kind: 'pass' })
    process.kill(a.pid, 'SIGCONT')
    await until(() => a.lines.some(({ msg }) => msg === 'no longer leading'), 'A to notice')
    await until(
      () => a.lines.some(({ msg, object }) => msg === 'object changed meanwhile' && object === `${mesh}/weft`),
      'the refusal of what A wrote',
    )
    expect((await meshService()).metadata.resourceVersion, 'nothing of A has arrived').to.equal(resourceVersion)
    expect(await meshPorts()).to.have.deep.members(settled)
    const ports = settled.map(([port]) => port).filter((port) => port >= 20_000)
    expect(new Set(ports).size, JSON.stringify(settled)).to.equal(ports.length)
    expect(await a.isLeader()).to.equal(false)
    await until(() => b.isLeader(), 'B to lead as before')

    // Both know the same again, and A is of use when B ends.
    const version = async (each: ControllerProcess) => JSON.parse((await each.get('/debug/snapshot')).text).version
    await until(async () => (await version(a)) === (await version(b)), 'one state')
    await b.stop('SIGTERM')
    await until(() => a.isLeader(), 'leadership of A')
    await cluster.objects.service(shop, 'late', 7991)
    await until(() => exists('late-mesh'))
  }).timeout(60_000)
})
