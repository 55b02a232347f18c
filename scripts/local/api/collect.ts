// What the controller-manager does on a real cluster with objects whose reason to be is gone: dependents of deleted owners,
// and the contents of deleted namespaces. Runs after each deletion, outside the request that made it.

import type { Backend } from './backend.ts'
import { ApiError } from './errors.ts'
import type { Kind } from './kinds.ts'
import { type AnyObject, clone, type OwnerReference } from './object.ts'
import { deleteObject, foreground, namespaceContents, orphan } from './remove.ts'
import type { Change } from './storage.ts'
import { replaceObject } from './write.ts'

const manager = 'kube-controller-manager'

/** Collects from now on. Returns the way to stop it. */
export function collectGarbage(backend: Backend): () => void {
  const queue: Change[] = []
  let isStopped = false
  const work = () => {
    for (let change = queue.shift(); change !== undefined && !isStopped; change = queue.shift()) handle(backend, change)
  }
  const unsubscribe = backend.storage.subscribe((change) => {
    queue.push(change)
    if (queue.length === 1) setImmediate(work)
  })
  return () => {
    isStopped = true
    unsubscribe()
  }
}

function handle(backend: Backend, { type, storage, object }: Change): void {
  if (type === 'DELETED') {
    releaseDependents(backend, object)
    for (const owner of object.metadata.ownerReferences ?? []) settleOwner(backend, owner, object)
    if (object.metadata.namespace !== undefined) finishNamespace(backend, object.metadata.namespace)
    return
  }
  if (object.metadata.deletionTimestamp !== undefined) {
    if (storage === '/namespaces') emptyNamespace(backend, object.metadata.name)
    settle(backend, storage, object)
  } else if (object.metadata.ownerReferences !== undefined) release(backend, storage, object)
}

/** Everything stored, with the kind to handle it by. */
function* everything(backend: Backend, namespace?: string): Generator<{ kind: Kind; object: AnyObject }> {
  for (const storage of backend.storage.names()) {
    const kind = backend.kinds.versions(storage)[0]
    if (kind === undefined || (namespace !== undefined && !kind.namespaced)) continue
    for (const object of backend.storage.list(storage, namespace)) yield { kind, object }
  }
}

function isOwnedBy(object: AnyObject, uid: string): boolean {
  return object.metadata.ownerReferences?.some((owner) => owner.uid === uid) === true
}

function releaseDependents(backend: Backend, owner: AnyObject): void {
  for (const { kind, object } of everything(backend)) {
    if (isOwnedBy(object, owner.metadata.uid)) release(backend, kind.storage, object, owner.metadata.uid)
  }
}

/** Deletes an object whose owners are all gone; drops those that are gone where others are left. */
function release(backend: Backend, storage: string, object: AnyObject, gone?: string): void {
  const { namespace, name, uid } = object.metadata
  const kind = backend.kinds.versions(storage)[0]
  const current = backend.storage.get(storage, namespace, name)
  if (kind === undefined || current?.metadata.uid !== uid) return
  const owners = current.metadata.ownerReferences ?? []
  // An owner of a kind that is not served can't be looked up: it counts as there, unless it is known to be gone.
  const isServed = (owner: OwnerReference) => backend.kinds.of(owner.apiVersion, owner.kind) !== undefined
  const left = owners.filter(
    (owner) => owner.uid !== gone && (!isServed(owner) || findOwner(backend, owner, namespace) !== undefined),
  )
  if (owners.length === 0 || left.length === owners.length) return
  tolerate(() => {
    if (left.length === 0) deleteObject(backend, kind, namespace, name, { preconditions: { uid } }, { manager })
    else setOwners(backend, kind, current, left)
  })
}

function findOwner(backend: Backend, owner: OwnerReference, namespace: string | undefined): AnyObject | undefined {
  const kind = backend.kinds.of(owner.apiVersion, owner.kind)
  if (kind === undefined) return undefined
  const found = backend.storage.get(kind.storage, kind.namespaced ? namespace : undefined, owner.name)
  return found?.metadata.uid === owner.uid ? found : undefined
}

function setOwners(backend: Backend, kind: Kind, stored: AnyObject, owners: OwnerReference[]): void {
  const old = kind.fromStored(stored)
  const next = clone(old)
  if (owners.length === 0) delete next.metadata.ownerReferences
  else next.metadata.ownerReferences = owners
  replaceObject(backend, kind, old, next, { manager })
}

/** An owner that is being deleted in the foreground waits for its dependents; one that orphans lets them go first. */
function settle(backend: Backend, storage: string, owner: AnyObject): void {
  const finalizers = owner.metadata.finalizers ?? []
  const dependents = [...everything(backend)].filter(({ object }) => isOwnedBy(object, owner.metadata.uid))
  if (finalizers.includes(orphan)) {
    for (const { kind, object } of dependents) {
      const rest = (object.metadata.ownerReferences ?? []).filter(({ uid }) => uid !== owner.metadata.uid)
      tolerate(() => setOwners(backend, kind, object, rest))
    }
    dropFinalizer(backend, storage, owner, orphan)
  } else if (finalizers.includes(foreground)) {
    for (const { kind, object } of dependents) {
      if (object.metadata.deletionTimestamp !== undefined) continue
      const { namespace, name } = object.metadata
      const options = { propagationPolicy: 'Foreground' as const }
      tolerate(() => deleteObject(backend, kind, namespace, name, options, { manager }))
    }
    const blocking = dependents.filter(({ object }) =>
      object.metadata.ownerReferences?.some((one) => one.uid === owner.metadata.uid && one.blockOwnerDeletion === true),
    )
    if (blocking.length === 0) dropFinalizer(backend, storage, owner, foreground)
  }
}

function settleOwner(backend: Backend, owner: OwnerReference, dependent: AnyObject): void {
  const found = findOwner(backend, owner, dependent.metadata.namespace)
  const storage = backend.kinds.of(owner.apiVersion, owner.kind)?.storage
  if (found?.metadata.deletionTimestamp !== undefined && storage !== undefined) settle(backend, storage, found)
}

function dropFinalizer(backend: Backend, storage: string, object: AnyObject, finalizer: string): void {
  const { namespace, name } = object.metadata
  const current = backend.storage.get(storage, namespace, name)
  const kind = backend.kinds.versions(storage)[0]
  if (current === undefined || kind === undefined || current.metadata.uid !== object.metadata.uid) return
  const old = kind.fromStored(current)
  const finalizers = (old.metadata.finalizers ?? []).filter((one) => one !== finalizer)
  const next = clone(old)
  next.metadata.finalizers = finalizers
  tolerate(() => replaceObject(backend, kind, old, next, { manager }))
}

function emptyNamespace(backend: Backend, namespace: string): void {
  for (const { kind, object } of everything(backend, namespace)) {
    if (object.metadata.deletionTimestamp !== undefined) continue
    tolerate(() => deleteObject(backend, kind, namespace, object.metadata.name, {}, { manager }))
  }
  finishNamespace(backend, namespace)
}

/** A namespace that is being deleted goes when nothing is left in it. */
function finishNamespace(backend: Backend, name: string): void {
  const namespace = backend.storage.get('/namespaces', undefined, name)
  if (namespace?.metadata.deletionTimestamp === undefined) return
  if (everything(backend, name).next().done !== true) return
  dropFinalizer(backend, '/namespaces', namespace, namespaceContents)
}

/** Somebody else may have been faster: the object changed or went. The next change brings another chance. */
function tolerate(attempt: () => void): void {
  try {
    attempt()
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
  }
}
