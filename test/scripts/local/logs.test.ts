// Logs as kubectl asks for them.

import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import type { LogRequest } from '../../../scripts/local/api/http/serve.ts'
import { logFileOf, readLogs } from '../../../scripts/local/logs.ts'
import { until } from '../../support/until.ts'

describe('local logs', () => {
  let folder: string
  let file: string
  const metadata = { name: 'p', namespace: 'shop', uid: 'u', resourceVersion: '1' }
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [{ name: 'main' }, { name: 'side' }] } }

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-logs-'))
    file = logFileOf(folder, metadata, 'main')
  })
  after(() => rmSync(folder, { recursive: true }))

  const read = (request: Partial<LogRequest> = {}) =>
    readLogs(folder, { pod, container: undefined, follow: false, previous: false, tailLines: undefined, ...request })

  it('gives all of the first container, or of the one that is named', async () => {
    writeFileSync(file, 'one\ntwo\n')
    writeFileSync(logFileOf(folder, metadata, 'side'), 'beside\n')
    expect(await text(read())).to.equal('one\ntwo\n')
    expect(await text(read({ container: 'side' }))).to.equal('beside\n')
    expect(await text(read({ container: 'none' }))).to.equal('')
  })

  it('gives the last lines, across the pieces that it reads in', async () => {
    const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}`)
    writeFileSync(file, `${lines.join('\n')}\n`)
    for (const count of [0, 1, 2, 19_999, 20_000, 30_000]) {
      const wanted = count === 0 ? '' : `${lines.slice(-count).join('\n')}\n`
      expect((await text(read({ tailLines: count }))) === wanted, `${count} lines`).to.equal(true)
    }
    writeFileSync(file, 'one\ntwo')
    expect(await text(read({ tailLines: 1 }))).to.equal('two')
  })

  it('follows what is written, until the reader leaves or the file is gone', async () => {
    writeFileSync(file, 'one\n')
    const stream = read({ follow: true })
    let seen = ''
    stream.on('data', (data) => {
      seen += data
    })
    await until(() => seen === 'one\n')
    appendFileSync(file, 'two\n')
    await until(() => seen === 'one\ntwo\n')
    rmSync(file)
    await until(() => stream.readableEnded)
  })
})
