// The agent as a whole on its control thread, with data threads that carry nothing, over real sockets.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { expect } from 'chai'
import { Agent, readCached } from '../../agent/agent.ts'
import { systemClock } from '../../agent/clock.ts'
import { type LogLevel, readConfig } from '../../agent/config.ts'
import type { ControlLog } from '../../agent/observe/log.ts'
import { FakeController } from '../support/controller.ts'
import { QuietLog } from '../support/quiet.ts'
import { mesh, service, split, transaction } from '../support/resources.ts'

const script = new URL('../support/thread.ts', import.meta.url)

class AgentLog extends QuietLog implements ControlLog {
  #level: LogLevel = 'info'
  level(): LogLevel {
    return this.#level
  }
  setLevel(level: LogLevel): void {
    this.#level = level
  }
  relay(thread: number, { level, message, fields }: Parameters<ControlLog['relay']>[1]): void {
    this[level]({ thread, ...fields }, message)
  }
}

const broken = service('shop/b', {
  ports: [
    {
      number: 80,
      name: '',
      protocol: 'http',
      splits: [{ ...split('shop/s', {}), matches: [{ name: 'm', path: '(', methods: null, headers: [] }] }],
    },
  ],
})

describe('agent', () => {
  let controller: FakeController
  let origin: string
  let folder: string
  let agents: Agent[]
  let log: AgentLog
  let fatal: string[]
  let lines: PassThrough

  beforeEach(async () => {
    controller = new FakeController((stream) => {
      stream.hello()
      stream.say(...transaction('1', true, mesh, service('shop/a')))
    })
    origin = await controller.listen()
    folder = await mkdtemp(join(tmpdir(), 'weft-agent-'))
    agents = []
    log = new AgentLog()
    fatal = []
    lines = new PassThrough()
  })
  afterEach(async () => {
    for (const agent of agents) await agent.stop()
    await controller.close()
    await rm(folder, { recursive: true })
  })

  const drain = ['--drain-quiet', '300ms', '--drain-minimum', '500ms', '--drain-deadline', '3s']

  async function start(
    manner: string,
    threads = 1,
    from = origin,
    ...more: string[]
  ): Promise<{ agent: Agent; url: string }> {
    const given = ['--node', 'n', '--pod', manner, '--address', '127.0.0.1', '--controller', from]
    const ports = ['--stats-port', '0', '--admin-port', '0', '--dns-port', '0', '--state-dir', folder]
    const config = readConfig([...given, ...ports, ...drain, '--data-threads', String(threads), ...more], {})
    const agent = new Agent(config, {
      clock: systemClock,
      random: Math.random,
      log,
      out: lines,
      facts: {
        version: '0',
        nodeVersion: 'v0',
        startedAt: 0,
        residentBytes: () => 1,
        cpuSeconds: () => 2,
        openFiles: () => 3,
      },
      script,
      onFatal: (reason) => fatal.push(reason),
    })
    agents.push(agent)
    await agent.start(await readCached(config, log))
    return { agent, url: `http://127.0.0.1:${agent.openPorts.admin}` }
  }

  async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  const text = async (url: string) => (await fetch(url)).text()

  it('gets ready with a snapshot on every thread and tells the controller', async () => {
    const { agent, url } = await start('fine', 2)
    await until(() => agent.ready.isReady)
    await controller.until(() => controller.reports.length > 0)
    expect(controller.reports[0]).to.include({ version: '1', error: null })
    expect(await text(`${url}/readyz`)).to.equal('ok\n')
    expect(JSON.parse(await text(`${url}/debug/fuses`))).to.deep.equal([
      { thread: 0, value: { what: 'fuses', version: '1' } },
      { thread: 1, value: { what: 'fuses', version: '1' } },
    ])
  })

  it('publishes the counters of all threads beside its own metrics', async () => {
    const { agent, url } = await start('fine', 2)
    await until(() => agent.ready.isReady)
    await until(async () => /weft_requests_total\{.*\} 2/.test(await text(`${url}/metrics`)))
    const page = await text(`${url}/metrics`)
    for (const line of [
      'weft_build_info{version="0",node_version="v0"} 1',
      'weft_ready 1',
      'weft_snapshot_info{version="1"} 1',
      'weft_link_connected 1',
      'weft_snapshots_applied_total 1',
      'process_resident_memory_bytes 1',
    ]) {
      expect(page).to.contain(`${line}\n`)
    }
    expect(page).to.match(/weft_event_loop_busy_seconds_total\{thread="1"\} [\d.e-]+\n/)
    const names = [...page.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
    expect(new Set(names).size).to.equal(names.length)
  })

  it('says what is in the way', async () => {
    const { agent, url } = await start('portless', 2)
    await until(() => [...agent.ready.blockers.keys()].join() === 'ports')
    expect(await text(`${url}/readyz?verbose`)).to.equal(
      'ports: data thread 0: 1 failed, port 16384: listen EADDRINUSE\n',
    )
  })

  it('serves from disk while no controller answers, and takes up news when one does', async () => {
    const first = await start('fine')
    await until(() => first.agent.ready.isReady)
    await first.agent.stop()
    const port = Number(new URL(origin).port)
    await controller.close()

    const { agent } = await start('fine')
    await until(() => agent.ready.isReady)
    expect(agent.keeper.inForce.version).to.equal('1')
    expect(agent.link.status.connects).to.equal(0)

    controller = new FakeController((stream) => {
      stream.hello()
      stream.say(...transaction('2', true, mesh, service('shop/new')))
    })
    await controller.listen(port)
    await controller.until(() => controller.reports.length > 0)
    expect(controller.reports[0]).to.include({ version: '2' })
    expect(agent.keeper.inForce.version).to.equal('2')
  })

  it('is not ready without snapshot, however long no controller answers', async () => {
    await controller.close()
    const { agent } = await start('fine')
    await until(() => agent.link.status.heardAt === 0 && !agent.ready.blockers.has('controller'))
    expect([...agent.ready.blockers.keys()]).to.include('snapshot')
    controller = new FakeController(() => {})
    await controller.listen()
  })

  it('serves from disk while it does not know whom to trust, and says what it waits for', async () => {
    const first = await start('fine')
    await until(() => first.agent.ready.isReady)
    await first.agent.stop()
    const files = ['--trust-dir', join(folder, 'none'), '--token-file', join(folder, 'token')]
    const { agent, url } = await start('fine', 1, 'https://127.0.0.1:1', ...files)
    await until(() => agent.ready.isReady)
    const { trouble, accounts } = JSON.parse(await text(`${url}/debug/identities`))
    expect(trouble).to.contain('none')
    expect(accounts).to.deep.equal([])
    expect(log.messages('warn')).to.include('no trust bundle yet')
  })

  it('refuses a snapshot that a data thread cannot build, and says so to the controller', async () => {
    const { agent } = await start('fine', 2)
    await until(() => agent.ready.isReady)
    controller.streams[0]!.say(...transaction('2', false, broken))
    await controller.until(() => controller.reports.length >= 2)
    expect(controller.reports[1]).to.deep.include({
      version: '1',
      error: { version: '2', message: 'match m: no regular expression' },
    })
    expect(agent.ready.isReady).to.equal(true)
  })

  it('replaces a data thread that dies, at the snapshot in force', async () => {
    const { agent, url } = await start('dies', 2)
    await until(() => agent.ready.isReady)
    await text(`${url}/debug/exchanges`)
    await until(() => agent.threads.restarts === 2 && agent.ready.isReady)
    const fuses = JSON.parse(await text(`${url}/debug/fuses`))
    expect(fuses.map((answer: { value: { version: string } }) => answer.value.version)).to.deep.equal(['1', '1'])
    expect(await text(`${url}/metrics`)).to.match(/weft_data_thread_restarts_total 2\n/)
    expect(fatal).to.deep.equal([])
  })

  it('gives up when data threads keep dying', async () => {
    await start('fails')
    await until(() => fatal.length > 0)
    expect(fatal).to.deep.equal(['data threads ended 3 times within 60 s'])
    expect(log.entries.find(({ message }) => message === 'a data thread failed')!.fields['error']).to.equal(
      'no luck today',
    )
  })

  it('passes a log level on to the data threads', async () => {
    const { agent, url } = await start('fine', 2)
    await until(() => agent.ready.isReady)
    await fetch(`${url}/debug/log-level`, { method: 'PUT', body: 'debug' })
    await until(() => log.messages('debug').filter((message) => message === 'level changed').length === 2)
    expect(log.level()).to.equal('debug')
  })

  it('takes profiles and heap snapshots of threads', async () => {
    const { agent, url } = await start('fine')
    await until(() => agent.ready.isReady)
    for (const thread of ['0', 'control']) {
      const profile = JSON.parse(await text(`${url}/debug/cpu-profile?seconds=1&thread=${thread}`))
      expect(profile.nodes.length, thread).to.be.greaterThan(0)
    }
    expect((await text(`${url}/debug/heap-snapshot`)).startsWith('{"snapshot":')).to.equal(true)
    expect((await fetch(`${url}/debug/heap-snapshot?thread=9`)).status).to.equal(500)
  })

  it('drains: not ready at once, listeners open until it is quiet, then out', async () => {
    const { agent, url } = await start('busy', 2)
    await until(() => agent.ready.isReady)
    const began = performance.now()
    const drained = agent.drain()
    expect(await text(`${url}/readyz`)).to.equal('not ready: draining\n')
    await drained
    const ms = performance.now() - began
    // Callers came for about six beats of 200 ms, then 300 ms of quiet.
    expect(ms).to.be.within(1000, 2900)
    expect(String(lines.read())).to.match(/draining 0\n/)
    await agent.stop()
    expect(agent.link.status.isConnected).to.equal(false)
  })

  it('drains no longer than to its deadline', async () => {
    const { agent } = await start('stuck')
    await until(() => agent.ready.isReady)
    const began = performance.now()
    await agent.drain()
    expect(performance.now() - began).to.be.within(2900, 3500)
    expect(log.messages('warn')).to.include('the deadline has come: what is open is reset')
  })
})
