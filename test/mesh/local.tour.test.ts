// What `npm start` prints is pasted here as a newcomer would, by a shell, with curl and kubectl where the machine has them.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { which } from '../../scripts/bench/process.ts'
import { root } from '../../scripts/local/environment.ts'
import { until } from '../support/until.ts'

/** No other suite uses these addresses; the process makes a difference for two runs on one machine. */
const offset = 51 - (process.pid % 6)
const run = promisify(execFile)

describe('mesh: the tour that npm start prints', function () {
  this.timeout(90_000)
  let folder: string
  let child: ChildProcess
  let output = ''

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weft-tour-'))
    const args = ['--folder', folder, '--offset', String(offset), '--port', '0', '--quiet']
    child = spawn(process.execPath, [join(root, 'scripts/local/launch.js'), ...args], { cwd: root })
    let errors = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    const isOver = () => output.includes('/metrics') || child.exitCode !== null
    await until(isOver, () => `the guide (${errors})`, 80_000)
    expect(errors).to.equal('')
  })
  after(async () => {
    const exited = once(child, 'exit')
    child.kill('SIGINT')
    await exited
    rmSync(folder, { recursive: true, force: true })
  })

  /** The printed lines that hold a text. */
  function printed(part: string): string[] {
    const lines = output.split('\n').filter((line) => line.includes(part))
    expect(lines, part).to.not.have.lengthOf(0)
    return lines
  }

  async function paste(line: string): Promise<string> {
    const setup = printed('export KUBECONFIG=')[0]
    const { stdout } = await run('/bin/sh', ['-c', `${setup}\n${line}`], { cwd: root })
    return stdout
  }

  /** The version of reviews that the page's own request gets. */
  async function version(): Promise<string> {
    const [page] = printed('http://127.').filter((line) => line.startsWith('http://'))
    const { value } = (await (await fetch(`${page}api/reviews`)).json()) as { value?: { version: string } }
    return value?.version ?? 'none'
  }

  it('shows the page', async () => {
    const [page] = printed('http://127.').filter((line) => line.startsWith('http://'))
    expect(await (await fetch(page!)).text()).to.include('The Loom and the Lighthouse')
  })

  it('calls through the mesh, by alias and as HTTP proxy', async function () {
    if (which('curl') === null) this.skip()
    const lines = printed('curl -i')
    expect(lines).to.have.lengthOf(2)
    for (const line of lines) {
      const answer = await paste(line)
      expect(answer).to.match(/^HTTP\/1\.1 200 OK\r\n/)
      expect(answer).to.match(/"version":"v1"/)
    }
    const metrics = () => paste(printed('/metrics')[0]!)
    await until(async () => /^weft_requests_total\{/m.test(await metrics()), 'requests in the metrics')
  })

  it('moves traffic, scales and deletes pods with kubectl', async function () {
    if (which('kubectl') === null) this.skip()
    expect(await paste('kubectl get pods -A -o wide')).to.match(/weft-agent-\w+ +1\/1 +Running/)
    const [canary, all] = printed('kubectl apply')
    expect(await paste(canary!)).to.equal('trafficsplit.split.smi-spec.io/reviews configured\n')
    await until(async () => (await version()) === 'v2', 'a request to the canary', 20_000)
    await paste(all!)
    await until(async () => {
      const versions = await Promise.all(Array.from({ length: 5 }, version))
      return versions.every((one) => one === 'v2')
    }, 'v2 alone')
    expect(await paste(printed('kubectl -n shop scale')[0]!)).to.match(/reviews-v2 scaled/)
    expect(await paste('kubectl -n shop rollout status deployment reviews-v2 --timeout 30s')).to.match(/successfully/)
    expect(await paste(printed('kubectl -n shop delete pod')[0]!)).to.match(/^pod "reviews-v1-\w+-\w+" deleted/)
    await paste(printed('delete trafficsplit')[0]!)
    const seen = new Set<string>()
    await until(async () => seen.add(await version()).size === 3, 'all three versions')
  })
})
