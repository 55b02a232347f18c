// Which Services looked at what else while they were read: who has to be read again when that changes.

import type { Key } from '../contract/resources.ts'

/** Which Services looked at something else. */
export class Relation {
  private readonly services = new Map<Key, Set<Key>>()
  private readonly others = new Map<Key, Key[]>()

  of(other: Key): Iterable<Key> {
    return this.services.get(other) ?? []
  }

  add(other: Key, service: Key): void {
    const services = this.services.get(other) ?? new Set()
    if (services.has(service)) return
    this.services.set(other, services.add(service))
    this.others.set(service, [...(this.others.get(service) ?? []), other])
  }

  forget(service: Key): void {
    for (const other of this.others.get(service) ?? []) {
      const services = this.services.get(other)
      services?.delete(service)
      if (services?.size === 0) this.services.delete(other)
    }
    this.others.delete(service)
  }
}
