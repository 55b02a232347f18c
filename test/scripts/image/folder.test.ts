// What can be said of the image without making it; the suites on a cluster run it.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { programs } from '../../../scripts/image/programs.ts'
import { root } from '../../../scripts/local/environment.ts'

const read = (path: string) => readFileSync(join(root, path), 'utf8')

describe('the image', () => {
  it('is built with the Node that the tests run on', () => {
    const { devDependencies } = JSON.parse(read('package.json')) as { devDependencies: { node: string } }
    expect(read('scripts/image/Dockerfile')).to.include(`ARG NODE=${devDependencies.node}\n`)
  })

  it('runs as the user of the manifests, on nothing but the folder', () => {
    const lines = read('scripts/image/Dockerfile').split('\n')
    const last = lines.slice(lines.findLastIndex((line) => line.startsWith('FROM ')))
    expect(last.filter((line) => /^(FROM|COPY|ADD|RUN|USER|WORKDIR) /.test(line))).to.deep.equal([
      'FROM scratch',
      'COPY --from=build /image/ /',
      'USER 65532:65532',
      'WORKDIR /app',
    ])
    for (const part of ['agent', 'controller']) {
      const manifest = read(`manifests/base/${part}.yaml`)
      expect(manifest).to.include('runAsUser: 65532').and.include('runAsGroup: 65532').and.include('workingDir: /app')
      const cache = 'NODE_COMPILE_CACHE=/app/.compiled NODE_COMPILE_CACHE_PORTABLE=1'
      expect(last.join('\n')).to.include(cache)
      for (const [name, value] of [
        ['NODE_COMPILE_CACHE', '/app/.compiled'],
        ['NODE_COMPILE_CACHE_PORTABLE', '"1"'],
      ]) {
        expect(manifest).to.match(new RegExp(`name: ${name}\\n +value: ${value}\\n`))
      }
    }
  })

  it('lets every program that it compiles end by itself', () => {
    for (const args of programs) execFileSync(process.execPath, args, { cwd: root, timeout: 10_000 })
  })

  it('takes no folder that has something in it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'weft-image-'))
    writeFileSync(join(folder, 'old'), '')
    const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/image/folder.ts'), folder])
    expect(status).to.equal(1)
    expect(stderr.toString()).to.match(/is not empty: name a new folder/)
    rmSync(folder, { recursive: true })
  })
})
