// The agent as a process: exit codes, signals, and the real data threads.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { FakeController } from '../support/controller.ts'
import { mesh, transaction } from '../support/resources.ts'

const main = fileURLToPath(new URL('../../agent/main.ts', import.meta.url))
const address = '127.41.7.1'

describe('agent/main', () => {
  let folder: string
  let controller: FakeController
  let origin: string
  let children: ChildProcess[]

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weft-main-'))
    controller = new FakeController((stream) => {
      stream.hello()
      stream.say(...transaction('1', true, mesh))
    })
    origin = await controller.listen()
    children = []
  })
  afterEach(async () => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await controller.close()
    await rm(folder, { recursive: true })
  })

  /** Runs the agent; gives its exit code and what it wrote. */
  function run(...more: string[]): {
    child: ChildProcess
    exit: Promise<{ code: number | null; errors: string; out: string }>
  } {
    const given = ['--node', 'n', '--pod', 'p', '--address', address, '--controller', origin, '--state-dir', folder]
    const drain = ['--drain-quiet', '100ms', '--drain-minimum', '200ms', '--drain-deadline', '2s']
    const child = spawn(process.execPath, [main, ...given, '--admin-address', address, ...drain, ...more])
    children.push(child)
    let errors = ''
    let out = ''
    child.stderr.setEncoding('utf8').on('data', (part: string) => {
      errors += part
    })
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      out += part
    })
    const exit = once(child, 'close').then(([code]) => ({ code: code as number | null, errors, out }))
    return { child, exit }
  }

  async function ready(): Promise<void> {
    for (;;) {
      const response = await fetch(`http://${address}:15020/readyz`).catch(() => null)
      if (response?.ok) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  it('gets ready, serves, drains on SIGTERM and ends with 0', async () => {
    const { child, exit } = run()
    await ready()
    await controller.until(() => controller.reports.length > 0)
    const refused = await fetch(`http://${address}:15001/`)
    expect([refused.status, refused.headers.get('x-weft-error')]).to.deep.equal([404, 'no_route'])
    child.kill('SIGTERM')
    const { code, errors } = await exit
    expect(code, errors).to.equal(0)
    const messages = errors
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).msg)
    expect(messages).to.include.members(['agent starts', 'ready', 'draining', 'ended'])
  })

  it('ends at once on a second signal', async () => {
    const { child, exit } = run('--drain-minimum', '60s', '--drain-deadline', '90s')
    await ready()
    child.kill('SIGTERM')
    while ((await fetch(`http://${address}:15020/readyz`)).ok) await new Promise(setImmediate)
    child.kill('SIGTERM')
    const { code, errors } = await exit
    expect(code).to.equal(1)
    expect(errors).to.match(/second signal: ended at once/)
  })

  it('says in one line what is wrong with its options, exit code 64', async () => {
    const { code, errors } = await run('--idle-timeout', '5').exit
    expect(code).to.equal(64)
    expect(errors).to.equal("--idle-timeout: '5' is not a duration such as 250ms, 10s, 5m or 1h\n")
  })

  it('prints its help on standard output, exit code 0', async () => {
    const { code, out, errors } = await run('--help').exit
    expect([code, errors]).to.deep.equal([0, ''])
    expect(out).to.match(/^Usage: weft-agent/)
  })

  it('says in one line which port is taken, exit code 1', async () => {
    const other = createServer().listen(15_020, address)
    await once(other, 'listening')
    const { code, errors } = await run('--log-level', 'error').exit
    other.close()
    expect(code).to.equal(1)
    expect(errors).to.equal(`weft-agent: listen EADDRINUSE: address already in use ${address}:15020\n`)
  })
})
