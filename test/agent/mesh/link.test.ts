// The line to the controller, against a scripted one over real sockets.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { systemClock } from '../../../agent/clock.ts'
import { Keeper } from '../../../agent/mesh/keeper.ts'
import { Link, type LinkOptions, plainDispatcher, reconnectDelay } from '../../../agent/mesh/link.ts'
import { nothing, resourceIn, type Wanted } from '../../../agent/mesh/store.ts'
import { FakeClock } from '../../support/clock.ts'
import { FakeController, type Stream } from '../../support/controller.ts'
import { QuietLog } from '../../support/quiet.ts'
import { mesh, ndjson, service, transaction } from '../../support/resources.ts'
import { until } from '../../support/until.ts'

const bad = service('shop/bad', { uid: '' })

describe('agent/mesh/link', () => {
  let controller: FakeController
  let link: Link
  let keeper: Keeper
  let log: QuietLog
  let folder: string
  let dispatcher: ReturnType<typeof plainDispatcher>
  let script: (stream: Stream, number: number) => void

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weft-link-'))
    script = (stream) => {
      stream.hello()
      stream.say(...transaction('1', true, mesh))
    }
    controller = new FakeController((stream) => script(stream, controller.streams.length))
    keeper = new Keeper(systemClock, () => {})
    log = new QuietLog()
    dispatcher = plainDispatcher()
  })

  afterEach(async () => {
    await link.stop()
    await dispatcher.destroy()
    await controller.close()
    await rm(folder, { recursive: true })
  })

  async function begin(change: Partial<LinkOptions> = {}): Promise<void> {
    link = new Link({
      controller: await controller.listen(),
      node: 'node1',
      pod: 'agent-1',
      tokenFile: '',
      dispatcher: () => dispatcher,
      clock: systemClock,
      random: Math.random,
      log,
      offer: (wanted: Wanted) => keeper.offer(wanted),
      version: () => keeper.inForce.version,
      claims: () => ({}),
      onFirst: () => {},
      gatherMs: 0,
      ...change,
    })
    link.start()
  }

  const reported = (count: number) => controller.until(() => controller.reports.length >= count)

  it('asks with node, pod, contract range and token, and reports what it has applied', async () => {
    const tokenFile = join(folder, 'token')
    await writeFile(tokenFile, 'secret\n')
    await begin({ tokenFile })
    await reported(1)
    const { request } = controller.streams[0]!
    expect(request.url).to.equal('/v1/snapshot?node=node1&pod=agent-1&oldest=1&newest=2')
    expect(request.headers.authorization).to.equal('Bearer secret')
    expect(request.headers['accept-encoding']).to.equal('gzip')
    expect(controller.reports).to.deep.equal([{ node: 'node1', pod: 'agent-1', version: '1', error: null }])
    expect(link.status).to.include({ isConnected: true, controller: 'controller-a', applied: 1, refusal: null })
  })

  it('applies deltas on top of what came before', async () => {
    await begin()
    await reported(1)
    controller.streams[0]!.say(...transaction('2', false, service('shop/a')), { type: 'ping' })
    await reported(2)
    controller.streams[0]!.say(...transaction('3', false, { kind: 'service', name: 'shop/a', gone: true }))
    await reported(3)
    expect(resourceIn(keeper.inForce, 'service', 'shop/a')).to.equal(null)
    expect(controller.reports.map((report) => report.version)).to.deep.equal(['1', '2', '3'])
  })

  it('reads lines however they are cut into pieces', async () => {
    script = (stream) => {
      stream.hello()
      const text = ndjson(transaction('1', true, mesh, service('shop/ä')))
      for (let i = 0; i < text.length; i += 7) stream.text(text.slice(i, i + 7))
    }
    await begin()
    await reported(1)
    expect(resourceIn(keeper.inForce, 'service', 'shop/ä')?.uid).to.equal('uid-shop/ä')
  })

  it('refuses a transaction as a whole, keeps the last good one, and recovers without a new connection', async () => {
    await begin()
    await reported(1)
    const [stream] = controller.streams
    stream!.say(...transaction('2', false, service('shop/good'), bad))
    await reported(2)
    expect(controller.reports[1]).to.deep.equal({
      node: 'node1',
      pod: 'agent-1',
      version: '1',
      error: { version: '2', message: 'service shop/bad: uid is "", wanted a text that is not empty' },
    })
    expect(keeper.inForce.version).to.equal('1')
    stream!.say(...transaction('3', false, service('shop/later')))
    await reported(3)
    expect(controller.reports[2]!.error?.version, 'the bad resource is still wanted').to.equal('3')
    stream!.say(...transaction('4', false, { kind: 'service', name: 'shop/bad', gone: true }))
    await reported(4)
    expect(keeper.inForce.version).to.equal('4')
    expect(resourceIn(keeper.inForce, 'service', 'shop/good')).not.to.equal(null)
    expect(resourceIn(keeper.inForce, 'service', 'shop/later')).not.to.equal(null)
    expect(controller.streams).to.have.length(1)
  })

  const broken: [string, string, RegExp][] = [
    ['garbled JSON', '{"type":"set"', /line is not JSON/],
    ['an unknown kind', '{"type":"set","resource":{"kind":"secret","name":"x"}}', /resource.kind is "secret"/],
    ['a gap', '{"type":"commit","version":"2","count":5}', /announces 5 changes and has 0/],
    ['another version at the end', '{"type":"commit","version":"3","count":0}', /began as version 2 and ends as 3/],
    ['a nested begin', '{"type":"begin","version":"3","full":true}', /begin within a transaction/],
  ]
  for (const [what, line, message] of broken) {
    it(`reports ${what} and asks for everything again`, async () => {
      script = (stream, number) => {
        stream.hello()
        stream.say(...transaction(number === 1 ? '1' : '5', true, mesh))
        if (number === 1) stream.text(`{"type":"begin","version":"2","full":false}\n${line}\n`)
      }
      await begin()
      await controller.until(() => controller.reports.at(-1)?.version === '5')
      expect(log.entries.find((entry) => entry.message === 'snapshot refused as a whole')?.fields['error']).to.match(
        message,
      )
      expect(link.status.refused).to.equal(1)
      expect(keeper.inForce.version).to.equal('5')
    })
  }

  it('does not listen to a contract version that it does not know', async () => {
    script = (stream, number) => {
      stream.hello(number === 1 ? 9 : 1)
      stream.say(...transaction(String(number), true, mesh))
    }
    await begin()
    await controller.until(() => controller.reports.at(-1)?.version === '2')
    expect(log.entries[0]!.fields['error']).to.match(/contract version 9, this agent 1 to 2/)
  })

  it('comes back after refusals and broken lines, and forgets what a full transaction does not name', async () => {
    script = (stream, number) => {
      stream.hello()
      if (number === 1) {
        stream.say(...transaction('1', true, mesh, service('shop/a')))
      } else stream.say(...transaction('2', true, mesh, service('shop/b')))
    }
    controller.refusals = [503, 401]
    await begin()
    await reported(1)
    controller.streams[0]!.cut()
    await controller.until(() => controller.reports.at(-1)?.version === '2')
    expect(resourceIn(keeper.inForce, 'service', 'shop/a')).to.equal(null)
    expect(resourceIn(keeper.inForce, 'service', 'shop/b')).not.to.equal(null)
    expect(log.entries[0]!.fields['error']).to.equal('the controller answered 503: not now')
  })

  it('warns once of a trouble that repeats itself', async () => {
    controller.refusals = [503, 503, 503, 401]
    await begin()
    await reported(1)
    const errors = log.entries.filter(({ level }) => level === 'warn').map(({ fields }) => fields['error'])
    expect(errors).to.deep.equal(['the controller answered 503: not now', 'the controller answered 401: not now'])
  })

  it('reports anew when its claims change', async () => {
    let trust = 'a'
    await begin({ claims: () => ({ trust, signers: ['r'] }) })
    await reported(1)
    trust = 'b'
    link.tell()
    await reported(2)
    expect(controller.reports[1]).to.deep.equal({
      node: 'node1',
      pod: 'agent-1',
      version: '1',
      error: null,
      trust: 'b',
      signers: ['r'],
    })
  })

  it('reports to the replica that sent the snapshot, and to any if that is out of reach', async () => {
    const replica = new FakeController(() => {})
    let address = new URL(await replica.listen()).host
    script = (stream) => {
      stream.hello(2, address)
      stream.say(...transaction('1', true, mesh))
    }
    try {
      await begin()
      await replica.until(() => replica.reports.length === 1)
      expect(controller.reports).to.deep.equal([])
    } finally {
      await replica.close()
    }
    controller.streams[0]!.say(...transaction('2', false, service('shop/a')))
    await reported(1)
    expect(controller.reports[0]!.version).to.equal('2')
    // The next replica does not say: the one before must not be asked any more.
    address = ''
    script = (stream) => {
      stream.hello(1)
      stream.say(...transaction('3', true, mesh))
    }
    controller.streams[0]!.cut()
    await controller.until(() => controller.reports.at(-1)?.version === '3')
  })

  it('takes a new connection for each line: a kept one would lead back to the replica that sends it away', async () => {
    const ports = new Set<number | undefined>()
    script = (stream, number) => {
      ports.add(stream.request.socket.remotePort)
      stream.hello()
      stream.say(...transaction(String(number), true, mesh))
    }
    await begin()
    for (let count = 1; count <= 3; count++) {
      await controller.until(() => controller.reports.at(-1)?.version === String(count))
      controller.streams.at(-1)!.finish()
    }
    await controller.until(() => controller.reports.at(-1)?.version === '4')
    expect(ports.size).to.equal(4)
  })

  it('gives a silent line up after 30 s', async () => {
    const clock = new FakeClock()
    keeper = new Keeper(clock, () => {})
    await begin({ clock })
    await reported(1)
    clock.tick(29_999)
    controller.streams[0]!.say({ type: 'ping' })
    while (link.status.heardAt < clock.now()) await new Promise(setImmediate)
    clock.tick(29_999)
    expect(link.status.isConnected).to.equal(true)
    clock.tick(2)
    while (link.status.isConnected) await new Promise(setImmediate)
    expect(log.entries.at(-1)!.fields['error']).to.equal('heard nothing from the controller for 30000 ms')
    while (clock.pending === 0) await new Promise(setImmediate)
    clock.tick(20)
    await reported(2)
    expect(controller.streams).to.have.length(2)
  })

  it('tells of its first outcome, also of a failure', async () => {
    const first = Promise.withResolvers<void>()
    controller.refusals = [500]
    await begin({ onFirst: first.resolve })
    await first.promise
  })

  it('gathers what it reports of later transactions, and never what was refused', async () => {
    const clock = new FakeClock()
    script = (stream) => {
      stream.hello()
      stream.say(...transaction('1', true, mesh))
    }
    await begin({ clock, gatherMs: 1000, random: () => 0.5 })
    await reported(1)
    const [stream] = controller.streams
    for (const version of ['2', '3']) stream!.say(...transaction(version, false, service(`shop/${version}`)))
    await until(() => keeper.inForce.version === '3', 'both to be in force')
    clock.tick(1999)
    expect(controller.reports.map(({ version }) => version)).to.deep.equal(['1'])
    clock.tick(1)
    await reported(2)
    stream!.say(...transaction('4', false, bad))
    await reported(3)
    expect(controller.reports.map(({ version, error }) => [version, error?.version])).to.deep.equal([
      ['1', undefined],
      ['3', undefined],
      ['3', '4'],
    ])
  })

  it('backs off from 10 ms to 3 s with jitter', () => {
    expect(reconnectDelay(0, () => 0)).to.equal(5)
    expect(reconnectDelay(0, () => 1)).to.equal(10)
    expect(reconnectDelay(3, () => 1)).to.equal(80)
    expect(reconnectDelay(1000, () => 1)).to.equal(3000)
  })

  it('starts from nothing', () => {
    expect(nothing.version).to.equal('')
  })
})
