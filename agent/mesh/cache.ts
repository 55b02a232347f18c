// The last good snapshot on disk, so that an agent serves while no controller answers. One header line, then the
// resources as they came; used as a whole or not at all.

import { createHash } from 'node:crypto'
import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { contract } from '../../controller/contract/version.ts'
import type { Clock } from '../clock.ts'
import { errorFields, type Log } from '../observe/log.ts'
import { CheckError, count, name, object, oneOf, text } from './check.ts'
import { readMessage } from './schema.ts'
import { Reader, refusalOf, type Wanted } from './store.ts'

interface Header {
  type: 'weft-snapshot'
  contract: number
  node: string
  version: string
  count: number
  /** Of all that follows the header's line feed, hex. */
  sha256: string
}

const header = object<Header>({
  type: oneOf('weft-snapshot'),
  contract: count,
  node: name,
  version: name,
  count,
  sha256: text,
})

function digest(parts: Iterable<string>): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

/** Large enough for few writes, small beside the snapshot of a large mesh. */
const partLength = 256 << 10

/** All lines, a good many at a time: at once they would take as much memory again as the snapshot itself. */
function* bodyOf(wanted: Wanted): Generator<string> {
  let lines: string[] = []
  let length = 0
  for (const line of wanted.lines.values()) {
    lines.push(line, '\n')
    length += line.length + 1
    if (length < partLength) continue
    yield lines.join('')
    lines = []
    length = 0
  }
  yield lines.join('')
}

/** A snapshot as the text of a cache file, in parts. */
export function* encodeCache(node: string, wanted: Wanted): Generator<string> {
  const head: Header = {
    type: 'weft-snapshot',
    contract: contract.newest,
    node,
    version: wanted.version,
    count: wanted.lines.size,
    sha256: digest(bodyOf(wanted)),
  }
  yield `${JSON.stringify(head)}\n`
  yield* bodyOf(wanted)
}

/**
 * Reads what encodeCache wrote.
 * @throws CheckError saying why the file can't be used
 */
export function decodeCache(node: string, file: string): Wanted {
  const end = file.indexOf('\n')
  if (end < 0) throw new CheckError('it has no header')
  let parsed: unknown
  try {
    parsed = JSON.parse(file.slice(0, end))
  } catch {
    throw new CheckError('its header is no JSON')
  }
  header(parsed, '')
  const head = parsed as Header
  if (head.node !== node) throw new CheckError(`it belongs to node ${head.node}`)
  if (head.contract < contract.oldest || head.contract > contract.newest) {
    throw new CheckError(`its contract version is ${head.contract}, known are ${contract.oldest} to ${contract.newest}`)
  }
  const body = file.slice(end + 1)
  if (digest([body]) !== head.sha256) throw new CheckError('its checksum does not fit: it is truncated or garbled')
  const reader = new Reader(head.version, null)
  for (const line of body.split('\n')) if (line !== '') reader.take(readMessage(line), line)
  const wanted = reader.finish({ type: 'commit', version: head.version, count: head.count })
  const refusal = refusalOf(wanted)
  if (refusal !== null) throw new CheckError(refusal)
  return wanted
}

/**
 * Loads the cached snapshot; a file that can't be used is as good as none, but logged.
 * @returns null if there is none
 */
export async function loadCache(path: string, node: string, log: Log): Promise<Wanted | null> {
  try {
    return decodeCache(node, await readFile(path, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    const reason = error instanceof CheckError ? { error: error.message } : errorFields(error)
    log.error({ path, ...reason }, 'the snapshot on disk is refused as a whole')
    return null
  }
}

/** Replaces the file so that a crash at any point leaves the old one or the new one. @returns how long it is now */
async function replaceFile(path: string, parts: Iterable<string>): Promise<number> {
  const temporary = `${path}.tmp`
  const file = await open(temporary, 'w', 0o600)
  let bytes = 0
  try {
    for (const part of parts) bytes += (await file.write(part)).bytesWritten
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
  return bytes
}

/** Changes come in bursts while a Deployment rolls; the disk sees one write for each half second of them … */
const gatherMs = 500
/** … and no more than a megabyte a second, however large the mesh is and however much happens in it. */
const bytesPerMs = 1000
const gatherMaxMs = 60_000

/** Writes snapshots behind, the latest one only. */
export class CacheWriter {
  readonly #path: string
  readonly #node: string
  readonly #clock: Clock
  readonly #log: Log
  #next: Wanted | null = null
  /** Length of the file. */
  #bytes = 0
  #writing: Promise<void> = Promise.resolve()

  constructor(path: string, node: string, clock: Clock, log: Log) {
    this.#path = path
    this.#node = node
    this.#clock = clock
    this.#log = log
  }

  save(wanted: Wanted): void {
    const isWaiting = this.#next !== null
    this.#next = wanted
    const ms = Math.min(gatherMaxMs, Math.max(gatherMs, this.#bytes / bytesPerMs))
    if (!isWaiting) this.#clock.setTimeout(() => void this.flush(), ms).unref()
  }

  /** Writes what waits; resolves when it is on disk. Failures are logged: the agent serves without a copy. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write())
    return this.#writing
  }

  async #write(): Promise<void> {
    const wanted = this.#next
    if (wanted === null) return
    this.#next = null
    try {
      this.#bytes = await replaceFile(this.#path, encodeCache(this.#node, wanted))
    } catch (error) {
      const fields = { path: this.#path, ...errorFields(error) }
      this.#log.warn(fields, 'the snapshot could not be kept on disk; a restart needs the controller')
    }
  }
}
