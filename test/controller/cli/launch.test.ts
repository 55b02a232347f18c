// The launcher: under each of its names, in a node_modules folder, and under a Node that is too old.

import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const launch = join(root, 'controller/cli/launch.js')

describe('the launcher', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-launch-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  const run = (path: string, ...args: string[]) =>
    execFileSync(process.execPath, [path, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

  it('is what package.json installs, and says what people type', () => {
    const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { bin: Record<string, string> }
    expect(bin).to.deep.equal({
      weft: 'controller/cli/launch.js',
      'kubectl-weft': 'controller/cli/launch.js',
      'kubectl_complete-weft': 'controller/cli/launch.js',
    })
    for (const name of Object.keys(bin)) symlinkSync(launch, join(folder, name))
    expect(run(join(folder, 'weft'), 'dns', '--help')).to.match(/^Usage: weft dns /)
    expect(run(join(folder, 'kubectl-weft'), 'dns', '--help')).to.match(/^Usage: kubectl weft dns /)
    expect(run(join(folder, 'kubectl_complete-weft'), 'ca', 'ro')).to.match(/^rotate\t.*\n:4\n$/)
  })

  it('runs from a node_modules folder too', () => {
    const installed = join(folder, 'node_modules', 'weft')
    mkdirSync(installed, { recursive: true })
    cpSync(join(root, 'controller'), join(installed, 'controller'), { recursive: true })
    cpSync(join(root, 'package.json'), join(installed, 'package.json'))
    symlinkSync(join(root, 'node_modules'), join(installed, 'node_modules'))
    const words = [join(installed, 'controller/cli/launch.js'), 'version', '--client', '--short']
    const { stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' })
    expect(stdout).to.match(/^\d+\.\d+\.\d+\n$/)
    // Nothing of experiments of Node's.
    expect(stderr).to.equal('')
  })

  it('says what to do with a Node that is too old', () => {
    const old = `Object.defineProperty(process.versions, 'node', { value: '20.11.0' }); await import(${JSON.stringify(launch)})`
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', old], { encoding: 'utf8' })
    expect(status).to.equal(1)
    expect(stderr).to.match(/^weft: Node 22\.19 or newer is needed and this is 20\.11\.0; .*npm ci/)
  })
})
