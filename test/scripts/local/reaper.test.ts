// Nothing outlives its parent, however that ends.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { root } from '../../../scripts/local/environment.ts'
import { until } from '../../support/until.ts'

/** Starts a process that has a reaper and two sleeping children, of which one is struck off the list again. */
async function parent(folder: string) {
  const script = `
    import { startReaper } from ${JSON.stringify(join(root, 'scripts/local/reaper.ts'))}
    import { spawn } from 'node:child_process'
    const reaper = startReaper([${JSON.stringify(folder)}])
    const [held, released] = [1, 2].map(() => spawn('sleep', ['600'], { detached: true, stdio: 'ignore' }).pid)
    reaper.add(held)
    reaper.add(released)
    reaper.remove(released)
    console.log(JSON.stringify([held, released]))
    process.on('SIGTERM', () => reaper.close().then(() => process.exit(0)))
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(child.stdout, 'data')
  const [held, released] = JSON.parse(String(line)) as [number, number]
  return { child, held, released }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('local reaper', () => {
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    it(`ends what its parent leaves behind after ${signal}, and removes its folders`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'weft-reaper-'))
      const { child, held, released } = await parent(folder)
      expect(isRunning(held)).to.equal(true)
      child.kill(signal)
      await until(() => !isRunning(held) && !existsSync(folder), 'the end of the child and its folder')
      expect(isRunning(released), 'one that was struck off').to.equal(true)
      process.kill(released, 'SIGKILL')
    })
  }
})
