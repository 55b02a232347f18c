// Lets Node compile the mesh's programs before its first pods start, as the image does. Otherwise all of them would compile
// the same code at the same time, and the agents of a first start would be a third larger than those of any later one.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { programs } from '../image/programs.ts'
import { root } from './environment.ts'

/**
 * Resolves when compiled code is there: at once if there was some of this version of Node.
 * @param folder where Node keeps it
 */
export async function warm(folder: string): Promise<void> {
  if (existsSync(folder) && readdirSync(folder).some((name) => name.startsWith(`${process.version}-`))) return
  // As in manifests/base.
  const env = { NODE_COMPILE_CACHE: folder, NODE_COMPILE_CACHE_PORTABLE: '1' }
  // One after the other: they share most of their code. The first is what local mode preloads into all.
  for (const args of [['scripts/local/names.ts'], ...programs]) {
    const child = spawn(process.execPath, [...args], { cwd: root, env, stdio: 'ignore' })
    // A program that doesn't even load will say so in its pod's log.
    await once(child, 'exit')
  }
}
