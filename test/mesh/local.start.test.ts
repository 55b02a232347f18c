// `npm start` as a process: what it prints, what it refuses, and that it leaves nothing behind.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { root } from '../../scripts/local/environment.ts'
import { until } from '../support/until.ts'

/** No other suite uses these addresses; the process makes a difference for two runs on one machine. */
const offset = 1 + (process.pid % 6)

interface Run {
  child: ChildProcess
  output(): string
  errors(): string
  exited: Promise<number | null>
}

describe('mesh: npm start', function () {
  this.timeout(60_000)
  let folder: string
  const runs: Run[] = []

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-start-'))
  })
  afterEach(async () => {
    for (const { child, exited } of runs.splice(0)) {
      child.kill('SIGKILL')
      await exited
    }
    rmSync(folder, { recursive: true, force: true })
  })

  function start(args: string[] = [], preload = ''): Run {
    const own = ['--folder', folder, '--offset', String(offset), '--port', '0', '--nodes', '2']
    const options = preload === '' ? [] : ['--import', `data:text/javascript,${encodeURIComponent(preload)}`]
    const child = spawn(process.execPath, [...options, join(root, 'scripts/local/launch.js'), ...own, ...args])
    let output = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    const exited = once(child, 'close').then(([code]) => code as number | null)
    const run = { child, output: () => output, errors: () => errors, exited }
    runs.push(run)
    return run
  }

  async function isUp(run: Run): Promise<void> {
    await until(
      () => run.output().includes('The mesh is up') || run.child.exitCode !== null,
      () => run.errors(),
      30_000,
    )
    expect(run.errors()).to.equal('')
  }

  function oneLine(run: Run, pattern: RegExp): void {
    expect(run.errors().trimEnd().split('\n'), run.errors()).to.have.lengthOf(1)
    expect(run.errors()).to.match(pattern)
  }

  /** Processes that run the demo's pods of this run, recognised by its folder in their environment. */
  async function podProcesses(): Promise<string[]> {
    const { readFile } = await import('node:fs/promises')
    const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    const environments = await Promise.all(
      all.map((pid) =>
        readFile(`/proc/${pid}/environ`, 'utf8').then(
          (text) => ({ pid, text }),
          () => undefined,
        ),
      ),
    )
    return environments.flatMap((one) => (one?.text.includes(`HOME=${folder}/`) ? [one.pid] : []))
  }

  it('shows progress, says what to do next, and leaves nothing behind after Ctrl-C', async () => {
    const run = start(['--no-mesh'])
    await isUp(run)
    expect(run.output()).to.match(/ s {2}API server on https:\/\/127\.0\.0\.1:\d+\n/)
    expect(run.output()).to.match(/shop\/details 1\/1 ready/)
    expect(run.output()).to.match(/export KUBECONFIG=/)
    expect(await podProcesses()).to.have.lengthOf(6)
    expect(existsSync(join(folder, 'kubeconfig'))).to.equal(true)
    run.child.kill('SIGINT')
    expect(await run.exited).to.equal(0)
    expect(await podProcesses()).to.deep.equal([])
    expect(readdirSync(folder).sort()).to.deep.equal(['compile-cache', 'log'])
    expect(run.errors()).to.equal('')
  })

  it('can be interrupted while it starts', async () => {
    const run = start(['--no-mesh'])
    await until(
      () => run.output().includes('nodes, kube-proxy'),
      () => run.errors(),
    )
    await until(async () => (await podProcesses()).length > 0)
    run.child.kill('SIGINT')
    expect(await run.exited).to.equal(130)
    expect(await podProcesses()).to.deep.equal([])
  })

  it('leaves no process behind even when it is killed', async () => {
    const run = start(['--no-mesh'])
    await isUp(run)
    run.child.kill('SIGKILL')
    await run.exited
    await until(async () => (await podProcesses()).length === 0, 'the end of all pods')
  })

  it('refuses a second start on the same addresses, in one line', async () => {
    const first = start(['--no-mesh', '--no-demo'])
    await isUp(first)
    const second = start(['--no-mesh', '--no-demo'])
    expect(await second.exited).to.equal(1)
    oneLine(
      second,
      /^npm start: a local mesh runs on this machine already \(process \d+ in .+\); end it first with Ctrl-C$/m,
    )
    const third = start(['--no-mesh', '--no-demo', '--offset', '10'])
    expect(await third.exited, 'in the same folder').to.equal(1)
    oneLine(third, /^npm start: a local mesh runs on this machine already/)
    first.child.kill('SIGTERM')
    expect(await first.exited).to.equal(0)
    await isUp(start(['--no-mesh', '--no-demo']))
  })

  it('refuses a taken port, the one of the API and those of pods, in one line', async () => {
    for (const [host, pattern] of [
      ['127.0.0.1', /^npm start: port \d+ on 127\.0\.0\.1 is taken by another program; choose another with --port$/m],
      [
        `127.${44 + offset}.1.1`,
        /^npm start: port 9080 on 127\.\d+\.1\.1 is taken by another program; end what listens there/m,
      ],
    ] as const) {
      const isApi = host === '127.0.0.1'
      const server = createServer().listen(isApi ? 0 : 9080, host)
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const run = start(['--no-mesh', ...(isApi ? ['--port', String(port)] : [])])
      expect(await run.exited).to.equal(1)
      oneLine(run, pattern)
      server.close()
    }
  })

  it('refuses an unsupported system and an old Node, in one line', async () => {
    const mac = start([], "Object.defineProperty(process, 'platform', { value: 'darwin' })")
    expect(await mac.exited).to.equal(1)
    oneLine(mac, /^npm start: local mode needs Linux \(this is darwin\)/)
    const old = start([], "Object.defineProperty(process, 'versions', { value: { node: '20.11.0' } })")
    expect(await old.exited).to.equal(1)
    oneLine(old, /^npm start: Node 26 is needed and this is 20\.11\.0/)
  })

  it('refuses an option that it does not know, or a value out of range', async () => {
    const unknown = start(['--node', '3'])
    expect(await unknown.exited).to.equal(1)
    expect(unknown.errors()).to.match(/unknown option '--node'/)
    const many = start(['--nodes', '99'])
    expect(await many.exited).to.equal(1)
    expect(many.errors()).to.match(/a whole number from 1 to 9 is wanted/)
  })
})
