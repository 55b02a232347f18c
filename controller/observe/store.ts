// The objects of one kind, as last seen. Readers get immutable views: the same one until something changes.

import { type KubeObject, keyOf } from './objects.ts'
import { Shelf } from './view.ts'

export interface Store<T extends KubeObject> {
  /** An object was added or changed. @returns whether this is news */
  set(object: T): boolean
  /** An object is gone. @returns whether this is news */
  remove(object: T): boolean
  /** All there is, after a list: what is not in it is gone. @returns whether anything changed */
  replace(objects: readonly T[]): boolean
  view(): ReadonlyMap<string, T>
  readonly size: number
}

/**
 * @param isSame whether a newer version of an object says nothing new; by default any new resourceVersion is news
 */
export function openStore<T extends KubeObject>(isSame: (held: T, next: T) => boolean = hasSameVersion): Store<T> {
  const objects = new Shelf<T>()

  function set(object: T): boolean {
    const key = keyOf(object)
    const held = objects.get(key)
    if (held !== undefined && isSameObject(held, object) && isSame(held, object)) return false
    objects.set(key, object)
    return true
  }

  function remove(object: T): boolean {
    return objects.delete(keyOf(object))
  }

  function replace(next: readonly T[]): boolean {
    const keys = new Set(next.map(keyOf))
    let changed = false
    for (const key of [...objects.keys()]) {
      if (!keys.has(key)) changed = objects.delete(key) || changed
    }
    for (const object of next) changed = set(object) || changed
    return changed
  }

  return {
    set,
    remove,
    replace,
    view: () => objects.view(),
    get size() {
      return objects.size
    },
  }
}

/** Read in another version of its kind, an object may look different with the same resourceVersion. */
function isSameObject(held: KubeObject, next: KubeObject): boolean {
  return held.metadata.uid === next.metadata.uid && held.apiVersion === next.apiVersion
}

function hasSameVersion(held: KubeObject, next: KubeObject): boolean {
  return held.metadata.resourceVersion === next.metadata.resourceVersion
}

/** For kinds that are kept reduced: equal but for the resourceVersion, which changes with every heartbeat. */
export function hasSameContent(held: KubeObject, next: KubeObject): boolean {
  return text(held) === text(next)
}

function text(object: KubeObject): string {
  return JSON.stringify(object, (name, value) => (name === 'resourceVersion' ? undefined : value))
}
