// The snapshot on disk: whole or not at all.

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { CacheWriter, decodeCache, encodeCache, loadCache } from '../../../agent/mesh/cache.ts'
import { Reader, type Wanted } from '../../../agent/mesh/store.ts'
import type { Resource } from '../../../controller/contract/resources.ts'
import { contract } from '../../../controller/contract/version.ts'
import { FakeClock } from '../../support/clock.ts'
import { QuietLog } from '../../support/quiet.ts'
import { mesh, service, workload } from '../../support/resources.ts'

function wanted(version: string, ...resources: Resource[]): Wanted {
  const reader = new Reader(version, null)
  for (const resource of resources) reader.take({ type: 'set', resource }, JSON.stringify({ type: 'set', resource }))
  return reader.finish({ type: 'commit', version, count: resources.length })
}

describe('agent/mesh/cache', () => {
  const snapshot = wanted('7', mesh, service('shop/ä'), workload('10.0.0.1'))
  const file = [...encodeCache('node1', snapshot)].join('')
  let folder: string
  let path: string
  let log: QuietLog

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weft-cache-'))
    path = join(folder, 'snapshot-node1')
    log = new QuietLog()
  })
  afterEach(() => rm(folder, { recursive: true }))

  it('gives back what it was given', () => {
    const read = decodeCache('node1', file)
    expect(read.version).to.equal('7')
    expect([...read.lines]).to.deep.equal([...snapshot.lines])
  })

  it('is refused when cut at any place', () => {
    for (let end = 0; end < file.length; end++) {
      expect(() => decodeCache('node1', file.slice(0, end)), `cut at ${end}`).to.throw()
    }
  })

  it('is refused when any byte of it is another', () => {
    for (let at = 0; at < file.length; at += 11) {
      const bent = `${file.slice(0, at)}${file[at] === '7' ? '8' : '7'}${file.slice(at + 1)}`
      // A version is only a name: it is the one thing that nothing else depends on.
      if (bent.startsWith(file.slice(0, file.indexOf('"version"')))) {
        const isVersion = at > file.indexOf('"version"') && at < file.indexOf('"count"')
        if (isVersion) continue
      }
      expect(() => decodeCache('node1', bent), `byte ${at}`).to.throw()
    }
  })

  it('is refused for another node, another contract, and resources that are not valid', () => {
    expect(() => decodeCache('node2', file)).to.throw('it belongs to node node1')
    expect(() => decodeCache('node1', file.replace(/"contract":\d+/, '"contract":99'))).to.throw(
      `its contract version is 99, known are ${contract.oldest} to ${contract.newest}`,
    )
    const invalid = [...encodeCache('node1', wanted('7', mesh, service('shop/bad', { uid: '' })))].join('')
    expect(() => decodeCache('node1', invalid)).to.throw('service shop/bad: uid is ""')
  })

  it('loads null where there is none, and logs why a bad one is not used', async () => {
    expect(await loadCache(path, 'node1', log)).to.equal(null)
    expect(log.entries).to.deep.equal([])
    await writeFile(path, file.slice(0, -20))
    expect(await loadCache(path, 'node1', log)).to.equal(null)
    expect(log.entries[0]!.fields['error']).to.match(/truncated or garbled/)
  })

  it('writes behind, the latest only, by replacing the file', async () => {
    const clock = new FakeClock()
    const writer = new CacheWriter(path, 'node1', clock, log)
    writer.save(wanted('1', mesh))
    writer.save(snapshot)
    expect(await readdir(folder)).to.deep.equal([])
    clock.tick(500)
    await writer.flush()
    expect((await loadCache(path, 'node1', log))?.version).to.equal('7')
    expect(await readdir(folder)).to.deep.equal(['snapshot-node1'])
    writer.save(wanted('8', mesh))
    await writer.flush()
    expect(await readFile(path, 'utf8')).to.contain('"version":"8"')
  })

  it('goes on without a disk', async () => {
    const writer = new CacheWriter(join(folder, 'none', 'file'), 'node1', new FakeClock(), log)
    writer.save(snapshot)
    await writer.flush()
    expect(log.messages('warn')).to.have.length(1)
  })
})
