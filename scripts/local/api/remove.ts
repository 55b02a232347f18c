// Deleting objects: at once, after a pod's grace period, or when the last finalizer goes.

import type { Backend } from './backend.ts'
import { conflict, forbidden, notFound } from './errors.ts'
import type { Kind } from './kinds.ts'
import { type AnyObject, clone, timestamp } from './object.ts'
import type { Writing } from './write.ts'

export interface DeleteOptions {
  gracePeriodSeconds?: number
  propagationPolicy?: 'Background' | 'Foreground' | 'Orphan'
  orphanDependents?: boolean
  preconditions?: { uid?: string; resourceVersion?: string }
  dryRun?: string[]
}

export interface Removal {
  /** The object as it is now, or as it last was. */
  object: AnyObject
  isGone: boolean
}

/** Kinds whose deletion answers with the object, even when it is gone. */
const answersWithObject = new Set(['/pods', '/services', '/namespaces', '/nodes', '/serviceaccounts'])

export function showsDeleted(kind: Kind): boolean {
  return answersWithObject.has(kind.storage)
}

/**
 * Deletes an object, or begins to.
 * @throws ApiError 404; 409 if a precondition does not hold
 */
export function deleteObject(
  backend: Backend,
  kind: Kind,
  namespace: string | undefined,
  name: string,
  options: DeleteOptions,
  writing: Writing,
): Removal {
  const stored = backend.storage.get(kind.storage, namespace, name)
  if (stored === undefined) throw notFound(kind, name)
  if (kind.storage === '/namespaces' && immortal.has(name)) {
    throw forbidden(kind, name, 'this namespace may not be deleted')
  }
  checkPreconditions(kind, stored, options)
  const next = clone(stored)
  const { metadata } = next
  const isFirst = metadata.deletionTimestamp === undefined
  addFinalizers(next, options)
  if (kind.storage === '/namespaces') {
    next['status'] = { ...(next['status'] as object), phase: 'Terminating' }
    metadata.finalizers = [...new Set([...(metadata.finalizers ?? []), namespaceContents])]
  }
  const grace = gracePeriod(kind, next, options)
  const waits = (metadata.finalizers ?? []).length > 0
  if (grace === 0 && !waits) {
    if (writing.dryRun !== true) backend.storage.remove(kind.storage, stored)
    return { object: kind.fromStored(stored), isGone: true }
  }
  if (!isFirst && (metadata.deletionGracePeriodSeconds ?? 0) <= grace) {
    return { object: kind.fromStored(stored), isGone: false }
  }
  metadata.deletionTimestamp = timestamp(Date.now() + grace * 1000)
  metadata.deletionGracePeriodSeconds = grace
  if (metadata.generation !== undefined) metadata.generation += 1
  if (writing.dryRun === true) return { object: kind.fromStored(next), isGone: false }
  return { object: kind.fromStored(backend.storage.put(kind.storage, next)), isGone: false }
}

const immortal = new Set(['default', 'kube-public', 'kube-system'])

/** Stands for the contents of a namespace that still have to go. */
export const namespaceContents = 'kubernetes'
export const foreground = 'foregroundDeletion'
export const orphan = 'orphan'

function checkPreconditions(kind: Kind, stored: AnyObject, { preconditions }: DeleteOptions): void {
  const { name, uid, resourceVersion } = stored.metadata
  const wanted = { uid: preconditions?.uid ?? uid, version: preconditions?.resourceVersion ?? resourceVersion }
  const subject = { group: kind.group, plural: kind.kind, kind: kind.kind }
  if (wanted.uid !== uid) {
    const why = `the UID in the precondition (${wanted.uid}) does not match the UID in record (${uid})`
    throw conflict(subject, name, `${why}. The object might have been deleted and then recreated`)
  }
  if (wanted.version !== resourceVersion) {
    const why = `the ResourceVersion in the precondition (${wanted.version}) does not match the ResourceVersion in record (${resourceVersion})`
    throw conflict(subject, name, why)
  }
}

function addFinalizers({ metadata }: AnyObject, { propagationPolicy, orphanDependents }: DeleteOptions): void {
  const finalizers = new Set(metadata.finalizers ?? [])
  if (propagationPolicy === 'Foreground') finalizers.add(foreground)
  if (propagationPolicy === 'Orphan' || orphanDependents === true) finalizers.add(orphan)
  if (finalizers.size > 0) metadata.finalizers = [...finalizers]
}

/** Seconds until the object may go: a pod that runs on a node is given time to end. */
function gracePeriod(kind: Kind, object: AnyObject, options: DeleteOptions): number {
  if (kind.storage !== '/pods') return 0
  const spec = object['spec'] as { nodeName?: string; terminationGracePeriodSeconds?: number }
  const { phase } = (object['status'] ?? {}) as { phase?: string }
  if (spec.nodeName === undefined || phase === 'Succeeded' || phase === 'Failed') return 0
  return Math.max(0, options.gracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? 30)
}
