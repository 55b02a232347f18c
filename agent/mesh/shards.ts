// Maps that never change, and share with their successors all in which nothing changed: the next snapshot of a large mesh
// costs what the change costs, and exchanges under way keep the one that they began with.

const shardCount = 256
/** Of a key only its end is looked at: names differ there. */
const hashedLength = 12

function shardOf(key: string): number {
  let hash = key.length
  for (let at = Math.max(0, key.length - hashedLength); at < key.length; at++) {
    hash = (hash * 31 + key.charCodeAt(at)) | 0
  }
  return hash & (shardCount - 1)
}

type Shard<V> = ReadonlyMap<string, V>

const emptyShard: Shard<never> = new Map<string, never>()

/** A map by text. */
export class Shards<V> implements ReadonlyMap<string, V> {
  readonly shards: readonly Shard<V>[]
  readonly size: number

  constructor(shards: readonly Shard<V>[], size: number) {
    this.shards = shards
    this.size = size
  }

  get(key: string): V | undefined {
    return this.shards[shardOf(key)]!.get(key)
  }

  has(key: string): boolean {
    return this.shards[shardOf(key)]!.has(key)
  }

  forEach(callback: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this) callback(value, key, this)
  }

  *entries(): MapIterator<[string, V]> {
    for (const shard of this.shards) yield* shard
  }

  *keys(): MapIterator<string> {
    for (const shard of this.shards) yield* shard.keys()
  }

  *values(): MapIterator<V> {
    for (const shard of this.shards) yield* shard.values()
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }

  /** The keys under which this map has something else than another, or nothing. */
  changedFrom(before: Shards<V>): string[] {
    const keys: string[] = []
    for (let at = 0; at < shardCount; at++) {
      const [old, next] = [before.shards[at]!, this.shards[at]!]
      if (old === next) continue
      for (const [key, value] of next) if (old.get(key) !== value) keys.push(key)
      for (const key of old.keys()) if (!next.has(key)) keys.push(key)
    }
    return keys
  }
}

const nothing: Shards<never> = new Shards(Array<Shard<never>>(shardCount).fill(emptyShard), 0)

/** A map without anything in it. */
export function noShards<V>(): Shards<V> {
  return nothing
}

/** A successor of a map while it is being made. */
export class Draft<V> {
  readonly #from: Shards<V>
  readonly #own: (Map<string, V> | undefined)[] = []
  #size: number

  constructor(from: Shards<V>) {
    this.#from = from
    this.#size = from.size
  }

  get(key: string): V | undefined {
    return this.#reading(shardOf(key)).get(key)
  }

  has(key: string): boolean {
    return this.#reading(shardOf(key)).has(key)
  }

  set(key: string, value: V): void {
    const shard = this.#writing(shardOf(key))
    const before = shard.size
    shard.set(key, value)
    this.#size += shard.size - before
  }

  delete(key: string): void {
    const at = shardOf(key)
    if (this.#reading(at).has(key) && this.#writing(at).delete(key)) this.#size--
  }

  /** What has become of it: the map that it was drafted from, if nothing was changed. Nothing may be changed after that. */
  done(): Shards<V> {
    if (this.#own.length === 0) return this.#from
    return new Shards(
      this.#from.shards.map((shard, at) => this.#own[at] ?? shard),
      this.#size,
    )
  }

  #reading(at: number): Shard<V> {
    return this.#own[at] ?? this.#from.shards[at]!
  }

  #writing(at: number): Map<string, V> {
    const own = this.#own[at] ?? new Map(this.#from.shards[at])
    this.#own[at] = own
    return own
  }
}
