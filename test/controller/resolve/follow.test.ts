// Following the world from state to state gives what reading it anew gives, whatever happens in whatever order.

import { expect } from 'chai'
import type { EndpointSlice, KubeObject, Pod } from '../../../controller/observe/objects.ts'
import { Shelf } from '../../../controller/observe/view.ts'
import { emptyWorld, type World } from '../../../controller/observe/world.ts'
import { resolve } from '../../../controller/resolve/resolve.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import type { Topology } from '../../../controller/resolve/topology.ts'
import { type Translated, translate } from '../../../controller/translate/translate.ts'
import { Dice } from '../../../scripts/fuzz/dice.ts'
import { nowMs } from '../../support/world.ts'

const settings = { ...defaultSettings, foreignCidrs: ['10.9.0.0/16'], meshPorts: { first: 16384, last: 16389 } }

type Parts = { [part in keyof World]: Shelf<KubeObject> }

/** A small cluster in which everything meets everything. */
class Cluster {
  readonly dice: Dice
  readonly parts = Object.fromEntries(
    Object.keys(emptyWorld).map((part) => [part, new Shelf<KubeObject>()]),
  ) as unknown as Parts
  private count = 0

  constructor(dice: Dice) {
    this.dice = dice
  }

  world(): World {
    return Object.fromEntries(
      Object.entries(this.parts).map(([part, shelf]) => [part, shelf.view()]),
    ) as unknown as World
  }

  /** Makes one thing happen. @returns its name */
  step(): string {
    const part = this.dice.pick<keyof World>([
      ...['pods', 'pods', 'pods', 'pods', 'slices', 'slices', 'slices', 'services', 'services'],
      ...['namespaces', 'nodes', 'accounts', 'splits', 'targets', 'routeGroups', 'tcpRoutes', 'policies'],
    ] as (keyof World)[])
    const object = this.make(part)
    const { namespace, name } = object.metadata
    const key = namespace === undefined ? name : `${namespace}/${name}`
    const shelf = this.parts[part]
    const isGone = this.dice.chance(0.25)
    if (isGone) shelf.delete(key)
    else shelf.set(key, object)
    return `${isGone ? 'without' : 'with'} ${JSON.stringify(object)}`
  }

  private name(prefix: string, many: number): string {
    return `${prefix}${this.dice.below(many)}`
  }

  private make(part: keyof World): KubeObject {
    const { dice } = this
    const own = (kind: string, name: string, fields: object, meta: object = {}, namespace = this.name('ns', 2)) => ({
      apiVersion: 'v1',
      kind,
      metadata: {
        name,
        namespace,
        uid: `${kind}-${namespace}-${name}-${dice.below(2)}`,
        resourceVersion: `${++this.count}`,
        ...meta,
      },
      ...fields,
    })
    const global = (kind: string, name: string, fields: object, meta: object = {}) => {
      const { namespace: _, ...metadata } = own(kind, name, {}, meta).metadata
      return { apiVersion: 'v1', kind, metadata, ...fields }
    }
    const service = () => this.name('s', 4)
    const address = () => dice.pick(['10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4', '10.9.0.1', '10.7.0.1', 'fd00::1'])
    switch (part) {
      case 'namespaces': {
        const labels = { 'weft.dev/mesh': dice.pick(['enabled', 'disabled', 'enabled']), 'weft.dev/lock': 'disabled' }
        const phase = dice.pick(['Active', 'Active', 'Terminating'])
        return global('Namespace', this.name('ns', 2), { status: { phase } }, { labels })
      }
      case 'nodes':
        return global('Node', this.name('n', 3), {
          status: { addresses: [{ type: 'InternalIP', address: address() }] },
        })
      case 'pods':
        return dice.chance(0.2) ? this.agent() : (own('Pod', this.name('p', 5), this.podFields(address)) as Pod)
      case 'slices': {
        const name = service()
        const endpoints = Array.from({ length: dice.below(4) }, () => ({
          addresses: [address()],
          conditions: dice.pick([{}, { ready: true }, { ready: false, serving: true, terminating: true }]),
          targetRef: { kind: 'Pod', name: this.name('p', 5) },
        }))
        const ports = [{ name: dice.pick(['main', 'old']), port: 8080, protocol: 'TCP' }]
        const labels = { 'kubernetes.io/service-name': name }
        return own(
          'EndpointSlice',
          `${name}-${dice.below(2)}`,
          { addressType: 'IPv4', endpoints, ports },
          { labels },
        ) as EndpointSlice
      }
      case 'services': {
        const port = { name: dice.pick(['main', 'http-new']), port: dice.pick([80, 81]), protocol: 'TCP' }
        const appProtocol = dice.pick([{}, {}, { appProtocol: 'tcp' }])
        const clusterIP = dice.pick(['10.7.0.1', '10.7.0.2'])
        const annotations = dice.pick([{}, { 'weft.dev/mirror': service() }, { 'weft.dev/retries': 'many' }])
        const labels = dice.pick([{}, {}, { 'weft.dev/mesh': dice.pick(['enabled', 'disabled', 'perhaps']) }])
        const name = dice.pick([service(), service(), `${service()}-mesh`])
        return own(
          'Service',
          name,
          { spec: { clusterIP, ports: [{ ...port, ...appProtocol }] } },
          { labels, annotations },
        )
      }
      case 'accounts':
        return own('ServiceAccount', this.name('a', 2), {})
      case 'splits': {
        const backends = [service(), service()].map((name) => ({ service: name, weight: dice.below(100) }))
        const matches = dice.pick([{}, { matches: [{ kind: 'HTTPRouteGroup', name: this.name('g', 2) }] }])
        return own('TrafficSplit', this.name('t', 3), { spec: { service: service(), backends, ...matches } })
      }
      case 'targets': {
        const account = () => ({ kind: 'ServiceAccount', name: this.name('a', 2), namespace: this.name('ns', 2) })
        const rules = [
          dice.pick([
            { kind: 'HTTPRouteGroup', name: 'g0' },
            { kind: 'TCPRoute', name: 'r0' },
          ]),
        ]
        return own('TrafficTarget', this.name('x', 2), {
          spec: { destination: account(), sources: [account()], rules },
        })
      }
      case 'routeGroups':
        return own('HTTPRouteGroup', this.name('g', 2), { spec: { matches: [{ name: 'm', pathRegex: '/a' }] } })
      case 'tcpRoutes':
        return own('TCPRoute', 'r0', { spec: { matches: { ports: [8080] } } })
      default:
        return own('NetworkPolicy', `weft-lock-${service()}`, {})
    }
  }

