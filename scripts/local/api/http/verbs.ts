// What can be done with one object, or with a collection by POST and DELETE: from a parsed request to an answer.

import { acceptBody, type FieldValidation } from '../accept.ts'
import { applyConfiguration } from '../apply.ts'
import type { Backend } from '../backend.ts'
import {
  badRequest,
  invalid,
  methodNotAllowed,
  notFound,
  required,
  type Status,
  unsupportedMediaType,
} from '../errors.ts'
import { groupVersion, type Kind } from '../kinds.ts'
import { type AnyObject, isRecord, type Json } from '../object.ts'
import { jsonPatch, mergePatch, strategicPatch } from '../patch.ts'
import { type DeleteOptions, deleteObject, showsDeleted } from '../remove.ts'
import { scaleOf, withScale } from '../scale.ts'
import { createObject, readObject, replaceObject, type Writing } from '../write.ts'
import type { PatchType } from './body.ts'
import type { Target } from './path.ts'

export interface Outcome {
  code: number
  object: AnyObject | Status
}

/** A write as the HTTP request describes it. */
export interface Write {
  backend: Backend
  target: Target
  query: URLSearchParams
  body: unknown
  /** Who writes, if the query does not say. */
  agent: string
  warn: (text: string) => void
}

const validations = new Set(['Strict', 'Warn', 'Ignore'])

function writingOf({ target, query, agent, warn }: Write): Writing {
  const dryRun = query.getAll('dryRun')
  if (dryRun.some((value) => value !== 'All')) throw badRequest(`invalid dryRun: ${dryRun.join()}: supported: "All"`)
  const validation = query.get('fieldValidation') ?? ''
  return {
    dryRun: dryRun.length > 0,
    manager: query.get('fieldManager') ?? agent,
    validation: validations.has(validation) ? (validation as FieldValidation) : 'Warn',
    warn,
    ...(target.subresource === undefined ? {} : { subresource: target.subresource }),
  }
}

function nameOf(target: Target): string {
  if (target.name === undefined) throw methodNotAllowed()
  return target.name
}

/** @throws ApiError 404 */
export function getOne(backend: Backend, target: Target): AnyObject {
  const name = nameOf(target)
  const found = readObject(backend, target.kind, target.namespace, name)
  if (found === undefined) throw notFound(target.kind, name)
  return target.subresource === 'scale' ? scaleOf(target.kind, found) : found
}

/** @throws ApiError */
export function create(write: Write): Outcome {
  const { backend, target, body } = write
  if (target.name !== undefined || (target.kind.namespaced && target.namespace === undefined)) throw methodNotAllowed()
  return { code: 201, object: createObject(backend, target.kind, target.namespace, body, writingOf(write)) }
}

/** @throws ApiError */
export function replace(write: Write): Outcome {
  const { backend, target, body } = write
  const old = readObject(backend, target.kind, target.namespace, nameOf(target))
  if (old === undefined) throw notFound(target.kind, nameOf(target))
  return { code: 200, object: put(write, old, body) }
}

/** Replaces what the target names: the object, its status or its scale. */
function put({ backend, target, ...rest }: Write, old: AnyObject, body: unknown): AnyObject {
  const writing = writingOf({ backend, target, ...rest })
  if (target.subresource !== 'scale') return replaceObject(backend, target.kind, old, body, writing)
  const scaled = replaceObject(backend, target.kind, old, withScale(target.kind, old, body), writing)
  return scaleOf(target.kind, scaled)
}

/** @throws ApiError */
export function patch(write: Write, type: PatchType | undefined): Outcome {
  const { backend, target, body } = write
  const { kind } = target
  const isStrategic = type === 'strategic'
  if (type === undefined || (isStrategic && kind.isCustom)) throw unsupportedMediaType(patchTypesFor(kind))
  const old = readObject(backend, kind, target.namespace, nameOf(target))
  if (type === 'apply') return apply(write, old)
  if (old === undefined) throw notFound(kind, nameOf(target))
  const source = target.subresource === 'scale' ? scaleOf(kind, old) : old
  const patched =
    type === 'json'
      ? jsonPatch(source, body)
      : type === 'merge'
        ? mergePatch(source, body)
        : strategicPatch(source, body, kind.schema)
  return { code: 200, object: put(write, old, patched) }
}

function patchTypesFor(kind: Kind): string {
  const all = ['application/json-patch+json', 'application/merge-patch+json', 'application/apply-patch+yaml']
  if (!kind.isCustom) all.splice(2, 0, 'application/strategic-merge-patch+json')
  return all.join(', ')
}

function apply(write: Write, old: AnyObject | undefined): Outcome {
  const { backend, target, query, body, warn } = write
  const { kind, namespace } = target
  const manager = query.get('fieldManager') ?? ''
  if (manager === '') {
    const about = { group: 'meta.k8s.io', plural: 'patchoptions', kind: 'PatchOptions' }
    throw invalid(about, '', [required('fieldManager', 'is required for apply patch')])
  }
  const writing = { ...writingOf(write), ownersKnown: true }
  const applied = acceptBody(body, kind, writing.validation, warn)
  if (applied.metadata.managedFields !== undefined) throw badRequest('metadata.managedFields must be nil')
  const isStatus = target.subresource === 'status'
  if (kind.subresources.includes('status') && !isStatus) delete applied['status']
  const applying = {
    manager,
    isForced: query.get('force') === 'true',
    ...(target.subresource === undefined ? {} : { subresource: target.subresource }),
  }
  if (old !== undefined) {
    const merged = applyConfiguration(old, applied, kind, applying)
    const given = applied.metadata.resourceVersion
    if (given !== undefined) merged.metadata.resourceVersion = given
    return { code: 200, object: replaceObject(backend, kind, old, merged, { ...writing, validation: 'Ignore' }) }
  }
  if (target.subresource !== undefined) throw notFound(kind, nameOf(target))
  const empty = { apiVersion: groupVersion(kind), kind: kind.kind, metadata: { name: nameOf(target) } } as AnyObject
  const created = applyConfiguration(empty, applied, kind, applying)
  return {
    code: 201,
    object: createObject(backend, kind, namespace, created, { ...writing, validation: 'Ignore' }),
  }
}

function deleteOptions(query: URLSearchParams, body: unknown): DeleteOptions {
  const options: Json = isRecord(body) ? { ...body } : {}
  const grace = query.get('gracePeriodSeconds')
  if (grace !== null) options['gracePeriodSeconds'] = Number(grace)
  const policy = query.get('propagationPolicy')
  if (policy !== null) options['propagationPolicy'] = policy
  return options as DeleteOptions
}

/** @throws ApiError */
export function remove(write: Write): Outcome {
  const { backend, target, query, body } = write
  const options = deleteOptions(query, body)
  const writing = writingOf(write)
  if ((options.dryRun ?? []).length > 0) writing.dryRun = true
  const name = nameOf(target)
  const { object, isGone } = deleteObject(backend, target.kind, target.namespace, name, options, writing)
  if (!isGone || showsDeleted(target.kind)) return { code: 200, object }
  const { uid } = object.metadata
  const details = { name, ...(target.kind.group && { group: target.kind.group }), kind: target.kind.plural, uid }
  return {
    code: 200,
    object: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details, code: 200 },
  }
}

/** Deletes each object of a list; those that went meanwhile don't matter. */
export function removeAll(write: Write, objects: readonly AnyObject[]): void {
  for (const { metadata } of objects) {
    const { name, namespace } = metadata
    remove({ ...write, target: { kind: write.target.kind, name, ...(namespace === undefined ? {} : { namespace }) } })
  }
}
