// What pods answered, under the names of other meshes: the same whether the pod is on the caller's node or on another, and
// nothing of what the mesh itself refused.

import { expect } from 'chai'
import type { Sample } from '../../agent/observe/metrics.ts'
import type { Resource } from '../../controller/contract/resources.ts'
import { call } from '../support/call.ts'
import { type Pair, type Place, startPair } from '../support/pair.ts'
import { answerEach, type Shop, startShop } from '../support/policy.ts'
import { ok } from '../support/rawmesh.ts'
import { workload as podOf } from '../support/resources.ts'
import { until } from '../support/until.ts'

const flags = ['--metrics-as', 'istio,linkerd,osm']
const workload = { reporter: 'destination', destination_workload_namespace: 'shop', destination_workload: 'web' }

/** Values by status. */
function byStatus(samples: Sample[]): Record<string, number> {
  return Object.fromEntries(samples.map(({ labels = {}, value }) => [labels['response_code'] ?? '', value]))
}

describe('mesh: metrics under other names', () => {
  let pair: Pair
  let status = 200

  before(async () => {
    pair = await startPair({
      flags,
      handler: (_request, response) => response.writeHead(status).end('hello'),
    })
    // As the controller tells it of each pod, to the agent of its node.
    const web = { account: 'shop/web', pod: 'shop/web-1', workload: 'web' }
    await pair.near.apply(podOf(pair.pods.near.address, web))
    await pair.far.apply(podOf(pair.pods.far.address, web))
  })
  after(() => pair.stop())
  beforeEach(() => {
    status = 200
  })

  const ask = (from = pair.caller) =>
    call({ host: pair.near.address, port: pair.near.port, path: '/', headers: { host: 'web-mesh.shop' }, from })
  /** The agent that counts what a pod of this place answered. */
  const counting = (place: Place) => (place === 'near' ? pair.near : pair.far)

  for (const place of ['near', 'far'] as const) {
    it(`count each request once, by the workload and its status, for a pod that is ${place}`, async () => {
      await pair.place(place)
      const agent = counting(place)
      const before = byStatus(agent.metric('istio_requests_total'))
      for (const answer of [200, 200, 503, 404]) {
        status = answer
        expect((await ask()).status).to.equal(answer)
      }
      const counted = () => byStatus(agent.metric('istio_requests_total'))
      const wanted = { 200: (before[200] ?? 0) + 2, 404: (before[404] ?? 0) + 1, 503: (before[503] ?? 0) + 1 }
      await until(() => counted()[404] === wanted[404], 'the last request in the counters')
      expect(counted()).to.deep.equal(wanted)
      for (const { labels } of agent.metric('istio_requests_total')) expect(labels).to.include(workload)
      const total = wanted[200] + wanted[404] + wanted[503]
      const buckets = agent.metric('istio_request_duration_milliseconds')
      const named = (name: string) => buckets.filter(({ metricName }) => metricName === name)
      const count = named('istio_request_duration_milliseconds_count')
      expect(count).to.deep.equal([
        { value: total, labels: workload, metricName: 'istio_request_duration_milliseconds_count' },
      ])
      const last = named('istio_request_duration_milliseconds_bucket').at(-1)
      expect(last?.value).to.equal(total)
      expect(last?.labels).to.deep.equal({ ...workload, le: '+Inf' })
    })

    it(`leave out what the mesh refused, for a pod that is ${place}`, async () => {
      await pair.place(place)
      const agent = counting(place)
      await ask()
      await until(() => (byStatus(agent.metric('istio_requests_total'))[200] ?? 0) > 0, 'a request in the counters')
      const before = byStatus(agent.metric('istio_requests_total'))
      const rule: Resource = { kind: 'access', name: 'shop/web', rules: [] }
      await pair.apply(rule)
      expect((await ask()).status).to.equal(403)
      await pair.apply({ kind: 'access', name: 'shop/web', gone: true })
      expect((await ask()).status).to.equal(200)
      const isThere = () => byStatus(agent.metric('istio_requests_total'))[200] === before[200]! + 1
      await until(isThere, 'the request that was let through')
      expect(byStatus(agent.metric('istio_requests_total'))).to.deep.equal({ ...before, 200: before[200]! + 1 })
    })
  }

  it('say the same in all three languages', () => {
    const { near } = pair
    const requests = near.metric('istio_requests_total')
    const osm = near.metric('osm_request_total')
    const linkerd = near.metric('response_total')
    expect(osm.map(({ value }) => value)).to.deep.equal(requests.map(({ value }) => value))
    expect(osm[0]?.labels).to.include({
      ...{ destination_namespace: 'shop', destination_kind: 'Deployment', destination_name: 'web' },
    })
    const failures = linkerd.filter(({ labels }) => labels?.['classification'] === 'failure')
    expect(failures.map(({ labels }) => labels)).to.deep.equal([
      { direction: 'inbound', namespace: 'shop', deployment: 'web', status_code: '503', classification: 'failure' },
    ])
    const sum = (samples: Sample[]) => samples.reduce((total, { value }) => total + value, 0)
    expect(sum(linkerd)).to.equal(sum(requests))
    expect(near.metric('response_latency_ms')).to.have.length(near.metric('osm_request_duration_ms').length)
  })
})

describe('mesh: metrics under other names, of pods that fail', () => {
  let shop: Shop
  afterEach(() => shop.stop())

  it('count every attempt, and a lost answer as the pod’s failure', async () => {
    const policy = { retry: { attempts: 1, on: ['5xx'] } }
    shop = await startShop({ policy, endpoints: 1, flags })
    const [server] = shop.servers
    answerEach(server!, (_request, number) =>
      number === 0 ? 'HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n' : ok('fine'),
    )
    expect((await shop.ask()).status).to.equal(200)
    expect(byStatus(shop.agent.metric('istio_requests_total'))).to.deep.equal({ 200: 1, 500: 1 })
    expect(shop.agent.metric('osm_request_total')).to.have.length(2)
  })

  it('count a connection that is refused, once', async () => {
    shop = await startShop({ policy: { retry: { attempts: 0 } }, endpoints: 1, flags })
    await shop.servers[0]!.stop()
    expect((await shop.ask()).status).to.equal(502)
    expect(byStatus(shop.agent.metric('istio_requests_total'))).to.deep.equal({ 502: 1 })
  })

  it('count nothing where they are not wanted', async () => {
    shop = await startShop({ endpoints: 1 })
    answerEach(shop.servers[0]!, () => ok('fine'))
    expect((await shop.ask()).status).to.equal(200)
    expect(() => shop.agent.metric('istio_requests_total')).to.throw('no metric')
    const kinds = shop.agent.messages.flatMap((message) => (message.type === 'series' ? message.added : []))
    expect(kinds.map(({ kind }) => kind)).to.not.include('answered')
  })
})
