// A local mesh for a test suite: in a folder of its own, on addresses that nobody else on this machine uses.

import { mkdtempSync, rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StartError } from '../../scripts/local/machine.ts'
import { type LocalMesh, type LocalOptions, startLocalMesh } from '../../scripts/local/mesh.ts'

/** Ranges from here on are not used by tests with fixed addresses. */
const firstOffset = 12
const offsets = 39

/** Shared by the suites of one run: all but the first start sooner. */
let compileCache: string | undefined

/** Starts a mesh; `stop` also removes its folder. */
export async function startTestMesh(options: Partial<LocalOptions> = {}): Promise<LocalMesh> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-mesh-'))
  if (compileCache === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'weft-cache-'))
    process.once('exit', () => rmSync(made, { recursive: true, force: true }))
    compileCache = made
  }
  const remove = () => rm(folder, { recursive: true, force: true })
  try {
    const mesh = await startAnywhere({ nodes: 2, dataThreads: 1, proxyDelayMs: 200, ...options, compileCache, folder })
    return { ...mesh, stop: (graceMs) => mesh.stop(graceMs).finally(remove) }
  } catch (error) {
    await remove()
    throw error
  }
}

async function startAnywhere(options: LocalOptions): Promise<LocalMesh> {
  for (let attempt = 0; ; attempt++) {
    const offset = firstOffset + ((process.pid + attempt) % offsets)
    try {
      return await startLocalMesh({ ...options, offset })
    } catch (error) {
      const isTaken = error instanceof StartError && error.message.startsWith('a local mesh runs')
      if (!isTaken || attempt === offsets) throw error
    }
  }
}
