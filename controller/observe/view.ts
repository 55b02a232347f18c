// Immutable views of many objects by key. A view and its successor share all shards in which nothing changed, so that making
// the successor, and telling what is different in it, costs what the change costs and not what the cluster does.

const shardCount = 256
/** Of a key only its end is looked at: names differ there. */
const hashedLength = 12

export function shardOf(key: string): number {
  let hash = key.length
  for (let at = Math.max(0, key.length - hashedLength); at < key.length; at++) {
    hash = (hash * 31 + key.charCodeAt(at)) | 0
  }
  return hash & (shardCount - 1)
}

/** Objects by key, which never change. */
export class View<T> implements ReadonlyMap<string, T> {
  readonly shards: readonly ReadonlyMap<string, T>[]
  readonly size: number

  constructor(shards: readonly ReadonlyMap<string, T>[], size: number) {
    this.shards = shards
    this.size = size
  }

  get(key: string): T | undefined {
    return this.shards[shardOf(key)]!.get(key)
  }

  has(key: string): boolean {
    return this.shards[shardOf(key)]!.has(key)
  }

  forEach(callback: (value: T, key: string, map: ReadonlyMap<string, T>) => void): void {
    for (const [key, value] of this) callback(value, key, this)
  }

  *entries(): MapIterator<[string, T]> {
    for (const shard of this.shards) yield* shard
  }

  *keys(): MapIterator<string> {
    for (const shard of this.shards) yield* shard.keys()
  }

  *values(): MapIterator<T> {
    for (const shard of this.shards) yield* shard.values()
  }

  [Symbol.iterator](): MapIterator<[string, T]> {
    return this.entries()
  }
}

/** What changes, and gives views of what it is at the moment. */
export class Shelf<T> {
  readonly #shards: Map<string, T>[] = Array.from({ length: shardCount }, () => new Map())
  /** Shards that no view has. */
  readonly #isOwn = new Uint8Array(shardCount).fill(1)
  #size = 0
  #view: View<T> | null = null

  get size(): number {
    return this.#size
  }

  get(key: string): T | undefined {
    return this.#shards[shardOf(key)]!.get(key)
  }

  keys(): Iterable<string> {
    return this.view().keys()
  }

  set(key: string, value: T): void {
    const shard = this.#writable(shardOf(key))
    const before = shard.size
    shard.set(key, value)
    this.#size += shard.size - before
  }

  /** @returns whether it was there */
  delete(key: string): boolean {
    const index = shardOf(key)
    if (!this.#shards[index]!.has(key)) return false
    this.#writable(index).delete(key)
    this.#size--
    return true
  }

  /** The same view until something changes. */
  view(): View<T> {
    if (this.#view !== null) return this.#view
    this.#isOwn.fill(0)
    this.#view = new View([...this.#shards], this.#size)
    return this.#view
  }

  #writable(index: number): Map<string, T> {
    this.#view = null
    if (this.#isOwn[index] === 0) {
      this.#shards[index] = new Map(this.#shards[index])
      this.#isOwn[index] = 1
    }
    return this.#shards[index]!
  }
}

/** The keys under which there is something else, or nothing any more, or something for the first time. */
export function keysChanged<T>(before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>): string[] {
  const keys: string[] = []
  if (before === after) return keys
  if (before instanceof View && after instanceof View) {
    for (let at = 0; at < shardCount; at++) compare(before.shards[at]!, after.shards[at]!, keys)
  } else compare(before, after, keys)
  return keys
}

function compare<T>(before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>, keys: string[]): void {
  if (before === after) return
  for (const [key, value] of after) if (before.get(key) !== value) keys.push(key)
  for (const key of before.keys()) if (!after.has(key)) keys.push(key)
}
