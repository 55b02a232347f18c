// Creating and replacing objects: the one pipeline that every write goes through, whether it came as POST, PUT, PATCH or
// from inside the process. accept → system metadata → defaults → checks → ownership of fields → storage.

import { acceptBody, type FieldValidation } from './accept.ts'
import type { Backend } from './backend.ts'
import { alreadyExists, badRequest, conflict, forbidden, invalid, modified, notFound, wrong } from './errors.ts'
import { disown, recordUpdate } from './fields.ts'
import type { Kind, Subresource } from './kinds.ts'
import { checkMeta, initMeta, keepMeta } from './metadata.ts'
import { type AnyObject, clone, equal, type Json } from './object.ts'
import { applyRules, checkRules } from './rules/index.ts'
import { validate } from './validate.ts'

/** How a write is to be done. */
export interface Writing {
  /** Check and answer, but store nothing. */
  dryRun?: boolean
  /** Who writes, for metadata.managedFields. */
  manager?: string
  subresource?: Subresource
  validation?: FieldValidation
  warn?: (text: string) => void
  /** Server-side apply has worked out the owners of fields itself. */
  ownersKnown?: boolean
}

const defaultManager = 'local'

/** An object as the version `kind` shows it, or undefined. */
export function readObject(backend: Backend, kind: Kind, namespace: string | undefined, name: string) {
  const stored = backend.storage.get(kind.storage, namespace, name)
  return stored === undefined ? undefined : kind.fromStored(stored)
}

/**
 * Creates an object.
 * @throws ApiError 400, 403 (namespace is ending), 404 (no such namespace), 409 (exists), 422
 */
export function createObject(
  backend: Backend,
  kind: Kind,
  namespace: string | undefined,
  body: unknown,
  writing: Writing,
): AnyObject {
  const object = acceptBody(body, kind, writing.validation, writing.warn)
  checkNamespace(object, namespace)
  if (!kind.namespaced && object.metadata.namespace !== undefined) delete object.metadata.namespace
  if ((object.metadata.resourceVersion ?? '') !== '') {
    throw badRequest('resourceVersion should not be set on objects to be created')
  }
  const owners = object.metadata.managedFields
  initMeta(object, kind, namespace)
  if (writing.ownersKnown === true && owners !== undefined) object.metadata.managedFields = owners
  const { name } = object.metadata
  requireLiveNamespace(backend, kind, namespace, name)
  if (kind.subresources.includes('status') && kind.storage !== '/nodes') delete object['status']
  applyRules(kind, object, undefined, backend)
  check(kind, object, undefined, backend)
  if (backend.storage.get(kind.storage, namespace, name) !== undefined) throw alreadyExists(kind, name)
  if (writing.ownersKnown !== true) recordUpdate(object, undefined, kind, writing.manager ?? defaultManager)
  return store(backend, kind, object, writing)
}

function checkNamespace(object: AnyObject, namespace: string | undefined): void {
  const given = object.metadata.namespace
  if (namespace === undefined || given === undefined || given === '' || given === namespace) return
  throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
}

