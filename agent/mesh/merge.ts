// First half of a new snapshot: the controller's resources as they are after a change, before anything is made of them
// (apply.ts).

import type { Remove, Set as SetMessage } from '../../controller/contract/messages.ts'
import type { Resource, ResourceKind } from '../../controller/contract/resources.ts'
import { Draft, type Shards } from './shards.ts'

/** All resources, as they came. */
export type Raw = { readonly [K in ResourceKind]: Shards<Extract<Resource, { kind: K }>> }

/** Names of what a change sets or removes. */
export type Touched = Record<ResourceKind, Set<string>>

/**
 * The raw resources after a change; maps of kinds that it doesn't touch stay the same objects.
 * @param change NDJSON of validated `set` and `remove` messages
 * @throws SyntaxError if a line is no JSON
 */
export function* mergeChange(before: Raw, change: Uint8Array): Generator<void, { raw: Raw; touched: Touched }> {
  const kinds = Object.keys(before) as ResourceKind[]
  const touched = Object.fromEntries(kinds.map((kind) => [kind, new Set<string>()])) as Touched
  const drafts = Object.fromEntries(kinds.map((kind) => [kind, new Draft<Resource>(before[kind])]))
  const words = new Map<string, string>()
  for (const line of linesOf(change)) {
    const message = JSON.parse(line) as SetMessage | Remove
    const { kind, name } = message.type === 'set' ? message.resource : message
    touched[kind].add(name)
    if (message.type === 'remove') drafts[kind]!.delete(name)
    else drafts[kind]!.set(name, thrifty(message.resource, words))
    yield
  }
  return { raw: Object.fromEntries(kinds.map((kind) => [kind, drafts[kind]!.done()])) as unknown as Raw, touched }
}

/** Endpoints name the same nodes, accounts and workloads again and again: one copy of each will do. */
function thrifty(resource: Resource, words: Map<string, string>): Resource {
  if (resource.kind !== 'endpoints') return resource
  const one = (word: string) => {
    const known = words.get(word)
    if (known === undefined) words.set(word, word)
    return known ?? word
  }
  for (const spec of resource.endpoints) {
    spec.node = one(spec.node)
    spec.account = one(spec.account)
    spec.workload = one(spec.workload)
  }
  return resource
}

const lineFeed = 10

/** Lines one after the other: as text all of them together would be as large as all that they say. */
function* linesOf(change: Uint8Array): Generator<string> {
  const bytes = Buffer.from(change.buffer, change.byteOffset, change.byteLength)
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(lineFeed, start)
    const next = end < 0 ? bytes.length : end
    if (next > start) yield bytes.toString('utf8', start, next)
    start = next + 1
  }
}
