// The register of kinds: what the API serves, by group, version and plural. The versions of one kind share its storage.
// Built-in kinds are in builtin.ts, those of CustomResourceDefinitions come and go by crds.ts.

import type { AnyObject } from './object.ts'
import type { Schema } from './schema.ts'

export type Subresource = 'status' | 'scale' | 'log' | 'portforward' | 'token'

/** A column of `kubectl get`; priority 1 means only with -o wide. */
export interface Column {
  name: string
  type: 'string' | 'integer' | 'number' | 'boolean' | 'date'
  format?: string
  description?: string
  priority: number
  cell: (object: AnyObject) => unknown
}

/** One kind at one version. */
export interface Kind {
  group: string
  version: string
  kind: string
  plural: string
  singular: string
  shortNames: readonly string[]
  categories: readonly string[]
  namespaced: boolean
  subresources: readonly Subresource[]
  schema: Schema
  /** Absent for kinds that are only printed by name and age. */
  columns?: readonly Column[]
  /** What the objects of all versions of this kind are stored under. */
  storage: string
  /** Custom resources are pruned and validated by their schema, and have no strategic merge. */
  isCustom: boolean
  /** Only POST: the object is a question, the response its answer; nothing is stored. */
  isReview?: boolean
  /** Whether metadata.generation counts the changes of what the user wants. */
  hasGeneration: boolean
  /** Where the scale subresource reads and writes. */
  scale?: { spec: string; status: string; selector?: string }
  /** From the stored form to this version, and back. */
  fromStored: (object: AnyObject) => AnyObject
  toStored: (object: AnyObject) => AnyObject
}

export interface Kinds {
  /** The kind that a path names. */
  find(group: string, version: string, plural: string): Kind | undefined
  /** The kind of an object, by its own words. */
  of(apiVersion: string, kind: string): Kind | undefined
  /**
   * A kind by the name that code in this process uses: `Pod`, or `TrafficSplit.split.smi-spec.io`; its preferred version.
   * @throws Error if there is none
   */
  named(name: string): Kind
  /** All versions of what is stored under a name. */
  versions(storage: string): Kind[]
  /** All, in the order of preference: groups as they came, the preferred version of each first. */
  all(): readonly Kind[]
  /** Replaces all versions of a storage; none removes it. */
  put(storage: string, kinds: readonly Kind[]): void
}

/** `v1`, or `apps/v1`. */
export function groupVersion(kind: { group: string; version: string }): string {
  return kind.group === '' ? kind.version : `${kind.group}/${kind.version}`
}

/** A register with nothing in it. */
export function createKinds(): Kinds {
  let all: Kind[] = []
  const byPath = new Map<string, Kind>()
  const byKind = new Map<string, Kind>()
  const byName = new Map<string, Kind>()
  const reindex = () => {
    for (const index of [byPath, byKind, byName]) index.clear()
    for (const kind of all) {
      byPath.set(`${groupVersion(kind)}/${kind.plural}`, kind)
      byKind.set(`${groupVersion(kind)}/${kind.kind}`, kind)
      for (const name of [kind.kind, `${kind.kind}.${kind.group}`]) if (!byName.has(name)) byName.set(name, kind)
    }
  }
  return {
    find: (group, version, plural) => byPath.get(`${groupVersion({ group, version })}/${plural}`),
    of: (apiVersion, kind) => byKind.get(`${apiVersion}/${kind}`),
    named(name) {
      const kind = byName.get(name)
      if (kind === undefined) throw new Error(`the local API does not know the kind ${name}`)
      return kind
    },
    versions: (storage) => all.filter((kind) => kind.storage === storage),
    all: () => all,
    put(storage, kinds) {
      all = [...all.filter((kind) => kind.storage !== storage), ...kinds]
      reindex()
    },
  }
}
