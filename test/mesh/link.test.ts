// The agent's end of the link against the controller's, both as they are in production.

import { hash } from 'node:crypto'
import { expect } from 'chai'
import { pino } from 'pino'
import { systemClock as agentClock } from '../../agent/clock.ts'
import { Link, plainDispatcher } from '../../agent/mesh/link.ts'
import type { Wanted } from '../../agent/mesh/store.ts'
import { systemClock } from '../../controller/clock.ts'
import type { Resource } from '../../controller/contract/resources.ts'
import { type Server, startServer } from '../../controller/serve.ts'
import type { Encoded } from '../../controller/translate/translate.ts'
import { openTransmitter, type Transmitter } from '../../controller/transmit/transmitter.ts'
import { QuietLog } from '../support/quiet.ts'
import { mesh as meshResource } from '../support/resources.ts'
import { until } from '../support/until.ts'

function encoded(resource: Resource): Encoded {
  const text = JSON.stringify(resource)
  return { resource, text, hash: hash('sha1', text) }
}

const mesh = encoded(meshResource)

function peer(name: string): Encoded {
  return encoded({ kind: 'peer', name, address: '10.0.0.1', port: 15008 })
}

function workload(name: string): Encoded {
  const rest = { address: '10.0.1.1', account: 'shop/default', workload: '', live: true, startedAt: 1 }
  return encoded({ kind: 'workload', name, pod: `shop/${name}`, ...rest })
}

describe('mesh: link between agent and controller', () => {
  let transmitter: Transmitter
  let server: Server
  let link: Link
  let applied: Wanted[]
  let refusal: string | null

  beforeEach(async () => {
    applied = []
    refusal = null
    transmitter = openTransmitter({
      clock: systemClock,
      log: pino({ level: 'silent' }),
      controller: 'controller-1',
      authenticate: async (_request, { node, pod }) => ({ agent: { node, pod, podUid: pod } }),
    })
    server = await startServer('127.0.0.1', 0, [transmitter.handle])
    const dispatcher = plainDispatcher()
    link = new Link({
      controller: `http://127.0.0.1:${server.port}`,
      node: 'node1',
      pod: 'agent-1',
      tokenFile: '',
      dispatcher: () => dispatcher,
      clock: agentClock,
      random: Math.random,
      log: new QuietLog(),
      offer: async (wanted) => {
        if (refusal === null) applied.push(wanted)
        return refusal
      },
      version: () => applied.at(-1)?.version ?? '',
      gatherMs: 0,
      onFirst: () => {},
    })
  })

  afterEach(async () => {
    await link.stop()
    await transmitter.close()
    await server.close(100)
  })

  const names = () => [...(applied.at(-1)?.lines.keys() ?? [])].sort()
  const state = () => transmitter.agents()[0]

  it('carries everything, then changes of both parts, however they are packed', async () => {
    const many = Array.from({ length: 3000 }, (_each, index) => peer(`node-${index}`))
    transmitter.publish([mesh, ...many], new Map([['node1', [workload('a')]]]))
    link.start()
    await until(() => applied.length === 1)
    expect(names()).to.have.length(3002)
    for (let round = 0; round < 50; round++) {
      transmitter.publish([mesh, ...many.slice(round)], new Map([['node1', [workload('a'), workload(`b${round}`)]]]))
      await until(() => state()!.applied === state()!.sent && applied.length === round + 2)
      expect(names()).to.have.length(3003 - round)
    }
    transmitter.publish([mesh], new Map())
    await until(() => names().length === 1)
    await until(() => state()!.applied === applied.at(-1)!.version)
    expect(link.status).to.include({ isConnected: true, controller: 'controller-1', refused: 0, connects: 1 })
  })

  it('reports what it refuses, and goes on with what comes next', async () => {
    transmitter.publish([mesh], new Map())
    link.start()
    await until(() => state()?.applied === applied[0]?.version && applied.length === 1)
    refusal = 'a port is taken'
    transmitter.publish([mesh, peer('node2')], new Map())
    await until(() => state()?.error !== null)
    expect(state()).to.deep.include({
      applied: applied[0]!.version,
      error: { version: state()!.sent, message: refusal },
    })
    refusal = null
    transmitter.publish([mesh, peer('node3')], new Map())
    await until(() => state()?.error === null && state()?.applied === state()?.sent)
    expect(applied.at(-1)!.lines.size).to.equal(2)
  })

  it('begins anew after the controller has gone and come back', async () => {
    transmitter.publish([mesh], new Map())
    link.start()
    await until(() => applied.length === 1)
    const { port } = server
    await transmitter.close()
    await server.close(100)
    transmitter = openTransmitter({
      clock: systemClock,
      log: pino({ level: 'silent' }),
      controller: 'controller-2',
      authenticate: async (_request, { node, pod }) => ({ agent: { node, pod, podUid: pod } }),
    })
    transmitter.publish([mesh, peer('node2')], new Map())
    server = await startServer('127.0.0.1', port, [transmitter.handle])
    await until(() => applied.at(-1)!.lines.size === 2)
    expect(link.status).to.include({ controller: 'controller-2' })
  })
})
