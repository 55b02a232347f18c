// EndpointSlices by the Service that they belong to, and which Services name an address. Follows the world from one state to
// the next.

import type { Key } from '../contract/resources.ts'
import type { EndpointSlice } from '../observe/objects.ts'
import { keysChanged } from '../observe/view.ts'
import type { World } from '../observe/world.ts'
import { canonicalAddress } from './addresses.ts'
import { labels, toKey } from './names.ts'

const none: readonly EndpointSlice[] = []

export class SliceIndex {
  readonly #groups = new Map<Key, readonly EndpointSlice[]>()
  /** Services that name an address: one as a rule. */
  readonly #users = new Map<string, Key | Set<Key>>()
  #slices: World['slices'] = new Map()

  /** Slices of a Service, sorted by name. */
  of(service: Key): readonly EndpointSlice[] {
    return this.#groups.get(service) ?? none
  }

  /** Services that have an address in a slice, in its one spelling. */
  usersOf(address: string): Iterable<Key> {
    const users = this.#users.get(address)
    return users === undefined ? [] : typeof users === 'string' ? [users] : users
  }

  /** Goes on to another world. @returns Services whose slices are different */
  follow({ slices }: Pick<World, 'slices'>): Set<Key> {
    const before = this.#slices
    this.#slices = slices
    const groups = new Map<Key, EndpointSlice[]>()
    const open = (slice: EndpointSlice): EndpointSlice[] | undefined => {
      const service = serviceOf(slice)
      if (service === null) return undefined
      const group = groups.get(service) ?? [...this.of(service)]
      groups.set(service, group)
      return group
    }
    for (const key of keysChanged(before, slices)) {
      const [old, next] = [before.get(key), slices.get(key)]
      const group = old && open(old)
      if (group) group.splice(group.indexOf(old!), 1)
      if (next) open(next)?.push(next)
    }
    for (const [service, group] of groups) this.#replace(service, group)
    return new Set(groups.keys())
  }

  #replace(service: Key, group: EndpointSlice[]): void {
    const before = addressesOf(this.of(service))
    const after = addressesOf(group)
    if (group.length === 0) this.#groups.delete(service)
    else this.#groups.set(service, group.sort(byName))
    for (const address of before) if (!after.has(address)) this.#drop(address, service)
    for (const address of after) if (!before.has(address)) this.#add(address, service)
  }

  #add(address: string, service: Key): void {
    const users = this.#users.get(address)
    if (users === undefined) this.#users.set(address, service)
    else if (typeof users === 'string') this.#users.set(address, new Set([users, service]))
    else users.add(service)
  }

  #drop(address: string, service: Key): void {
    const users = this.#users.get(address)
    if (typeof users === 'object') users.delete(service)
    if (users === service || (typeof users === 'object' && users.size === 0)) this.#users.delete(address)
  }
}

function serviceOf({ metadata }: EndpointSlice): Key | null {
  const service = metadata.labels?.[labels.sliceOf]
  return service === undefined ? null : toKey(metadata.namespace ?? '', service)
}

function addressesOf(slices: readonly EndpointSlice[]): Set<string> {
  const found = new Set<string>()
  for (const { endpoints } of slices) {
    for (const { addresses } of endpoints ?? []) {
      const address = addresses[0] === undefined ? null : canonicalAddress(addresses[0])
      if (address !== null) found.add(address)
    }
  }
  return found
}

function byName(a: EndpointSlice, b: EndpointSlice): number {
  return a.metadata.name < b.metadata.name ? -1 : 1
}
