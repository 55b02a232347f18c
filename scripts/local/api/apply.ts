// Server-side apply: merges what a manager wants into the live object, by field. A field of another manager with another
// value is a conflict, unless forced; a field that the manager no longer names and nobody else owns goes.

import { ApiError } from './errors.ts'
import {
  changedFields,
  common,
  fieldsOf,
  isEmpty,
  ownable,
  partsOf,
  pathsOf,
  shapeOf,
  union,
  without,
} from './fields.ts'
import { groupVersion, type Kind } from './kinds.ts'
import {
  type AnyObject,
  clone,
  equal,
  type FieldSet,
  isRecord,
  type Json,
  type ManagedFields,
  timestamp,
} from './object.ts'
import { fieldSchema, type Schema } from './schema.ts'

export interface Applying {
  manager: string
  isForced: boolean
  subresource?: string
}

/**
 * The live object (an empty one if it is to be created) with the applied configuration merged in, managedFields included.
 * @throws ApiError 409 with a cause for each field that somebody else owns
 */
export function applyConfiguration(live: AnyObject, applied: AnyObject, kind: Kind, applying: Applying): AnyObject {
  const wanted = ownable(applied)
  const wantedFields = fieldsOf(wanted, kind.schema)
  const entries = live.metadata.managedFields ?? []
  const isOwn = (one: ManagedFields) =>
    one.operation === 'Apply' && one.manager === applying.manager && one.subresource === applying.subresource
  const changed = common(changedFields(ownable(live), wanted, kind.schema), wantedFields)
  const conflicts = entries
    .filter((one) => !isOwn(one))
    .map((one) => ({ entry: one, fields: common(changed, one.fieldsV1) }))
    .filter(({ fields }) => !isEmpty(fields))
  const isAllowed = applying.isForced || (applying.manager === 'kubectl' && areFromKubectl(conflicts, live, kind))
  if (conflicts.length > 0 && !isAllowed) throw applyConflict(conflicts)

  const merged = merge(live, wanted, kind.schema) as AnyObject
  const own = entries.find(isOwn)
  const others = entries
    .filter((one) => !isOwn(one))
    .map((one) => ({ ...one, fieldsV1: without(one.fieldsV1, conflictsOf(one, conflicts)) }))
    .filter((one) => !isEmpty(one.fieldsV1))
  const dropped = without(own?.fieldsV1 ?? {}, wantedFields)
  const shared = others.reduce<FieldSet>((all, one) => union(all, one.fieldsV1), {})
  cut(merged, without(dropped, shared), kind.schema)
  const isUnchanged = own !== undefined && equal(own.fieldsV1, wantedFields)
  const entry: ManagedFields = {
    manager: applying.manager,
    operation: 'Apply',
    apiVersion: groupVersion(kind),
    time: isUnchanged ? (own.time ?? timestamp()) : timestamp(),
    fieldsType: 'FieldsV1',
    fieldsV1: wantedFields,
    ...(applying.subresource === undefined ? {} : { subresource: applying.subresource }),
  }
  merged.metadata.managedFields = [entry, ...others]
  return merged
}

interface Conflict {
  entry: ManagedFields
  fields: FieldSet
}

function conflictsOf(entry: ManagedFields, conflicts: readonly Conflict[]): FieldSet {
  return conflicts.find((one) => one.entry === entry)?.fields ?? {}
}

const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration'

/** Whether all conflicts are about what kubectl itself applied before it began to apply on the server. */
function areFromKubectl(conflicts: readonly Conflict[], live: AnyObject, kind: Kind): boolean {
  const text = live.metadata.annotations?.[lastApplied]
  if (text === undefined) return false
  const before = fieldsOf(ownable(JSON.parse(text) as AnyObject), kind.schema)
  return conflicts.every(({ fields }) => isEmpty(without(fields, before)))
}

function applyConflict(conflicts: readonly Conflict[]): ApiError {
  const causes = conflicts.flatMap(({ entry, fields }) =>
    pathsOf(fields).map((field) => {
      const version = entry.operation === 'Update' ? ` using ${entry.apiVersion}` : ''
      const message = `conflict with "${entry.manager}"${version}`
      return { reason: 'FieldManagerConflict', message, field }
    }),
  )
  const list = causes.map(({ message, field }) => `${message}: ${field}`).join(', ')
  const count = `${causes.length} conflict${causes.length === 1 ? '' : 's'}`
  return new ApiError(409, 'Conflict', `Apply failed with ${count}: ${list}`, { causes })
}

/** The applied value laid over the live one; a copy. */
function merge(live: unknown, applied: unknown, schema: Schema | undefined): unknown {
  switch (shapeOf(applied, schema)) {
    case 'parts': {
      const result: Json = isRecord(live) ? clone(live) : {}
      for (const [name, value] of Object.entries(applied as Json)) {
        result[name] = merge(result[name], value, fieldSchema(schema, name))
      }
      return result
    }
    case 'keyed':
    case 'set':
      return mergeList(live, applied as unknown[], schema!)
    case 'whole':
      return clone(applied)
  }
}

/** Items keep the live list's places; new ones follow in the order in which they are applied. */
function mergeList(live: unknown, applied: unknown[], schema: Schema): unknown[] {
  const before = partsOf(Array.isArray(live) ? live : [], schema)
  const after = partsOf(applied, schema)
  const kept = [...before].map(([name, part]) => {
    const wanted = after.get(name)
    return wanted === undefined ? clone(part.value) : merge(part.value, wanted.value, schema.items)
  })
  const added = [...after].filter(([name]) => !before.has(name)).map(([, part]) => clone(part.value))
  return [...kept, ...added]
}

/** Removes fields from an object, in place. */
function cut(value: unknown, fields: FieldSet, schema: Schema | undefined): void {
  for (const [name, inner] of Object.entries(fields)) {
    if (name.startsWith('f:') && isRecord(value)) cutField(value, name.slice(2), inner, schema)
    else if (Array.isArray(value)) cutItem(value, name, inner, schema)
  }
}

function cutField(value: Json, name: string, fields: FieldSet, schema: Schema | undefined): void {
  if (isEmpty(fields)) delete value[name]
  else {
    cut(value[name], fields, fieldSchema(schema, name))
    const left = value[name]
    if (Array.isArray(left) ? left.length === 0 : isRecord(left) && Object.keys(left).length === 0) delete value[name]
  }
}

function cutItem(list: unknown[], name: string, fields: FieldSet, schema: Schema | undefined): void {
  const part = partsOf(list, schema).get(name)
  if (part === undefined) return
  const index = list.findIndex((item) => equal(item, part.value))
  if (isEmpty(fields) || fields['.'] !== undefined) list.splice(index, 1)
  else cut(list[index], fields, schema?.items)
}
