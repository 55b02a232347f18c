// Control thread: the resources in force and those the controller wants, as the lines they came in. A transaction becomes
// a change relative to what is in force, so that data threads parse what is new and nothing else, also after a full one.

import type { Commit, Message } from '../../controller/contract/messages.ts'
import type { Resource, ResourceKind } from '../../controller/contract/resources.ts'
import { CheckError } from './check.ts'
import { problemOf, readMessage } from './schema.ts'

/** What the control thread hands to the data threads. */
export interface Change {
  readonly version: string
  /** NDJSON of `set` and `remove` lines; shared memory. */
  readonly bytes: Uint8Array
  /** Lines in it. */
  readonly count: number
}

/** The line of each resource by `kind name`; no kind has a space in it. */
type Lines = ReadonlyMap<string, string>

/** A transaction, complete. `problems` by resource: refused if there is any. */
export interface Wanted {
  readonly version: string
  readonly lines: Lines
  readonly problems: ReadonlyMap<string, string>
}

function keyOf(kind: ResourceKind, name: string): string {
  return `${kind} ${name}`
}

/** Reads the messages between `begin` and `commit` into what the controller wants from then on. */
export class Reader {
  readonly #version: string
  readonly #lines: Map<string, string>
  readonly #problems: Map<string, string>
  #count = 0

  /** @param base what the controller wanted before; null for a full transaction */
  constructor(version: string, base: Wanted | null) {
    this.#version = version
    this.#lines = new Map(base?.lines)
    this.#problems = new Map(base?.problems)
  }

  /**
   * Takes a `set` or `remove`.
   * @param line the message as it came
   * @throws CheckError if the message has no place in a transaction
   */
  take(message: Message, line: string): void {
    this.#count++
    if (message.type === 'set') {
      const key = keyOf(message.resource.kind, message.resource.name)
      const problem = problemOf(message.resource)
      this.#lines.set(key, line)
      if (problem === null) this.#problems.delete(key)
      else this.#problems.set(key, problem)
    } else if (message.type === 'remove') {
      const key = keyOf(message.kind, message.name)
      this.#lines.delete(key)
      this.#problems.delete(key)
    } else throw new CheckError(`${message.type} within a transaction`)
  }

  /** @throws CheckError if the transaction is not whole */
  finish(commit: Commit): Wanted {
    if (commit.version !== this.#version) {
      throw new CheckError(`transaction began as version ${this.#version} and ends as ${commit.version}`)
    }
    if (commit.count !== this.#count) {
      throw new CheckError(`transaction ${commit.version} announces ${commit.count} changes and has ${this.#count}`)
    }
    return { version: this.#version, lines: this.#lines, problems: this.#problems }
  }
}

/** Nothing at all: what an agent without a snapshot has, and its first change is relative to. */
export const nothing: Wanted = { version: '', lines: new Map(), problems: new Map() }

/** Why a transaction can't be applied, naming the first resources at fault; null if it can. */
export function refusalOf(wanted: Wanted): string | null {
  if (!wanted.lines.has(keyOf('mesh', 'mesh'))) return 'mesh mesh: is missing'
  if (wanted.problems.size === 0) return null
  const shown = [...wanted.problems.values()].slice(0, 3).join('; ')
  return wanted.problems.size > 3 ? `${shown}; and ${wanted.problems.size - 3} more` : shown
}

/** What leads from one set of resources to the other. */
export function changeBetween(from: Wanted, to: Wanted): Change {
  const lines: string[] = []
  for (const [key, line] of to.lines) if (from.lines.get(key) !== line) lines.push(line)
  for (const key of from.lines.keys()) {
    if (to.lines.has(key)) continue
    const space = key.indexOf(' ')
    lines.push(JSON.stringify({ type: 'remove', kind: key.slice(0, space), name: key.slice(space + 1) }))
  }
  return { version: to.version, bytes: share(lines.join('\n')), count: lines.length }
}

/** One copy for all threads. */
function share(joined: string): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(Buffer.byteLength(joined)))
  Buffer.from(bytes.buffer, 0, bytes.length).write(joined)
  return bytes
}

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
