// The image's file system, made twice without a container engine: small, nothing in it that no process needs, and the same
// each time. Needs Linux and a chroot, but no cluster.

import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { entriesOf, measure } from '../../scripts/image/measure.ts'
import type { Lock } from '../../scripts/image/sbom.ts'
import { root } from '../../scripts/local/environment.ts'

describe("the image's file system", function () {
  this.timeout(120_000)
  let folder = ''
  const tops: string[] = []

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-image-'))
    for (const name of ['one', 'two']) {
      const top = join(folder, name)
      execFileSync(join(root, 'scripts/image/rootfs'), [top], { stdio: ['ignore', 'ignore', 'inherit'] })
      tops.push(top)
    }
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('is the same each time it is made', () => {
    const [one, two] = tops.map(entriesOf) as [string[], string[]]
    const known = new Set(one)
    expect(two.filter((entry) => !known.has(entry))).to.deep.equal([])
    expect(measure(tops[0]!).digest).to.equal(measure(tops[1]!).digest)
  })

  it("is the same when made of what the Dockerfile's builder gets", () => {
    const context = join(folder, 'context')
    const lines = readFileSync(join(root, 'scripts/image/Dockerfile.dockerignore'), 'utf8').split('\n')
    for (const path of lines.filter((line) => line.startsWith('!')).map((line) => line.slice(1))) {
      cpSync(join(root, path), join(context, path), { recursive: true })
    }
    symlinkSync(join(root, 'node_modules'), join(context, 'node_modules'))
    const top = join(folder, 'three')
    execFileSync(process.execPath, [join(context, 'scripts/image/folder.ts'), top], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const known = new Set(entriesOf(tops[0]!))
    expect(entriesOf(top).filter((entry) => !known.has(entry))).to.deep.equal([])
    expect(measure(top).digest).to.equal(measure(tops[0]!).digest)
  })

  it('is below 250 MB', () => {
    expect(measure(tops[0]!).bytes / 1e6).to.be.within(150, 250)
  })

  it('has the packages of a production install, all of them and no other', () => {
    const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock
    const at = (path: string) => existsSync(join(tops[0]!, 'app', path, 'package.json'))
    for (const [path, { dev = false }] of Object.entries(packages)) {
      if (path !== '') expect(at(path), path).to.equal(!dev)
    }
  })

  it('has code, and neither tests nor tools', () => {
    const top = tops[0]!
    expect(readdirSync(top).sort()).to.deep.equal(['app', 'etc', 'lib', 'lib64', 'tmp', 'usr'])
    const app = readdirSync(join(top, 'app'))
    expect(app).to.include.members(['.compiled', 'LICENSE', 'agent', 'controller', 'node_modules', 'sbom.cdx.json'])
    for (const name of ['test', 'package-lock.json', 'README.md']) expect(app, name).to.not.include(name)
    const paths = readdirSync(top, { recursive: true, encoding: 'utf8' })
    expect(
      paths.filter((path) => /[._]test\.[cm]?[jt]s$|\.d\.ts$|\.map$|^app\/node_modules\/\.bin/.test(path)),
    ).to.deep.equal([])
    expect(paths.filter((path) => /(^|\/)(sh|bash|busybox|npm|apt|dpkg)$/.test(path))).to.deep.equal([])
    expect(readdirSync(join(top, 'usr/bin'))).to.deep.equal(['node'])
  })

  it('can be read by any user, and written to by none', () => {
    const top = tops[0]!
    for (const path of readdirSync(top, { recursive: true, encoding: 'utf8' })) {
      const { mode } = statSync(join(top, path))
      if (path !== 'tmp') expect(mode & 0o022, `${path} ${mode.toString(8)}`).to.equal(0)
      expect(mode & 0o004, `${path} ${mode.toString(8)}`).to.equal(0o004)
      expect(mode & 0o6000, `${path} is setuid or setgid`).to.equal(0)
    }
  })

  it('starts from its compiled code, whatever the size of the heap', () => {
    const options = { NODE_OPTIONS: '--max-old-space-size-percentage=40', NODE_DEBUG_NATIVE: 'COMPILE_CACHE' }
    const cache = { NODE_COMPILE_CACHE: '/app/.compiled', NODE_COMPILE_CACHE_PORTABLE: '1' }
    const chroot = ['chroot', tops[0]!, '/usr/bin/node', '/app/agent/main.ts', '--help']
    const [command = '', ...args] = process.getuid?.() === 0 ? chroot : ['unshare', '--map-root-user', ...chroot]
    const env = { PATH: process.env['PATH'], ...options, ...cache }
    const { stderr: text } = spawnSync(command, args, { env, encoding: 'utf8', maxBuffer: 1 << 26 })
    expect(text)
      .to.match(/was accepted/)
      .and.not.match(/was rejected/)
  })
})
