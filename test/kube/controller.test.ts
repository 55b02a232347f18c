// The controller as a process against every Kubernetes API at hand: what it writes, repairs and tells agents.

import { expect } from 'chai'
import type { Pod, Service } from '../../controller/observe/objects.ts'
import { restMs } from '../../controller/resolve/meshports.ts'
import { type AgentProof, openLink } from '../support/agentlink.ts'
import { type ControllerProcess, startController } from '../support/controllerprocess.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { services } from '../support/kubeobjects.ts'
import { until } from '../support/until.ts'

interface KubeEvent {
  reason: string
  message: string
  type: string
  count: number
  involvedObject: { kind: string; name: string; uid: string }
}

interface Split {
  status?: { conditions?: { type: string; status: string; reason: string }[] }
}

eachCluster('controller', (cluster) => {
  const running: ControllerProcess[] = []
  let mesh = ''
  let shop = ''
  let number = 0
  /** A port number that no other test's Services use: the mesh Service has those of the whole cluster. */
  let http = 0

  beforeEach(async () => {
    number++
    mesh = `weft-${number}`
    shop = `shop-${number}`
    http = 7000 + number
    await cluster.objects.namespace(mesh)
    await cluster.objects.namespace(shop, { 'weft.dev/mesh': 'enabled' })
  })

  afterEach(async () => {
    await Promise.all(running.splice(0).map((each) => each.stop('SIGKILL')))
    // A later test's controller sees this namespace too.
    await cluster.objects.patch(`/api/v1/namespaces/${shop}`, { metadata: { labels: { 'weft.dev/mesh': null } } })
    for (const namespace of [shop, mesh]) {
      for (const name of (await services(cluster.objects, namespace)).keys()) {
        await cluster.objects.remove(`/api/v1/namespaces/${namespace}/services/${name}`)
      }
    }
  })

  async function start(pod = 'controller-a', ...args: string[]): Promise<ControllerProcess> {
    const started = await startController(cluster.kubeconfig, pod, '--namespace', mesh, ...args)
    running.push(started)
    await until(async () => (await started.get('/readyz')).status === 200, `readiness of ${pod}`)
    return started
  }

  async function service(namespace: string, name: string): Promise<Service | null> {
    return cluster.objects.get<Service>(`/api/v1/namespaces/${namespace}/services/${name}`)
  }

  /** What an agent's pod proves itself with, to a controller that it trusts. */
  async function proof(agent: Pod): Promise<{ proof: AgentProof }> {
    const config = await cluster.objects.get<{ data: Record<string, string> }>(
      `/api/v1/namespaces/${mesh}/configmaps/weft-trust`,
    )
    const token = await cluster.objects.token(agent, 'weft-authority')
    return { proof: { ca: config!.data['bundle.pem']!, token } }
  }

  async function ports(namespace: string, name: string): Promise<number[]> {
    return ((await service(namespace, name))?.spec.ports ?? []).map(({ port }) => port)
  }

  /** Owners of the mesh ports that rest: late callers are still told that there is no such service. */
  async function resting(): Promise<string[]> {
    const recorded = (await service(mesh, 'weft'))?.metadata.annotations?.['weft.dev/resting-ports'] ?? '[]'
    return (JSON.parse(recorded) as [number, string, number][]).map(([, owner]) => owner)
  }

  async function events(namespace: string, name: string): Promise<KubeEvent[]> {
    const list = await cluster.objects.list<KubeEvent>(`/api/v1/namespaces/${namespace}/events`)
    return list.filter(({ involvedObject, type }) => involvedObject.name === name && type === 'Warning')
  }

  /** The shadow Service of a Service with a dedicated address. */
  async function shadow(name: string): Promise<Service | undefined> {
    return [...(await services(cluster.objects, mesh)).values()].find(
      ({ metadata }) => metadata.labels?.['weft.dev/service'] === name,
    )
  }

  it('keeps the mesh Service, aliases and shadow Services', async () => {
    await cluster.objects.service(shop, 'reviews', http)
    await cluster.objects.service(shop, 'db', 5432)
    await start()
    await until(async () => (await service(shop, 'reviews-mesh')) !== null && (await service(shop, 'db-mesh')) !== null)

    const meshService = (await service(mesh, 'weft'))!
    expect(meshService.spec).to.include({ type: 'ClusterIP', internalTrafficPolicy: 'Local' })
    expect(meshService.spec.selector).to.deep.equal({ 'app.kubernetes.io/name': 'weft-agent' })
    expect(meshService.spec.ports!.map(({ port }) => port)).to.include.members([15001, http])
    const shared = meshService.spec.ports!.find(({ port }) => port === http)!
    expect(shared.targetPort).to.be.within(16384, 32767)

    const owner = (await service(shop, 'reviews'))!
    const alias = (await service(shop, 'reviews-mesh'))!
    expect(alias.spec).to.include({ type: 'ExternalName', externalName: `weft.${mesh}.svc.cluster.local` })
    expect(alias.metadata.labels).to.include({ 'app.kubernetes.io/managed-by': 'weft', 'weft.dev/service': 'reviews' })
    expect(alias.metadata.ownerReferences![0]).to.include({ kind: 'Service', name: 'reviews', uid: owner.metadata.uid })

    const dedicated = (await shadow('db'))!
    expect(dedicated.metadata.name).to.match(/^db-[0-9a-f]{16}$/)
    expect(dedicated.metadata.labels).to.include({ 'weft.dev/namespace': shop })
    expect(dedicated.spec.ports!.map(({ port }) => port)).to.deep.equal([5432])
    const dbAlias = (await service(shop, 'db-mesh'))!
    expect(dbAlias.spec.externalName).to.equal(`${dedicated.metadata.name}.${mesh}.svc.cluster.local`)
  })

  it('follows Services that come, change and go', async () => {
    await start()
    await cluster.objects.service(shop, 'reviews', http)
    await until(async () => (await service(shop, 'reviews-mesh')) !== null)
    const path = `/api/v1/namespaces/${shop}/services/reviews`
    await cluster.objects.patch(path, {
      spec: {
        ports: [
          { name: 'a', port: http },
          { name: 'b', port: http + 1000 },
        ],
      },
    })
    await until(async () => (await ports(mesh, 'weft')).includes(http + 1000))
    await cluster.objects.remove(path)
    await until(async () => (await service(shop, 'reviews-mesh')) === null)
    await until(async () => (await resting()).includes(`shared:${http}`))
    expect(await ports(mesh, 'weft'), 'while they rest').to.include.members([http, http + 1000])
  })

  it('takes a port from the mesh Service when its rest is over', async () => {
    await cluster.objects.service(shop, 'reviews', http)
    const before = await start()
    await until(async () => (await service(shop, 'reviews-mesh')) !== null)
    await cluster.objects.remove(`/api/v1/namespaces/${shop}/services/reviews`)
    await until(async () => (await resting()).includes(`shared:${http}`))
    await before.stop()
    const { metadata } = (await service(mesh, 'weft'))!
    const record = JSON.parse(metadata.annotations!['weft.dev/resting-ports']!) as [number, string, number][]
    const aged = record.map(([port, owner, sinceMs]) => [port, owner, sinceMs - restMs])
    await cluster.objects.patch(`/api/v1/namespaces/${mesh}/services/weft`, {
      metadata: { annotations: { 'weft.dev/resting-ports': JSON.stringify(aged) } },
    })
    await start('controller-b')
    await until(async () => !(await ports(mesh, 'weft')).includes(http))
    expect(await resting()).not.to.include(`shared:${http}`)
  })

  it('removes all traces when the label goes, and keeps out what says so itself', async () => {
    await cluster.objects.service(shop, 'reviews', http)
    await cluster.objects.service(shop, 'db', 5432)
    await start()
    await until(async () => (await service(shop, 'db-mesh')) !== null && (await service(shop, 'reviews-mesh')) !== null)
    const db = `/api/v1/namespaces/${shop}/services/db`
    await cluster.objects.patch(db, { metadata: { labels: { 'weft.dev/mesh': 'disabled' } } })
    await until(async () => (await service(shop, 'db-mesh')) === null)
    expect(await service(shop, 'reviews-mesh')).not.to.equal(null)
    await cluster.objects.patch(`/api/v1/namespaces/${shop}`, { metadata: { labels: { 'weft.dev/mesh': null } } })
    await until(async () => (await service(shop, 'reviews-mesh')) === null)
    await until(async () => (await resting()).includes(`shared:${http}`))
    expect([...(await services(cluster.objects, shop)).keys()].sort()).to.deep.equal(['db', 'reviews'])
    expect([...(await services(cluster.objects, mesh)).keys()]).to.deep.equal(['weft'])
  })

  it('leaves a name that is taken alone, and says so on the Service', async () => {
    await cluster.objects.service(shop, 'reviews-mesh', { name: 'x', port: 80 })
    await cluster.objects.patch(`/api/v1/namespaces/${shop}/services/reviews-mesh`, {
      metadata: { labels: { 'weft.dev/mesh': 'disabled' } },
    })
    const before = await service(shop, 'reviews-mesh')
    await cluster.objects.service(shop, 'reviews', http)
    await start()
    await until(async () => (await events(shop, 'reviews')).length === 1)
    expect((await events(shop, 'reviews'))[0]).to.include({ reason: 'AliasNameTaken', count: 1 })
    expect(await service(shop, 'reviews-mesh')).to.deep.equal(before)
  })

  it('repairs what somebody changed or deleted', async () => {
    await cluster.objects.service(shop, 'reviews', http)
    await start()
    await until(async () => (await service(shop, 'reviews-mesh')) !== null)
    const uid = (await service(shop, 'reviews-mesh'))!.metadata.uid
    await cluster.objects.remove(`/api/v1/namespaces/${shop}/services/reviews-mesh`)
    await until(async () => ((await service(shop, 'reviews-mesh'))?.metadata.uid ?? uid) !== uid)
    await cluster.objects.patch(`/api/v1/namespaces/${mesh}/services/weft`, {
      spec: { internalTrafficPolicy: 'Cluster' },
    })
    await until(async () => (await service(mesh, 'weft'))!.spec.internalTrafficPolicy === 'Local')
  })

  it('says on a split what is wrong with it, once, and in its status until it is mended', async () => {
    await cluster.objects.service(shop, 'reviews', http)
    const first = await start()
    await cluster.objects.split(shop, 'canary', 'reviews', { 'reviews-v2': 1 })
    await until(async () => (await events(shop, 'canary')).some(({ reason }) => reason === 'BackendNotFound'))
    const path = `/apis/split.smi-spec.io/v1alpha4/namespaces/${shop}/trafficsplits/canary`
    const status = async () => {
      const { conditions = [] } = (await cluster.objects.get<Split>(path))!.status ?? {}
      return conditions.map((each) => `${each.type}=${each.status} ${each.reason}`)
    }
    await until(async () => (await status()).includes('ResolvedRefs=False BackendNotFound'))
    const found = await events(shop, 'canary')
    const meta = (await cluster.objects.get<{ metadata: { uid: string } }>(path))!.metadata
    expect(found[0]!.involvedObject).to.include({ kind: 'TrafficSplit', name: 'canary', uid: meta.uid })
    expect(found.every(({ count }) => count === 1)).to.equal(true)
    await cluster.objects.service(shop, 'reviews-v2', http)
    await until(async () => (await status()).every((each) => each.includes('=True ')))
    expect(await status()).to.deep.equal([
      'Accepted=True Accepted',
      'ResolvedRefs=True ResolvedRefs',
      'Enforced=True Enforced',
    ])
    await until(async () => {
      const all = await cluster.objects.list<KubeEvent>(`/api/v1/namespaces/${shop}/events`)
      return all.some(
        ({ reason, message }) => reason === 'ProblemOver' && message.startsWith('BackendNotFound is over'),
      )
    }, 'the Event that it is over')
    const topology = JSON.parse((await first.get('/debug/topology')).text)
    expect(
      topology.problems.filter((each: { object: { namespace: string } }) => each.object.namespace === shop),
    ).to.deep.equal([])
  })

  it('tells an agent about the mesh, and about the pods of its node alone', async () => {
    for (const name of ['node1', 'node2']) await cluster.objects.node(`${name}-${number}`)
    const agent = await cluster.objects.agent(mesh, 'agent-1', `node1-${number}`, '10.9.1.1')
    await cluster.objects.agent(mesh, 'agent-2', `node2-${number}`, '10.9.2.1')
    const one = await cluster.objects.pod(shop, 'reviews-1', `node1-${number}`, '10.9.1.2')
    const two = await cluster.objects.pod(shop, 'reviews-2', `node2-${number}`, '10.9.2.2')
    await cluster.objects.service(shop, 'reviews', http)
    await cluster.objects.slice(shop, 'reviews', http, [one, two])
    const controller = await start()
    const link = await openLink(controller.port, { node: `node1-${number}`, pod: 'agent-1' }, await proof(agent))
    await link.transaction(1)
    const key = `endpoints ${shop}/reviews:${http}`
    await until(() => [...link.resources.keys()].some((each) => each.startsWith('port ')))
    const endpoints = link.resources.get(key)
    if (endpoints?.kind !== 'endpoints') throw new Error('no endpoints')
    expect(endpoints.endpoints.map(({ address, pod }) => [address, pod])).to.have.deep.members([
      ['10.9.1.2', `${shop}/reviews-1`],
      ['10.9.2.2', `${shop}/reviews-2`],
    ])
    const workloads = [...link.resources.values()].filter((each) => each.kind === 'workload')
    expect(workloads.map(({ pod }) => pod))
      .to.include(`${shop}/reviews-1`)
      .and.not.include(`${shop}/reviews-2`)
    expect(link.resources.get(`peer node2-${number}`)).to.include({ address: '10.9.2.1' })

    const seen = link.versions.length
    await cluster.objects.split(shop, 'canary', 'reviews', { reviews: 1 })
    await link.transaction(seen + 1)
    await until(() => {
      const own = link.resources.get(`service ${shop}/reviews`)
      return own?.kind === 'service' && own.ports[0]!.splits.length === 1
    })
    for (const claim of [
      { node: `node2-${number}`, pod: 'agent-1' },
      { node: `node2-${number}`, pod: 'agent-2' },
    ]) {
      expect((await openLink(controller.port, claim, await proof(agent))).status).to.equal(403)
    }
    const metrics = (await controller.get('/metrics')).text
    expect(metrics).to.contain('weft_controller_refusals_total{reason="wrong_node"} 2\n')
    link.close()
  })

  it('reads the allocation of mesh ports back when it starts', async () => {
    await cluster.objects.service(shop, 'db', 5432)
    const before = await start()
    await until(async () => (await service(shop, 'db-mesh')) !== null)
    await before.stop()
    // Another port than it would choose by itself: only the record can say so.
    const { metadata, spec } = (await shadow('db'))!
    const chosen = spec.ports![0]!.targetPort as number
    const recorded = chosen === 20_000 ? 20_001 : 20_000
    const path = `/api/v1/namespaces/${mesh}/services/${metadata.name}`
    await cluster.objects.patch(path, { spec: { ports: [{ ...spec.ports![0]!, targetPort: recorded }] } })
    const after = await start('controller-b')
    await until(() => after.isLeader())
    await until(async () => (await after.get('/debug/snapshot')).text.includes(`"name": "${recorded}"`))
    await cluster.objects.service(shop, 'cache', 6379)
    await until(async () => (await service(shop, 'cache-mesh')) !== null)
    expect((await shadow('db'))!.spec.ports![0]!.targetPort).to.equal(recorded)
  })

  it('of two leads one; both tell agents the same; the other takes over when it ends or dies', async () => {
    await cluster.objects.service(shop, 'reviews', http)
    const lease = ['--lease-duration', '3s', '--lease-renew', '2s', '--lease-retry', '300ms']
    const a = await start('controller-a', ...lease)
    await until(() => a.isLeader())
    const b = await start('controller-b', ...lease)
    await until(async () => (await service(shop, 'reviews-mesh')) !== null)
    expect(await b.isLeader()).to.equal(false)
    const version = async (each: ControllerProcess) => JSON.parse((await each.get('/debug/snapshot')).text).version
    await until(async () => (await version(a)) === (await version(b)))

    expect(await a.stop('SIGTERM')).to.equal(0)
    const stoppedAt = performance.now()
    await until(() => b.isLeader())
    expect(performance.now() - stoppedAt, 'a lease given back is taken at once').to.be.lessThan(2000)
    await cluster.objects.service(shop, 'ratings', http)
    await until(async () => (await service(shop, 'ratings-mesh')) !== null)

    const c = await start('controller-c', ...lease)
    await b.stop('SIGKILL')
    await until(() => c.isLeader())
    await cluster.objects.service(shop, 'details', http)
    await until(async () => (await service(shop, 'details-mesh')) !== null)
  }).timeout(60_000)

  it('ends its agents’ streams in order when it is told to stop', async () => {
    await cluster.objects.node(`node1-${number}`)
    const agent = await cluster.objects.agent(mesh, 'agent-1', `node1-${number}`, '10.9.3.1')
    const controller = await start()
    const link = await openLink(controller.port, { node: `node1-${number}`, pod: 'agent-1' }, await proof(agent))
    await link.transaction(1)
    expect(await controller.stop('SIGTERM')).to.equal(0)
    await until(() => link.isEnded)
    expect(['commit', 'ping']).to.include(link.messages.at(-1)!.type)
  })
})
