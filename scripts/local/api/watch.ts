// Watching: the changes of one kind from a version on, seen through a selector. An object that begins to match appears as
// ADDED, one that ceases to as DELETED.

import type { Backend } from './backend.ts'
import type { Kind } from './kinds.ts'
import type { AnyObject } from './object.ts'
import type { Test } from './selectors.ts'
import type { Change } from './storage.ts'

export interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  object: AnyObject
  /** Of the change: later than all that the watcher saw before. */
  revision: number
}

export interface Watching {
  namespace?: string
  /** On stored objects. */
  test?: Test
  /** Continue after this revision; without it, from now. */
  from?: number
}

/**
 * Calls back for each change: those of the past before this returns, later ones as they come, before the write that made
 * them returns. Returns the way to stop it.
 * @throws ApiError 410 if the history no longer reaches back to `from`
 */
export function watchObjects(
  backend: Backend,
  kind: Kind,
  { namespace, test = () => true, from }: Watching,
  onEvent: (event: WatchEvent) => void,
): () => void {
  const show = (change: Change) => {
    if (change.storage !== kind.storage) return
    if (namespace !== undefined && change.object.metadata.namespace !== namespace) return
    const type = seenAs(change, test)
    if (type !== undefined)
      onEvent({ type, object: kind.fromStored(objectOf(change, type)), revision: change.revision })
  }
  if (from !== undefined) for (const change of backend.storage.since(from)) show(change)
  return backend.storage.subscribe(show)
}

function seenAs(change: Change, test: Test): WatchEvent['type'] | undefined {
  const isShown = change.type !== 'DELETED' && test(change.object)
  const wasShown = change.previous !== undefined && test(change.previous)
  if (isShown) return wasShown ? 'MODIFIED' : 'ADDED'
  return wasShown ? 'DELETED' : undefined
}

/** An object that no longer matches is shown as it was when it did, at the version of the change. */
function objectOf({ type: changeType, object, previous }: Change, type: WatchEvent['type']): AnyObject {
  if (type !== 'DELETED' || changeType === 'DELETED' || previous === undefined) return object
  return { ...previous, metadata: { ...previous.metadata, resourceVersion: object.metadata.resourceVersion } }
}
