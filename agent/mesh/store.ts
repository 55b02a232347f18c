// Control thread: the resources in force and those the controller wants, as the lines they came in. A transaction becomes
// a change relative to what is in force, so that data threads parse what is new and nothing else, also after a full one.

import type { Commit, Message } from '../../controller/contract/messages.ts'
import type { Resource, ResourceKind } from '../../controller/contract/resources.ts'
import { CheckError } from './check.ts'
import { problemOf, readMessage } from './schema.ts'
import { Draft, noShards, type Shards } from './shards.ts'

/** What the control thread hands to the data threads. */
export interface Change {
  readonly version: string
  /** NDJSON of `set` and `remove` lines; shared memory. */
  readonly bytes: Uint8Array
  /** Lines in it. */
  readonly count: number
}

/** A transaction, complete. `problems` by resource: refused if there is any. */
export interface Wanted {
  readonly version: string
  /** The line of each resource by `kind name`; no kind has a space in it. */
  readonly lines: Shards<string>
  readonly problems: ReadonlyMap<string, string>
}

function keyOf(kind: ResourceKind, name: string): string {
  return `${kind} ${name}`
}

/** A `set` or `remove` of a transaction that is not complete: no more than is kept of it. */
export interface Item {
  readonly key: string
  /** The message as it came; null: the resource goes. */
  readonly line: string | null
  /** What is wrong with the resource. */
  readonly problem: string | null
}

/**
 * Reads a message within a transaction.
 * @param line the message as it came
 * @throws CheckError if it has no place there
 */
export function readItem(message: Message, line: string): Item {
  if (message.type === 'set') {
    const { kind, name } = message.resource
    return { key: keyOf(kind, name), line, problem: problemOf(message.resource) }
  }
  if (message.type === 'remove') return { key: keyOf(message.kind, message.name), line: null, problem: null }
  throw new CheckError(`${message.type} within a transaction`)
}

/** Reads the messages between `begin` and `commit` into what the controller wants from then on. */
export class Reader {
  readonly #version: string
  readonly #lines: Draft<string>
  readonly #problems: Map<string, string>
  #count = 0

  /** @param base what the controller wanted before; null for a full transaction */
  constructor(version: string, base: Wanted | null) {
    this.#version = version
    this.#lines = new Draft(base?.lines ?? noShards<string>())
    this.#problems = new Map(base?.problems)
  }

  /** Takes a message: see readItem. */
  take(message: Message, line: string): void {
    this.add(readItem(message, line))
  }

  add({ key, line, problem }: Item): void {
    this.#count++
    if (line === null) this.#lines.delete(key)
    else this.#lines.set(key, line)
    if (problem === null) this.#problems.delete(key)
    else this.#problems.set(key, problem)
  }

  /** @throws CheckError if the transaction is not whole */
  finish(commit: Commit): Wanted {
    if (commit.version !== this.#version) {
      throw new CheckError(`transaction began as version ${this.#version} and ends as ${commit.version}`)
    }
    if (commit.count !== this.#count) {
      throw new CheckError(`transaction ${commit.version} announces ${commit.count} changes and has ${this.#count}`)
    }
    return { version: this.#version, lines: this.#lines.done(), problems: this.#problems }
  }
}

/** Nothing at all: what an agent without a snapshot has, and its first change is relative to. */
export const nothing: Wanted = { version: '', lines: noShards(), problems: new Map() }

/** Why a transaction can't be applied, naming the first resources at fault; null if it can. */
export function refusalOf(wanted: Wanted): string | null {
  if (!wanted.lines.has(keyOf('mesh', 'mesh'))) return 'mesh mesh: is missing'
  if (wanted.problems.size === 0) return null
  const shown = [...wanted.problems.values()].slice(0, 3).join('; ')
  return wanted.problems.size > 3 ? `${shown}; and ${wanted.problems.size - 3} more` : shown
}

/** What leads from one set of resources to the other. */
export function changeBetween(from: Wanted, to: Wanted): Change {
  const keys = to.lines.changedFrom(from.lines)
  const set = keys.map((key) => to.lines.get(key)).filter((line) => line !== undefined)
  const lines = [...set, ...keys.filter((key) => !to.lines.has(key)).map(removal)]
  return { version: to.version, bytes: share(lines), count: lines.length }
}

function removal(key: string): string {
  const space = key.indexOf(' ')
  return JSON.stringify({ type: 'remove', kind: key.slice(0, space), name: key.slice(space + 1) })
}

/** One copy for all threads, without a text of all lines in between. */
function share(lines: readonly string[]): Uint8Array {
  const size = lines.reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0)
  const bytes = new Uint8Array(new SharedArrayBuffer(Math.max(0, size - 1)))
  const buffer = Buffer.from(bytes.buffer, 0, bytes.length)
  let at = 0
  for (const line of lines) {
    if (at > 0) buffer[at++] = lineFeed
    at += buffer.write(line, at)
  }
  return bytes
}

const lineFeed = 10

/** A resource by kind and name, parsed anew at each call; null if there is none. */
export function resourceIn<K extends ResourceKind>(
  wanted: Wanted,
  kind: K,
  name: string,
): Extract<Resource, { kind: K }> | null {
  const line = wanted.lines.get(keyOf(kind, name))
  if (line === undefined) return null
  const message = readMessage(line)
  return message.type === 'set' && message.resource.kind === kind
    ? (message.resource as Extract<Resource, { kind: K }>)
    : null
}
