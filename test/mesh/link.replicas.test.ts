// Agents and several replicas of the controller, as they are in production, behind a Service that sends each connection where
// it will.

import { hash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect } from 'chai'
import { pino } from 'pino'
import { systemClock as agentClock } from '../../agent/clock.ts'
import { Link, plainDispatcher } from '../../agent/mesh/link.ts'
import { type Clock, systemClock } from '../../controller/clock.ts'
import type { World } from '../../controller/observe/world.ts'
import { defaultSettings } from '../../controller/resolve/settings.ts'
import { type Server, startServer } from '../../controller/serve.ts'
import type { Encoded } from '../../controller/translate/translate.ts'
import { startSpread } from '../../controller/transmit/spread.ts'
import { openTransmitter, type Transmitter } from '../../controller/transmit/transmitter.ts'
import { QuietLog } from '../support/quiet.ts'
import { mesh } from '../support/resources.ts'
import { until } from '../support/until.ts'
import { worldOf } from '../support/world.ts'

/** A round of the spread takes 0.1 s. */
const clock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 200, signal) }
const log = pino({ level: 'silent' })
const agents = 12

interface Replica {
  name: string
  transmitter: Transmitter
  server: Server
  stop(): Promise<void>
}

describe('mesh: agents and replicas of the controller', () => {
  const replicas: Replica[] = []
  const links: Link[] = []
  const versions = new Map<string, string>()
  const dispatcher = plainDispatcher()
  let turn = 0
  /** The stand-in for kube-proxy. */
  const service = createServer((down) => {
    const up = connect((replicas[turn++ % replicas.length] as Replica).server.port, '127.0.0.1')
    for (const [from, to] of [
      [down, up],
      [up, down],
    ] as const) {
      from.on('error', () => to.destroy()).on('close', () => to.destroy())
      from.pipe(to)
    }
  })

  function world(): World {
    const endpoints = replicas.map(({ name }, index) => ({ addresses: [`10.0.0.${index}`], targetRef: { name } }))
    const slice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name: 'c',
        namespace: 'weft-system',
        labels: { 'kubernetes.io/service-name': 'weft-controller' },
      },
      addressType: 'IPv4',
      endpoints,
    }
    const pods = Array.from({ length: agents }, (_each, index) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: `agent-${index}`,
        namespace: 'weft-system',
        labels: { 'app.kubernetes.io/name': 'weft-agent' },
      },
      spec: { nodeName: `node${index}` },
      status: { phase: 'Running' },
    }))
    return worldOf([slice, ...pods].map((each) => JSON.stringify(each)).join('\n---\n'))
  }

  function publish({ transmitter }: Replica, number: number): void {
    const resource = { ...mesh, meshDomain: `mesh${number}.internal` }
    const text = JSON.stringify(resource)
    const encoded: Encoded = { resource, text, hash: hash('sha1', text) }
    transmitter.publish([encoded], new Map())
  }

  async function addReplica(name: string, number: number): Promise<void> {
    const transmitter = openTransmitter({
      ...{ clock: systemClock, log, controller: name },
      authenticate: async (_request, { node, pod }) => ({ agent: { node, pod, podUid: pod } }),
    })
    const server = await startServer('127.0.0.1', 0, [transmitter.handle])
    const stopSpread = startSpread({
      ...{ clock, log, world, settings: defaultSettings },
      sessions: () => transmitter.sessions,
      shed: (count, overMs) => transmitter.shed(count, overMs / 200),
    })
    const stop = async () => {
      await stopSpread()
      await transmitter.close()
      await server.close(100)
    }
    const replica = { name, transmitter, server, stop }
    publish(replica, number)
    replicas.push(replica)
  }

  const connected = ({ transmitter }: Replica) => transmitter.agents().filter(({ isConnected }) => isConnected)
  const isSettled = () =>
    replicas.reduce((sum, { transmitter }) => sum + transmitter.sessions, 0) === agents &&
    replicas.every((each) => connected(each).every(({ sent, applied, lagMs }) => sent === applied && lagMs === 0))

  before(async () => {
    service.listen(0, '127.0.0.1')
    await once(service, 'listening')
    await addReplica('controller-0', 1)
    for (let index = 0; index < agents; index++) {
      const pod = `agent-${index}`
      const link = new Link({
        ...{ controller: `http://127.0.0.1:${(service.address() as AddressInfo).port}`, node: `node${index}`, pod },
        ...{ tokenFile: '', dispatcher: () => dispatcher, clock: agentClock, random: Math.random, log: new QuietLog() },
        offer: async ({ version }) => {
          versions.set(pod, version)
          return null
        },
        version: () => versions.get(pod) ?? '',
        gatherMs: 0,
        onFirst: () => {},
      })
      links.push(link)
      link.start()
    }
    await until(isSettled, 'all agents')
  })

  after(async () => {
    await Promise.all(links.map((link) => link.stop()))
    await dispatcher.destroy()
    for (const replica of replicas) await replica.stop()
    service.close()
    await once(service, 'close')
  })

  it('move over when a replica is added, until each has its share', async () => {
    expect(replicas[0]!.transmitter.sessions).to.equal(agents)
    await addReplica('controller-1', 1)
    await until(() => isSettled() && replicas.every(({ transmitter }) => transmitter.sessions <= agents / 2 + 1))
  })

  it('each replica knows what its own agents have in force, though the Service sends connections anywhere', async () => {
    for (let number = 2; number < 6; number++) {
      for (const replica of replicas) publish(replica, number)
      await until(isSettled, 'agreement of replicas and agents')
      const sent = replicas.flatMap((each) => connected(each).map(({ sent: version }) => version))
      expect(sent).to.have.length(agents)
      expect(new Set([...sent, ...versions.values()]).size, 'one state has one version everywhere').to.equal(1)
    }
  })

  it('go to the others when a replica ends', async () => {
    const [ended] = replicas.splice(0, 1)
    await ended!.stop()
    await until(isSettled, 'all agents')
    expect(replicas[0]!.transmitter.sessions).to.equal(agents)
    publish(replicas[0]!, 9)
    await until(isSettled, 'the change')
  })
})