function requireLiveNamespace(backend: Backend, kind: Kind, namespace: string | undefined, name: string): void {
  if (namespace === undefined) return
  const found = backend.storage.get('/namespaces', undefined, namespace)
  const about = { group: '', plural: 'namespaces', kind: 'Namespace' }
  if (found === undefined) throw notFound(about, namespace)
  if (found.metadata.deletionTimestamp === undefined) return
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`
  const message = `namespace ${namespace} is being terminated`
  throw forbidden(kind, name, why, [{ reason: 'NamespaceTerminating', message, field: 'metadata.namespace' }])
}

/**
 * Replaces an object (or, with `writing.subresource` status, its status).
 * @param old the object as `kind` shows it, which the body was made from
 * @throws ApiError 400, 409 (changed meanwhile, or another object of that name), 422
 */
export function replaceObject(
  backend: Backend,
  kind: Kind,
  old: AnyObject,
  body: unknown,
  writing: Writing,
): AnyObject {
  const { name, namespace } = old.metadata
  const object = acceptBody(body, kind, writing.validation, writing.warn)
  checkIdentity(kind, object, old, namespace)
  const next = writing.subresource === 'status' ? withStatus(kind, old, object) : withoutStatus(kind, old, object)
  keepMeta(next, old)
  applyRules(kind, next, old, backend)
  if (kind.hasGeneration && isWanted(kind, next, old)) next.metadata.generation = (old.metadata.generation ?? 0) + 1
  check(kind, next, old, backend)
  if (writing.ownersKnown !== true)
    recordUpdate(next, old, kind, writing.manager ?? defaultManager, writing.subresource)
  if (isFinished(next)) {
    if (writing.dryRun !== true) backend.storage.remove(kind.storage, kind.toStored(next))
    return next
  }
  // A write that changes nothing is no change: no new version, no watch event. Times of ownership alone don't count.
  if (equal(disown(next), disown(old)) && writing.ownersKnown !== true) return old
  if (equal(next, old)) return old
  const current = backend.storage.get(kind.storage, namespace, name)
  if (current?.metadata.resourceVersion !== old.metadata.resourceVersion) throw modified(kind, name)
  return store(backend, kind, next, writing)
}

function checkIdentity(kind: Kind, object: AnyObject, old: AnyObject, namespace: string | undefined): void {
  const { metadata } = object
  const { name } = old.metadata
  if (metadata.name !== undefined && metadata.name !== name) {
    throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`)
  }
  checkNamespace(object, namespace)
  if (metadata.uid !== undefined && metadata.uid !== old.metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${old.metadata.uid}`
    throw conflict(kind, name, why)
  }
  const version = metadata.resourceVersion ?? ''
  if (version !== '' && version !== old.metadata.resourceVersion) throw modified(kind, name)
  if (version === '' && (kind.isCustom || kind.kind === 'CustomResourceDefinition' || kind.kind === 'Lease')) {
    throw invalid(kind, name, [wrong('metadata.resourceVersion', 0, 'must be specified for an update')])
  }
}

function withStatus(kind: Kind, old: AnyObject, object: AnyObject): AnyObject {
  const next = clone(old)
  if (object['status'] === undefined) delete next['status']
  else next['status'] = object['status']
  // Of the built-in kinds, kubelet and controllers write labels and annotations along with the status.
  if (!kind.isCustom) {
    for (const field of ['labels', 'annotations', 'finalizers'] as const) {
      delete next.metadata[field]
      if (object.metadata[field] !== undefined) Object.assign(next.metadata, { [field]: object.metadata[field] })
    }
  }
  if (object.metadata.managedFields !== undefined) next.metadata.managedFields = object.metadata.managedFields
  return next
}

function withoutStatus(kind: Kind, old: AnyObject, object: AnyObject): AnyObject {
  if (!kind.subresources.includes('status')) return object
  const { status: _, ...next } = object
  if (old['status'] !== undefined) next['status'] = old['status']
  return next as AnyObject
}

/** Whether an update changes what the user wants of the object, rather than what is said about it. */
function isWanted(kind: Kind, next: AnyObject, old: AnyObject): boolean {
  const hasStatus = kind.subresources.includes('status')
  const wanted = ({ metadata: _, status, ...rest }: AnyObject): Json => (hasStatus ? rest : { ...rest, status })
  return !equal(wanted(next), wanted(old))
}

/** Whether an object that is being deleted has nothing left to wait for. */
function isFinished({ metadata }: AnyObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = metadata
  return deletionTimestamp !== undefined && (finalizers ?? []).length === 0 && (deletionGracePeriodSeconds ?? 0) === 0
}

function check(kind: Kind, object: AnyObject, old: AnyObject | undefined, backend: Backend): void {
  const errors = checkMeta(object, old, kind)
  if (kind.isCustom) errors.push(...validate(object, kind.schema))
  errors.push(...checkRules(kind, object, old, backend))
  if (errors.length > 0) throw invalid(kind, object.metadata.name ?? '', errors)
}

function store(backend: Backend, kind: Kind, object: AnyObject, writing: Writing): AnyObject {
  if (writing.dryRun === true) return object
  return kind.fromStored(backend.storage.put(kind.storage, kind.toStored(object)))
}
