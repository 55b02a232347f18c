// What etcd is to the real API server: all objects in their stored form, one counter of revisions over all kinds, and a
// bounded history of changes from which watches continue. Below it is only memory.

import { expired } from './errors.ts'
import { type AnyObject, freeze, keyOf } from './object.ts'

export interface Change {
  revision: number
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  storage: string
  /** As it is now; for DELETED as it last was, with the revision of its end. */
  object: AnyObject
  /** As it was before: a watch with a selector tells from it whether it had shown the object. */
  previous?: AnyObject
}

export interface Storage {
  /** Revision of the newest change. */
  revision(): number
  get(storage: string, namespace: string | undefined, name: string): AnyObject | undefined
  /** All objects of a storage, or of one namespace in it, ordered by key. */
  list(storage: string, namespace?: string): AnyObject[]
  /** The names of all storages that ever held an object. */
  names(): string[]
  put(storage: string, object: AnyObject): AnyObject
  remove(storage: string, object: AnyObject): AnyObject
  /**
   * The changes after a revision.
   * @throws ApiError 410 if they are no longer all known
   */
  since(revision: number): readonly Change[]
  /** Calls back after each change, in order, before the write that made it returns. Returns the way to stop it. */
  subscribe(listener: (change: Change) => void): () => void
  /** The oldest revision that is still known. */
  oldest(): number
  /** Forgets the history. Watches under way go on; new ones from an older revision get 410. */
  compact(): void
}

/**
 * An empty storage.
 * @param historyLength how many changes a watch can be behind
 */
export function createStorage(historyLength: number): Storage {
  // Never 0 or 1, so that a client's "0" (anything will do) and first version are never confused with a real one.
  let revision = 1
  let history: Change[] = []
  let compacted = revision
  const objects = new Map<string, Map<string, AnyObject>>()
  const listeners = new Set<(change: Change) => void>()

  const record = (change: Change) => {
    history.push(change)
    if (history.length > 2 * historyLength) {
      history = history.slice(-historyLength)
      compacted = history[0]!.revision - 1
    }
    for (const listener of [...listeners]) listener(change)
  }
  const stamped = (object: AnyObject): AnyObject => {
    revision += 1
    return freeze({ ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } })
  }

  return {
    revision: () => revision,
    get: (storage, namespace, name) => objects.get(storage)?.get(keyOf(namespace, name)),
    list(storage, namespace) {
      const all = [...(objects.get(storage)?.entries() ?? [])]
      const prefix = `${namespace}/`
      const wanted = namespace === undefined ? all : all.filter(([key]) => key.startsWith(prefix))
      return wanted.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object)
    },
    names: () => [...objects.keys()],
    put(storage, object) {
      let shelf = objects.get(storage)
      if (shelf === undefined) {
        shelf = new Map()
        objects.set(storage, shelf)
      }
      const key = keyOf(object.metadata.namespace, object.metadata.name)
      const previous = shelf.get(key)
      const current = stamped(object)
      shelf.set(key, current)
      if (previous === undefined) record({ revision, type: 'ADDED', storage, object: current })
      else record({ revision, type: 'MODIFIED', storage, object: current, previous })
      return current
    },
    remove(storage, object) {
      const key = keyOf(object.metadata.namespace, object.metadata.name)
      const shelf = objects.get(storage)
      const previous = shelf?.get(key) ?? object
      shelf?.delete(key)
      const last = stamped(object)
      record({ revision, type: 'DELETED', storage, object: last, previous })
      return last
    },
    since(from) {
      if (from < compacted) throw expired(`too old resource version: ${from} (${compacted})`)
      let start = history.length
      while (start > 0 && history[start - 1]!.revision > from) start -= 1
      return history.slice(start)
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    oldest: () => compacted,
    compact() {
      history = []
      compacted = revision
    },
  }
}
