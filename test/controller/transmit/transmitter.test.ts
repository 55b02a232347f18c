// The agents' link from the controller's side, with agents that are slow or gone.

import { createHash, randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { expect } from 'chai'
import { pino } from 'pino'
import { systemClock } from '../../../controller/clock.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import { startServer } from '../../../controller/serve.ts'
import type { Encoded } from '../../../controller/translate/translate.ts'
import { checkClaim } from '../../../controller/transmit/authenticate.ts'
import { openTransmitter, type Transmitter } from '../../../controller/transmit/transmitter.ts'
import { openLink } from '../../support/agentlink.ts'
import { agentWorld, peer, TransmitterBench, workload } from '../../support/transmitter.ts'
import { until } from '../../support/until.ts'

const log = pino({ level: 'silent' })

describe('transmitter', () => {
  let bench: TransmitterBench
  let transmitter: Transmitter
  const open = (...given: Parameters<TransmitterBench['open']>) => bench.open(...given)
  const report = (body: unknown) => bench.report(body)

  beforeEach(async () => {
    bench = new TransmitterBench()
    await bench.start()
    transmitter = bench.transmitter
  })

  afterEach(() => bench.stop())

  for (const gzip of [true, false]) {
    it(`sends hello and everything, then only what changed (${gzip ? 'gzip' : 'plain'})`, async () => {
      transmitter.publish([peer('node1'), peer('node2')], new Map())
      const link = await open('node1', 'agent-1', {}, { gzip })
      expect(link.status).to.equal(200)
      await link.transaction(1)
      expect(link.messages[0]).to.deep.equal({
        type: 'hello',
        contract: 2,
        controller: 'controller-1',
        address: `127.0.0.1:${bench.server.port}`,
      })
      expect(link.messages[1]).to.include({ type: 'begin', full: true })
      expect([...link.resources.keys()]).to.deep.equal(['peer node1', 'peer node2'])

      link.messages.length = 0
      transmitter.publish([peer('node1', '10.0.0.7'), peer('node3')], new Map())
      await link.transaction(2)
      expect(link.messages.map((each) => each.type)).to.deep.equal(['begin', 'set', 'set', 'remove', 'commit'])
      expect(link.messages[0]).to.include({ full: false })
      expect([...link.resources.keys()].sort()).to.deep.equal(['peer node1', 'peer node3'])
      expect(link.resources.get('peer node1')).to.include({ address: '10.0.0.7' })
    })
  }

  it('sends nothing when nothing changed', async () => {
    transmitter.publish([peer('node1')], new Map([['node1', [workload('a')]]]))
    const link = await open('node1', 'agent-1')
    await link.transaction(1)
    transmitter.publish([peer('node1')], new Map([['node1', [workload('a')]]]))
    transmitter.publish([peer('node1'), peer('node2')], new Map([['node1', [workload('a')]]]))
    await link.transaction(2)
    expect(link.messages.filter((each) => each.type === 'set')).to.have.length(3)
    expect(transmitter.agents()[0]).to.include({ transactions: 2 })
  })

  it('sends pods to the agent of their node alone', async () => {
    transmitter.publish(
      [peer('node1')],
      new Map([
        ['node1', [workload('a'), workload('b')]],
        ['node2', [workload('c')]],
      ]),
    )
    const one = await open('node1', 'agent-1')
    const two = await open('node2', 'agent-2')
    await Promise.all([one.transaction(1), two.transaction(1)])
    expect([...one.resources.keys()]).to.deep.equal(['workload a', 'workload b', 'peer node1'])
    expect([...two.resources.keys()]).to.deep.equal(['workload c', 'peer node1'])
    expect(one.versions[0]).to.not.equal(two.versions[0])
    transmitter.publish(
      [peer('node1')],
      new Map([
        ['node1', [workload('a')]],
        ['node2', [workload('c')]],
      ]),
    )
    await one.transaction(2)
    expect([...one.resources.keys()]).to.deep.equal(['workload a', 'peer node1'])
    expect(two.versions).to.have.length(1)
  })

  it('gives equal content equal versions, whichever replica sends it', async () => {
    transmitter.publish([peer('a'), peer('b')], new Map())
    const link = await open('node1', 'agent-1')
    await link.transaction(1)
    transmitter.publish([peer('a')], new Map())
    await link.transaction(2)
    transmitter.publish([peer('b'), peer('a')], new Map())
    await link.transaction(3)
    expect(link.versions[2]).to.equal(link.versions[0])
    expect(link.versions[1]).to.not.equal(link.versions[0])
  })

  it('sends everything again to an agent that reconnects, and ends its old session', async () => {
    transmitter.publish([peer('node1')], new Map())
    const first = await open('node1', 'agent-1')
    await first.transaction(1)
    const second = await open('node1', 'agent-1')
    await second.transaction(1)
    expect(second.messages[1]).to.include({ type: 'begin', full: true })
    await until(() => first.isEnded)
    expect(transmitter.agents().filter(({ isConnected }) => isConnected)).to.have.length(1)
  })

  it('queues nothing for a slow agent; one that has missed too much gets a fresh full snapshot, and others notice nothing', async () => {
    // Texts that gzip can't shrink much, so that the socket's buffers fill.
    const bulk = () =>
      Array.from({ length: 2100 }, (_each, index) => peer(`node-${index}`, randomBytes(225).toString('base64')))
    transmitter.publish(bulk(), new Map())
    const slow = await open('node1', 'agent-1')
    const fast = await open('node2', 'agent-2')
    await Promise.all([slow.transaction(1), fast.transaction(1)])
    slow.pause()
    const state = (pod: string) => transmitter.agents().find((each) => each.pod === pod)!
    // Until one is under way that the socket does not take any more.
    let isTaking = true
    let round = 1
    for (; isTaking; round++) {
      transmitter.publish(bulk(), new Map())
      await fast.transaction(1 + round)
      isTaking = await until(() => state('agent-1').transactions === round + 1, '', 1500).then(
        () => true,
        () => false,
      )
    }
    const taken = state('agent-1').transactions
    const last = round + 3
    let newest: Encoded[] = []
    for (; round < last; round++) {
      newest = bulk()
      transmitter.publish(newest, new Map())
      await fast.transaction(1 + round)
    }
    expect(state('agent-1').transactions, 'one is under way, none waits').to.equal(taken)
    const { encoded } = transmitter
    slow.resume()
    await until(() => slow.versions.at(-1) === fast.versions.at(-1))
    expect([...slow.resources]).to.have.deep.members([...fast.resources])
    expect(slow.messages.filter((each) => each.type === 'begin').map((each) => each.full)).to.deep.equal([
      true,
      ...Array.from({ length: slow.versions.length - 2 }, () => false),
      true,
    ])
    expect(state('agent-1')).to.include({ fulls: 2 })
    expect(transmitter.encoded - encoded, 'nothing but that was encoded for it').to.equal(1)
    // The other's next is a delta as ever.
    transmitter.publish([...newest, peer('one')], new Map())
    await fast.transaction(last + 1)
    expect(state('agent-2')).to.include({ fulls: 1 })
    expect(fast.messages.slice(-3).map((each) => each.type)).to.deep.equal(['begin', 'set', 'commit'])
  }).timeout(30_000)

  it('encodes a change once, whatever the number of agents', async () => {
    transmitter.publish([peer('a')], new Map())
    const all = await Promise.all(
      Array.from({ length: 10 }, (_each, index) => open(`node${index + 10}`, `agent-${index + 10}`)),
    )
    await Promise.all(all.map((each) => each.transaction(1)))
    const { encoded } = transmitter
    transmitter.publish([peer('a'), peer('b')], new Map())
    await Promise.all(all.map((each) => each.transaction(2)))
    // The common part, and that there is nothing new of pods.
    expect(transmitter.encoded - encoded).to.equal(2)
  })

  it('knows of each agent what it has in force, since when not, and what it refused', async () => {
    transmitter.publish([peer('a')], new Map())
    const link = await open('node1', 'agent-1')
    await link.transaction(1)
    const state = () => transmitter.agents()[0]!
    await until(() => state().lagMs > 0)
    const first = link.versions[0]!
    await report({ node: 'node1', pod: 'agent-1', version: first, error: null })
    expect(state()).to.include({ lagMs: 0, acks: 1, rejections: 0, fulls: 1 })
    transmitter.publish([peer('b')], new Map())
    await link.transaction(2)
    const refusal = { version: link.versions[1]!, message: 'no' }
    await report({ node: 'node1', pod: 'agent-1', version: first, error: refusal })
    await until(() => state().lagMs > 0)
    expect(state()).to.include({ acks: 1, rejections: 1 })
    await report({ node: 'node1', pod: 'agent-1', version: link.versions[1]!, error: null })
    expect(state()).to.include({ lagMs: 0, acks: 2, rejections: 1, error: null })
  })

  it('lets agents go when it has too many of them, some time within the given', async () => {
    transmitter.publish([peer('a')], new Map())
    const all = await Promise.all([10, 11, 12, 13].map((index) => open(`node${index}`, `agent-${index}`)))
    await Promise.all(all.map((each) => each.transaction(1)))
    transmitter.shed(2, 100)
    await until(() => transmitter.sessions === 2)
    await until(() => all.filter(({ isEnded }) => isEnded).length === 2)
    expect(all.every(({ headers }) => headers.connection === 'close')).to.equal(true)
    transmitter.shed(9, 0)
    await until(() => transmitter.sessions === 0)
  })

  it('waits with 503 until the first state', async () => {
    const early = await open('node1', 'agent-1')
    expect(early.status).to.equal(503)
    expect(early.headers['retry-after']).to.equal('1')
    expect(JSON.parse(await early.text())).to.include({ error: 'not_ready' })
  })

  it('ends its streams between transactions when it closes, and takes no new ones', async () => {
    transmitter.publish([peer('a')], new Map())
    const link = await open('node1', 'agent-1')
    await link.transaction(1)
    await transmitter.close()
    await until(() => link.isEnded)
    expect(link.messages.at(-1)).to.include({ type: 'commit' })
    const late = await open('node1', 'agent-1')
    expect(late.status).to.equal(503)
  })

  it('forgets a session whose agent has gone', async () => {
    transmitter.publish([peer('a')], new Map())
    const link = await open('node1', 'agent-1')
    await link.transaction(1)
    link.close()
    await until(() => transmitter.agents().length === 0)
  })

  it('closes the session of an agent that takes nothing any more', async () => {
    const clock = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 50, signal) }
    const hasty = openTransmitter({
      clock,
      log,
      controller: 'c',
      authenticate: async (_request, claim) => checkClaim(agentWorld, defaultSettings, claim),
    })
    const other = await startServer('127.0.0.1', 0, [hasty.handle])
    const random = (seed: number) => createHash('sha512').update(String(seed)).digest('hex').repeat(8)
    hasty.publish(
      Array.from({ length: 20_000 }, (_each, index) => peer(`n${index}`, random(index))),
      new Map(),
    )
    const socket = connect(other.port, '127.0.0.1')
    bench.sockets.push(socket)
    socket.pause()
    socket.write('GET /v1/snapshot?node=node1&pod=agent-1&oldest=1&newest=1 HTTP/1.1\r\nhost: c\r\n\r\n')
    await until(() => hasty.agents().length === 1)
    await until(() => hasty.agents().length === 0)
    await hasty.close()
    await other.close(100)
  })

  it('pings when nothing else was to be said', async () => {
    const clock = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 500, signal) }
    const hasty = openTransmitter({
      clock,
      log,
      controller: 'c',
      authenticate: async (_request, claim) => checkClaim(agentWorld, defaultSettings, claim),
    })
    const other = await startServer('127.0.0.1', 0, [hasty.handle])
    hasty.publish([], new Map())
    const link = await openLink(other.port, { node: 'node1', pod: 'agent-1' })
    bench.links.push(link)
    await until(() => link.messages.filter((each) => each.type === 'ping').length >= 3)
    await hasty.close()
    await other.close(100)
  })
})
