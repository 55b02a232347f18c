// Agents over replicas: who lets how many go, and that it comes to rest.

import { expect } from 'chai'
import { pino } from 'pino'
import { emptyWorld, type World } from '../../../controller/observe/world.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import { countReplicas, excess, startSpread } from '../../../controller/transmit/spread.ts'
import { FakeClock } from '../../support/clock.ts'
import { until } from '../../support/until.ts'
import { worldOf } from '../../support/world.ts'

function slice(names: string[], more: object = {}) {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `slice-${names.join('-')}`,
      namespace: 'weft-system',
      labels: { 'kubernetes.io/service-name': 'weft-controller' },
    },
    addressType: 'IPv4',
    endpoints: names.map((name, index) => ({ addresses: [`10.0.0.${index}`], targetRef: { name }, ...more })),
  }
}

function agents(count: number) {
  return Array.from({ length: count }, (_each, index) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `agent-${index}`, namespace: 'weft-system', labels: { 'app.kubernetes.io/name': 'weft-agent' } },
    spec: { nodeName: `node${index}` },
    status: { phase: 'Running' },
  }))
}

const world = (...objects: object[]) => worldOf(objects.map((each) => JSON.stringify(each)).join('\n---\n'))

describe('spread', () => {
  it('lets nobody go where there is no other replica, or chance alone made the difference', () => {
    expect(excess(1000, 1000, 1)).to.equal(0)
    expect(excess(1000, 1000, 0)).to.equal(0)
    expect(excess(2, 3, 2)).to.equal(0)
    expect(excess(54, 100, 2)).to.equal(0)
    expect(excess(40, 100, 2)).to.equal(0)
  })

  it('lets half of what is too much go', () => {
    expect(excess(100, 100, 2)).to.equal(25)
    expect(excess(3, 3, 3)).to.equal(1)
  })

  it('comes to rest, whatever the number of replicas, with agents that come back anywhere', () => {
    let seed = 1
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) % 2147483648
      return Math.floor((seed / 2147483648) * below)
    }
    for (const replicas of [2, 3, 5]) {
      const sessions = [1000, ...Array.from({ length: replicas - 1 }, () => 0)]
      let moved = 0
      for (let round = 0; round < 60; round++) {
        for (const [index, own] of sessions.entries()) {
          const count = excess(own, 1000, replicas)
          sessions[index]! -= count
          moved += count
          for (let each = 0; each < count; each++) sessions[random(replicas)]!++
        }
      }
      expect(Math.max(...sessions), `${replicas}`).to.be.at.most(Math.ceil((1000 / replicas) * 1.1))
      expect(moved, 'no agent is sent around for long').to.be.lessThan(4000)
    }
  })

  it('counts replicas that are ready, once each', () => {
    const other = { ...slice(['x']), metadata: { ...slice(['x']).metadata, name: 'o', namespace: 'shop' } }
    const six = { ...slice(['a', 'b']), metadata: { ...slice(['a']).metadata, name: 'six' }, addressType: 'IPv6' }
    const gone = slice(['c'], { conditions: { ready: false } })
    expect(countReplicas(world(slice(['a', 'b']), six, gone, other), 'weft-system')).to.equal(2)
    expect(countReplicas(emptyWorld, 'weft-system')).to.equal(0)
  })

  it('looks at its share every now and then', async () => {
    const clock = new FakeClock()
    const sheds: [number, number][] = []
    let seen: World = world(slice(['a']), ...agents(10))
    let sessions = 10
    const stop = startSpread({
      clock,
      log: pino({ level: 'silent' }),
      sessions: () => sessions,
      world: () => seen,
      settings: defaultSettings,
      shed: (count, overMs) => sheds.push([count, overMs]),
    })
    await until(() => clock.pending === 1)
    await clock.run(40_000)
    expect(sheds).to.deep.equal([])
    seen = world(slice(['a', 'b']), ...agents(10))
    await clock.run(20_000)
    expect(sheds).to.deep.equal([[3, 10_000]])
    sessions = 5
    await clock.run(60_000)
    expect(sheds).to.have.length(1)
    // The network leads them all back to where they were: ever fewer are sent away.
    sessions = 10
    await clock.run(20_000 * (1 + 2 + 4 + 8 + 16), 20_000)
    expect(sheds).to.have.length(6)
    await stop()
  })
})