  private podFields(address: () => string): object {
    const { dice } = this
    const podIP = dice.pick([
      { podIP: address() },
      {},
      { podIP: address(), podIPs: [{ ip: address() }, { ip: address() }] },
    ])
    const phase = dice.pick(['Running', 'Running', 'Succeeded'])
    const startTime = `2026-11-01T00:00:0${dice.below(3)}Z`
    return {
      spec: { nodeName: this.name('n', 3), serviceAccountName: this.name('a', 2), hostNetwork: dice.chance(0.1) },
      status: { phase, hostIP: '10.8.0.1', startTime, ...podIP },
    }
  }

  private agent(): Pod {
    const { dice } = this
    const labels = dice.chance(0.8) ? { 'app.kubernetes.io/name': 'weft-agent' } : {}
    const name = this.name('agent', 3)
    const conditions = [{ type: 'Ready', status: dice.pick(['True', 'False']) }]
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'weft-system',
        uid: `${name}-${dice.below(2)}`,
        resourceVersion: `${++this.count}`,
        labels,
      },
      spec: { nodeName: this.name('n', 3) },
      status: { phase: 'Running', podIP: `10.2.0.${dice.below(3)}`, conditions },
    }
  }
}

describe('following the world', () => {
  for (const seed of [1, 2, 3, 4]) {
    it(`gives what reading it anew gives (seed ${seed})`, () => {
      const cluster = new Cluster(new Dice(seed))
      let last: Translated | null = null
      let at = nowMs
      for (let step = 0; step < 60; step++) {
        const events = Array.from({ length: 1 + cluster.dice.below(3) }, () => cluster.step())
        const world = cluster.world()
        // Now and then long enough for ports that rest and Services that left to be forgotten.
        at += cluster.dice.chance(0.05) ? 11 * 60_000 : 1000
        const before: Topology | null = last?.topology ?? null
        const anew = resolve(world, settings, before === null ? null : structuredClone(before), at)
        const topology = resolve(world, settings, before, at)
        const translation = translate(topology, settings, last)
        const what = `step ${step}: ${events.join(', ')}`
        expect(JSON.stringify(topology), what).to.equal(JSON.stringify(anew))
        const [made, fresh] = [translation, translate(structuredClone(anew), settings)]
        expect(JSON.stringify({ ...made, nodes: [...made.nodes] }), what).to.equal(
          JSON.stringify({ ...fresh, nodes: [...fresh.nodes] }),
        )
        last = { topology, translation }
      }
    })
  }

  it('leaves what did not change the same object', () => {
    const cluster = new Cluster(new Dice(7))
    for (let step = 0; step < 200; step++) cluster.step()
    const first = resolve(cluster.world(), settings, null, nowMs)
    const second = resolve(cluster.world(), settings, first, nowMs)
    expect(second.services).to.equal(first.services)
    expect(second.nodes).to.equal(first.nodes)
    const third = resolve(cluster.world(), settings, structuredClone(second), nowMs)
    expect(third.services).to.deep.equal(second.services)
  })
})
