// A frame: a set of encoded resources at one moment, and what changed from one frame to another, encoded once for all
// agents that need it. Frames are immutable; equal content is the same frame.

import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip as gzipCallback } from 'node:zlib'
import type { ResourceKind } from '../contract/resources.ts'
import type { Encoded } from '../translate/translate.ts'

const gzip = promisify(gzipCallback)

export interface Frame {
  /** A hash of the content: equal in every replica that sees the same world. */
  readonly version: string
  /** By `kind name`. */
  readonly lines: ReadonlyMap<string, Encoded>
}

/** The lines between `begin` and `commit` that lead from one frame to another. */
export interface Batch {
  /** Number of lines. */
  count: number
  plain: Buffer
  /** The same as a gzip member of its own: members may follow each other in one stream (RFC 1952 section 2.2). */
  gzip: Promise<Buffer>
}

export const emptyFrame: Frame = makeFrame([])

/** Makes a frame; the order of the resources does not matter. */
export function makeFrame(resources: readonly Encoded[]): Frame {
  const lines = new Map(resources.map((each) => [`${each.resource.kind} ${each.resource.name}`, each]))
  const hash = createHash('sha256')
  for (const id of [...lines.keys()].sort()) hash.update(`${id} ${lines.get(id)!.hash}\n`)
  return { version: hash.digest('hex').slice(0, 16), lines }
}

/** One version for two frames together. */
export function joinVersions(common: Frame, node: Frame): string {
  return createHash('sha256').update(`${common.version} ${node.version}`).digest('hex').slice(0, 16)
}

/** Batches by target frame and origin; both are held weakly, so that what nobody needs any more goes. */
const batches = new WeakMap<Frame, WeakMap<Frame, Batch>>()

/**
 * What leads from one frame to another; from the empty frame: everything. The same Batch for the same frames.
 */
export function batchBetween(from: Frame, to: Frame): Batch {
  const known = batches.get(to) ?? new WeakMap<Frame, Batch>()
  batches.set(to, known)
  const batch = known.get(from) ?? makeBatch(from, to)
  known.set(from, batch)
  return batch
}

function makeBatch(from: Frame, to: Frame): Batch {
  const lines: string[] = []
  for (const [id, { text, hash }] of to.lines) {
    if (from.lines.get(id)?.hash !== hash) lines.push(`{"type":"set","resource":${text}}\n`)
  }
  for (const [id, { resource }] of from.lines) {
    if (!to.lines.has(id)) lines.push(removal(resource.kind, resource.name))
  }
  const plain = Buffer.from(lines.join(''))
  let packed: Promise<Buffer> | null = null
  return {
    count: lines.length,
    plain,
    get gzip() {
      packed ??= lines.length === 0 ? Promise.resolve(plain) : gzip(plain, { level: 4 })
      return packed
    },
  }
}

function removal(kind: ResourceKind, name: string): string {
  return `${JSON.stringify({ type: 'remove', kind, name })}\n`
}
