// A track: the states of one set of resources, one after the other. It keeps the newest, and which resources changed of
// late; from there follows what leads an agent from whichever state it has to the newest one, encoded once for all of them.

import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip as gzipCallback } from 'node:zlib'
import type { ResourceKind } from '../contract/resources.ts'
import type { Encoded } from '../translate/translate.ts'
import { inContract } from './older.ts'

const gzip = promisify(gzipCallback)

/** A state that an agent was sent. */
export interface Position {
  readonly track: Track
  readonly serial: number
}

/** The lines between `begin` and `commit` that lead to the newest state. */
export interface Batch {
  /** From nothing: what is not in it is to be forgotten. */
  readonly isFull: boolean
  /** Number of lines. */
  readonly count: number
  readonly plain: Buffer
  /** The same as a gzip member of its own: members may follow each other in one stream (RFC 1952 section 2.2). */
  readonly gzip: Promise<Buffer>
  /** The state that it leads to. */
  readonly to: Position
}

export interface Track {
  /** Of the newest state: a hash of its content, equal in every replica that sees the same world. */
  readonly version: string
  /** Grows with each change. */
  readonly serial: number
  /** The newest state, by `kind name`. */
  readonly lines: ReadonlyMap<string, Encoded>
  /** Makes this the newest state; the order does not matter. @returns whether it differs from the one before */
  advance(resources: readonly Encoded[]): boolean
  /**
   * What leads from a position to the newest state, in the words of a contract version. Everything, if there is no position,
   * it is another track's, or so much has changed since that nobody remembers it. The same Batch for the same question.
   */
  since(position: Position | null, contract: number): Batch
  /** Batches encoded so far. */
  readonly encoded: number
}

/**
 * How many changes of single resources are remembered: as many as there are resources, for then a full snapshot is the shorter
 * way, but at least and at most these.
 */
const leastRemembered = 100
const mostRemembered = 20_000

interface Change {
  serial: number
  ids: string[]
}

/** Opens a track, which begins empty. */
export function openTrack(): Track {
  const lines = new Map<string, Encoded>()
  const batches = new Map<string, Batch>()
  const digest = openDigest()
  let history: Change[] = []
  let remembered = 0
  let serial = 0
  let encoded = 0
  let newest: readonly Encoded[] = []

  function advance(resources: readonly Encoded[]): boolean {
    const { came, went } = difference(newest, resources)
    newest = resources
    const names = new Set<string>()
    const ids: string[] = []
    for (const each of came) {
      const id = idOf(each)
      names.add(id)
      if (put(id, each)) ids.push(id)
    }
    for (const each of went) {
      const id = idOf(each)
      if (!names.has(id) && drop(id)) ids.push(id)
    }
    if (ids.length === 0) return false
    serial++
    batches.clear()
    remember(ids)
    return true
  }

  /** @returns whether it is news */
  function put(id: string, next: Encoded): boolean {
    const held = lines.get(id)
    if (held?.hash === next.hash) return false
    if (held !== undefined) digest.remove(id, held.hash)
    digest.add(id, next.hash)
    lines.set(id, next)
    return true
  }

  /** @returns whether it was there */
  function drop(id: string): boolean {
    const held = lines.get(id)
    if (held === undefined) return false
    digest.remove(id, held.hash)
    return lines.delete(id)
  }

  function remember(ids: string[]): void {
    history.push({ serial, ids })
    remembered += ids.length
    const limit = Math.min(mostRemembered, Math.max(leastRemembered, lines.size))
    let from = 0
    while (remembered > limit && from < history.length) remembered -= history[from++]!.ids.length
    if (from > 0) history = history.slice(from)
  }

  /** The resources that changed after a state; null: more than is remembered. */
  function changedSince(from: number): Iterable<string> | null {
    if (from === serial) return []
    if (history.length === 0 || history[0]!.serial > from + 1) return null
    return new Set(history.slice(from + 1 - history[0]!.serial).flatMap(({ ids }) => ids))
  }

  function since(position: Position | null, contract: number): Batch {
    const changed = position?.track === track ? changedSince(position.serial) : null
    const key = `${contract} ${changed === null ? '' : position?.serial}`
    const known = batches.get(key)
    if (known !== undefined) return known
    encoded++
    const batch = makeBatch(changed, contract)
    batches.set(key, batch)
    return batch
  }

  function makeBatch(changed: Iterable<string> | null, contract: number): Batch {
    const parts: string[] = []
    for (const id of changed ?? lines.keys()) {
      const held = lines.get(id)
      const text = held === undefined ? null : inContract(held, contract)
      if (text !== null) parts.push(`{"type":"set","resource":${text}}\n`)
      else if (changed !== null) parts.push(removal(id))
    }
    const plain = Buffer.from(parts.join(''))
    let packed: Promise<Buffer> | null = null
    return {
      isFull: changed === null,
      count: parts.length,
      plain,
      get gzip() {
        packed ??= parts.length === 0 ? Promise.resolve(plain) : gzip(plain, { level: 4 })
        return packed
      },
      to: { track, serial },
    }
  }

  const track: Track = {
    get version() {
      return digest.text()
    },
    get serial() {
      return serial
    },
    lines,
    advance,
    since,
    get encoded() {
      return encoded
    },
  }
  return track
}

/** One version for two tracks together. */
export function joinVersions(common: Track, node: Track): string {
  return createHash('sha256').update(`${common.version} ${node.version}`).digest('hex').slice(0, 16)
}

/**
 * What is in one list and not in the other. Nearly all of a large list is the very same objects in the same order, and costs a
 * glance.
 */
function difference(before: readonly Encoded[], after: readonly Encoded[]): { came: Encoded[]; went: Encoded[] } {
  let start = 0
  while (start < before.length && before[start] === after[start]) start++
  let tail = 0
  const longest = Math.min(before.length, after.length) - start
  while (tail < longest && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++
  const old = before.slice(start, before.length - tail)
  const next = after.slice(start, after.length - tail)
  const [olds, nexts] = [new Set(old), new Set(next)]
  return { came: next.filter((each) => !olds.has(each)), went: old.filter((each) => !nexts.has(each)) }
}

function idOf({ resource }: Encoded): string {
  return `${resource.kind} ${resource.name}`
}

function removal(id: string): string {
  const space = id.indexOf(' ')
  const kind = id.slice(0, space) as ResourceKind
  return `${JSON.stringify({ type: 'remove', kind, name: id.slice(space + 1) })}\n`
}

/** A hash of a set that follows its changes without looking at the rest: the sum of its members' hashes. */
function openDigest() {
  let sum = 0n
  const term = (id: string, hash: string) => BigInt(`0x${createHash('sha256').update(`${id} ${hash}`).digest('hex')}`)
  return {
    add(id: string, hash: string): void {
      sum = BigInt.asUintN(256, sum + term(id, hash))
    },
    remove(id: string, hash: string): void {
      sum = BigInt.asUintN(256, sum - term(id, hash))
    },
    text: () => sum.toString(16).padStart(64, '0').slice(0, 16),
  }
}
