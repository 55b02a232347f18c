// The API for code in this process: the local controllers read, write and watch through it without HTTP, by the same rules
// as everybody else. Objects that come from it are frozen; change a copy.

import type { Backend } from './backend.ts'
import { notFound } from './errors.ts'
import { type AnyObject, clone, type KubeObject } from './object.ts'
import { jsonPatch, mergePatch, strategicPatch } from './patch.ts'
import { type DeleteOptions, deleteObject } from './remove.ts'
import { fieldTest, labelTest, type Test } from './selectors.ts'
import { watchObjects } from './watch.ts'
import { createObject, readObject, replaceObject } from './write.ts'

export interface Selection {
  namespace?: string
  /** A label selector, such as `app=reviews,version in (v1,v2)`. */
  labels?: string
  /** A field selector, such as `spec.nodeName=node1`. */
  fields?: string
}

export interface StoreWrite {
  /** Writes the status alone, as controllers do. */
  subresource?: 'status'
  /** Who writes, for managedFields. */
  manager?: string
}

export interface StoreEvent<T> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  object: T
}

/** Kinds are named as in manifests (`Pod`), custom ones also with their group (`TrafficSplit.split.smi-spec.io`). */
export interface Store {
  get<T extends KubeObject>(kind: string, name: string, namespace?: string): T | undefined
  list<T extends KubeObject>(kind: string, selection?: Selection): T[]
  /** @throws ApiError, as all that write do */
  create<T extends KubeObject>(object: NewObject, write?: StoreWrite): T
  /** Replaces; a resourceVersion in the object must be the current one. */
  update<T extends KubeObject>(object: T, write?: StoreWrite): T
  /** A merge patch unless `type` says otherwise. */
  patch<T extends KubeObject>(
    kind: string,
    name: string,
    namespace: string | undefined,
    patch: unknown,
    write?: StoreWrite & { type?: 'json' | 'merge' | 'strategic' },
  ): T
  /** Deletes, or begins to; false if there is no such object. */
  delete(kind: string, name: string, namespace?: string, options?: DeleteOptions): boolean
  /**
   * Calls back with all there is (ADDED), then with each change, never from within a write. Returns the way to stop it.
   */
  watch<T extends KubeObject>(kind: string, selection: Selection, onEvent: (event: StoreEvent<T>) => void): () => void
  /** Forgets the history of changes, so that watches from older versions get 410. */
  compact(): void
}

/** An object that is not yet stored. */
export interface NewObject {
  apiVersion: string
  kind: string
  metadata: { name?: string; generateName?: string; namespace?: string } & Partial<Omit<KubeObject['metadata'], 'name'>>
  [field: string]: unknown
}

/** The store over a backend. */
export function createStore(backend: Backend): Store {
  const { kinds } = backend
  const kindOf = (object: { apiVersion: string; kind: string }) => {
    const kind = kinds.of(object.apiVersion, object.kind)
    if (kind === undefined) throw new Error(`the local API does not know ${object.kind} in ${object.apiVersion}`)
    return kind
  }
  const test = (storage: string, { labels, fields }: Selection): Test => {
    const tests = [labelTest(labels ?? ''), fieldTest(fields ?? '', storage)]
    return (object) => tests.every((one) => one(object))
  }
  const read = (kindName: string, name: string, namespace: string | undefined) => {
    const kind = kinds.named(kindName)
    const old = readObject(backend, kind, namespace, name)
    if (old === undefined) throw notFound(kind, name)
    return { kind, old }
  }

  return {
    get: <T extends KubeObject>(kindName: string, name: string, namespace?: string) =>
      readObject(backend, kinds.named(kindName), namespace, name) as unknown as T | undefined,
    list<T extends KubeObject>(kindName: string, selection: Selection = {}) {
      const kind = kinds.named(kindName)
      const all = backend.storage.list(kind.storage, selection.namespace).filter(test(kind.storage, selection))
      return all.map(kind.fromStored) as unknown as T[]
    },
    create: <T extends KubeObject>(object: NewObject, write: StoreWrite = {}) => {
      const { namespace } = object.metadata
      return createObject(backend, kindOf(object), namespace, object, write) as unknown as T
    },
    update<T extends KubeObject>(object: T, write: StoreWrite = {}) {
      const { kind, old } = read(
        `${object.kind}.${kindOf(object).group}`,
        object.metadata.name,
        object.metadata.namespace,
      )
      return replaceObject(backend, kind, old, object, write) as unknown as T
    },
    patch<T extends KubeObject>(
      kindName: string,
      name: string,
      namespace: string | undefined,
      patch: unknown,
      { type = 'merge', ...write }: StoreWrite & { type?: 'json' | 'merge' | 'strategic' } = {},
    ) {
      const { kind, old } = read(kindName, name, namespace)
      const patched = { json: jsonPatch, merge: mergePatch, strategic: strategicPatch }[type](old, patch, kind.schema)
      return replaceObject(backend, kind, old, patched, write) as unknown as T
    },
    delete(kindName, name, namespace, options = {}) {
      const kind = kinds.named(kindName)
      if (backend.storage.get(kind.storage, namespace, name) === undefined) return false
      deleteObject(backend, kind, namespace, name, options, {})
      return true
    },
    watch<T extends KubeObject>(kindName: string, selection: Selection, onEvent: (event: StoreEvent<T>) => void) {
      const kind = kinds.named(kindName)
      let isStopped = false
      const tell = (type: StoreEvent<T>['type'], object: AnyObject) =>
        queueMicrotask(() => {
          if (!isStopped) onEvent({ type, object: object as unknown as T })
        })
      const passes = test(kind.storage, selection)
      const existing = backend.storage.list(kind.storage, selection.namespace).filter(passes)
      for (const object of existing) tell('ADDED', kind.fromStored(object))
      const watching = selection.namespace === undefined ? {} : { namespace: selection.namespace }
      const stop = watchObjects(backend, kind, { ...watching, test: passes }, ({ type, object }) => tell(type, object))
      return () => {
        isStopped = true
        stop()
      }
    },
    compact: () => backend.storage.compact(),
  }
}

/** A copy that may be changed and given back to `update`. */
export function editable<T extends KubeObject>(object: T): T {
  return clone(object)
}
