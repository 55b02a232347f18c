// Three seconds of `npm run soak`: that it runs, checks and ends; ten minutes are for those who ask for them.

import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'

const script = fileURLToPath(new URL('../../../scripts/soak/main.ts', import.meta.url))

describe('npm run soak', () => {
  it('finds no wrong answer and nothing left', async function () {
    this.timeout(60_000)
    const folder = mkdtempSync(join(tmpdir(), 'weft-test-'))
    try {
      const file = join(folder, 'findings.json')
      const flags = ['--minutes', '0.05', '--callers', '6', '--json', file]
      await promisify(execFile)(process.execPath, [script, ...flags]).catch(() => {})
      const findings = JSON.parse(readFileSync(file, 'utf8')) as {
        counts: Record<string, Record<string, number>>
        wrong: string[]
        left: string[]
      }
      expect(findings.wrong).to.deep.equal([])
      expect(findings.left).to.deep.equal([])
      expect(findings.counts['get']?.['ok'] ?? 0).to.be.greaterThan(10)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
