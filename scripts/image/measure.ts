// Size and digest of a folder, so that two of them can be compared: paths, modes, times and contents; who made it and where
// doesn't matter.

import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** What a folder amounts to. */
export interface Measure {
  /** Of all files. */
  bytes: number
  /** SHA-256 of the list of everything in it. */
  digest: string
}

/** SHA-256 of a file, in hexadecimal digits. */
export function sha256Of(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

/** Each entry of a folder as one line, sorted by path. */
export function entriesOf(top: string): string[] {
  return readdirSync(top, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((path) => {
      const at = join(top, path)
      const { mode, mtimeMs, size } = lstatSync(at)
      const kind = mode & 0o170000
      const content = kind === 0o100000 ? sha256Of(at) : kind === 0o120000 ? readlinkSync(at) : ''
      return `${path} ${mode.toString(8)} ${mtimeMs / 1000} ${kind === 0o100000 ? size : 0} ${content}`
    })
}

/** Measures a folder. */
export function measure(top: string): Measure {
  const entries = entriesOf(top)
  const bytes = entries.reduce((sum, entry) => sum + Number(entry.split(' ').at(-2)), 0)
  return { bytes, digest: createHash('sha256').update(entries.join('\n')).digest('hex') }
}
