// A burst of events, through all stages: from the API server's watch to agents.

import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { pino } from 'pino'
import { systemClock } from '../../controller/clock.ts'
import { type Observer, startObserver } from '../../controller/observe/observer.ts'
import { type Pipeline, startPipeline } from '../../controller/pipeline.ts'
import { resolve } from '../../controller/resolve/resolve.ts'
import { defaultSettings } from '../../controller/resolve/settings.ts'
import { type Server, startServer } from '../../controller/serve.ts'
import { translate } from '../../controller/translate/translate.ts'
import { openTransmitter, type Transmitter } from '../../controller/transmit/transmitter.ts'
import { type AgentLink, openLink } from '../support/agentlink.ts'
import { event, type FakeServer, json, startFakeServer } from '../support/fakeserver.ts'
import { until } from '../support/until.ts'

const log = pino({ level: 'silent' })
const events = 10_000
const count = 20

function slice(service: number, version: number, addresses: string[]) {
  return {
    metadata: {
      name: `s${service}-1`,
      namespace: 'shop',
      uid: `slice-${service}`,
      resourceVersion: String(version),
      labels: { 'kubernetes.io/service-name': `s${service}` },
    },
    addressType: 'IPv4',
    endpoints: addresses.map((address) => ({
      addresses: [address],
      nodeName: 'node1',
      targetRef: { kind: 'Pod', namespace: 'shop', name: `pod-${address}` },
    })),
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  }
}

function pod(address: string) {
  return {
    metadata: { name: `pod-${address}`, namespace: 'shop', uid: `pod-${address}`, resourceVersion: '1' },
    spec: { nodeName: 'node1', serviceAccountName: 'default' },
    status: { phase: 'Running', podIP: address },
  }
}

const meta = (name: string) => ({ name, namespace: 'shop', uid: name, resourceVersion: '1' })
const addresses = Array.from({ length: 30 }, (_each, index) => `10.0.0.${index + 1}`)
const lists: Record<string, unknown[]> = {
  namespaces: [{ metadata: { ...meta('shop'), namespace: undefined, labels: { 'weft.dev/mesh': 'enabled' } } }],
  services: Array.from({ length: count }, (_each, index) => ({
    metadata: meta(`s${index}`),
    spec: { clusterIP: `10.96.0.${index + 1}`, ports: [{ name: '', port: 80, targetPort: 8080, protocol: 'TCP' }] },
  })),
  pods: addresses.map(pod),
  endpointslices: Array.from({ length: count }, (_each, index) => slice(index, 1, ['10.0.0.1'])),
}

describe('a burst', () => {
  let api: FakeServer
  let watch: ServerResponse | undefined
  let observer: Observer
  let pipeline: Pipeline
  let transmitter: Transmitter
  let server: Server
  let link: AgentLink

  before(async () => {
    api = await startFakeServer(({ url }, response) => {
      if (url.pathname === '/apis') return json(response, 200, { groups: [] })
      const plural = url.pathname.split('/').at(-1)!
      if (url.searchParams.get('watch') !== 'true') {
        return json(response, 200, { metadata: { resourceVersion: '1' }, items: lists[plural] ?? [] })
      }
      response.writeHead(200).flushHeaders()
      if (plural === 'endpointslices') watch = response
    })
    observer = startObserver({ api: api.api, clock: systemClock, log, changed: () => pipeline.poke() })
    transmitter = openTransmitter({
      ...{ clock: systemClock, log, controller: 'c' },
      authenticate: async (_request, { node, pod: name }) => ({ agent: { node, pod: name, podUid: name } }),
    })
    pipeline = startPipeline({
      ...{ clock: systemClock, log, settings: defaultSettings, resolve, translate },
      missing: observer.missing,
      world: observer.world,
      publish: ({ translation }) => transmitter.publish(translation.common, translation.nodes),
      update: () => {},
    })
    server = await startServer('127.0.0.1', 0, [transmitter.handle])
    await until(() => pipeline.passes > 0 && watch !== undefined, 'the first pass')
    link = await openLink(server.port, { node: 'node1', pod: 'agent-1' })
    await link.transaction(1)
  })

  after(async () => {
    link.close()
    await pipeline.stop()
    await observer.stop()
    await transmitter.close()
    await server.close(100)
    await api.close()
  })

  it('of 10,000 endpoint events becomes a few passes and transactions, and nothing of it is lost', async () => {
    const before = pipeline.passes
    const startedAt = performance.now()
    const last = new Map<number, string[]>()
    for (let index = 0; index < events; index++) {
      const service = index % count
      const ready = addresses.slice(0, 1 + ((index * 7) % addresses.length))
      last.set(service, ready)
      watch!.write(event('MODIFIED', slice(service, index + 2, ready)))
    }
    const arrived = () =>
      [...last].every(([service, ready]) => {
        const held = link.resources.get(`endpoints shop/s${service}:80`)
        return held?.kind === 'endpoints' && held.endpoints.length === ready.length
      })
    await until(arrived, 'the last state', 15_000)
    // While events keep coming there is a pass each 100 ms at most; 10,000 of them are no 10,000 passes.
    const passes = pipeline.passes - before
    expect(passes).to.be.at.most(Math.ceil((performance.now() - startedAt) / 100) + 2)
    expect(link.versions.length - 1).to.be.at.most(passes)
    expect(pipeline.failures).to.equal(0)
  }).timeout(30_000)

  it('that comes back to where it was tells agents nothing', async () => {
    const now = () => link.versions.length
    await until(() => transmitter.agents()[0]!.sent === link.versions.at(-1))
    const [before, passes] = [now(), pipeline.passes]
    const held = link.resources.get('endpoints shop/s0:80')
    if (held?.kind !== 'endpoints') throw new Error('no endpoints')
    const ready = held.endpoints.map(({ address }) => address)
    watch!.write(event('MODIFIED', slice(0, 20_000, ['10.0.0.9'])) + event('MODIFIED', slice(0, 20_001, ready)))
    await until(() => pipeline.passes > passes, 'the pass')
    expect(now()).to.equal(before)
  })
})
