// Ownership of fields (metadata.managedFields): sets of field paths as trees, what changed between two states of an object,
// and the record of who wrote what. Server-side apply (apply.ts) decides by these sets.

import { groupVersion, type Kind } from './kinds.ts'
import { type AnyObject, equal, type FieldSet, isRecord, type Json, type ManagedFields, timestamp } from './object.ts'
import { fieldSchema, type Schema } from './schema.ts'

/** Metadata that the system keeps and nobody owns. */
const unownedMeta = new Set([
  'name',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'generateName',
  'managedFields',
  'selfLink',
])

/** The part of an object that can be owned. */
export function ownable(object: AnyObject): Json {
  const { apiVersion: _, kind: __, metadata, ...rest } = object
  const meta = Object.fromEntries(Object.entries(metadata).filter(([field]) => !unownedMeta.has(field)))
  return Object.keys(meta).length === 0 ? rest : { ...rest, metadata: meta }
}

/** How a value's parts are owned: each by its own name or key, or the value only as a whole. */
export function shapeOf(value: unknown, schema: Schema | undefined): 'parts' | 'keyed' | 'set' | 'whole' {
  if (Array.isArray(value)) {
    const type = schema?.['x-kubernetes-list-type']
    return type === 'map' ? 'keyed' : type === 'set' ? 'set' : 'whole'
  }
  return isRecord(value) && schema?.['x-kubernetes-map-type'] !== 'atomic' ? 'parts' : 'whole'
}

interface Part {
  value: unknown
  schema?: Schema
}

/** The names of a value's parts in a field set, each with the part and its schema. */
export function partsOf(value: unknown, schema: Schema | undefined): Map<string, Part> {
  const parts = new Map<string, Part>()
  const add = (name: string, part: unknown, inner: Schema | undefined) =>
    parts.set(name, inner === undefined ? { value: part } : { value: part, schema: inner })
  switch (shapeOf(value, schema)) {
    case 'parts':
      for (const [name, part] of Object.entries(value as Json)) add(`f:${name}`, part, fieldSchema(schema, name))
      break
    case 'keyed':
      for (const item of value as Json[]) add(keyName(item, schema!), item, schema?.items)
      break
    case 'set':
      for (const item of value as unknown[]) add(`v:${JSON.stringify(item)}`, item, schema?.items)
      break
    case 'whole':
  }
  return parts
}

function keyName(item: Json, schema: Schema): string {
  const keys = [...(schema['x-kubernetes-list-map-keys'] ?? [])].sort()
  // Of a Service's and a container's ports, the protocol is a key that may be left out.
  const pairs = keys.map((key) => [key, item[key] ?? (key === 'protocol' ? 'TCP' : undefined)])
  return `k:${JSON.stringify(Object.fromEntries(pairs))}`
}

/** All fields of a value. */
export function fieldsOf(value: unknown, schema: Schema | undefined): FieldSet {
  return Object.fromEntries([...partsOf(value, schema)].map(([name, part]) => [name, fieldsOfPart(name, part)]))
}

/** An item of a keyed list is owned by itself (`.`), beside its fields. */
function fieldsOfPart(name: string, part: Part): FieldSet {
  const inner = fieldsOf(part.value, part.schema)
  return name.startsWith('k:') ? { '.': {}, ...inner } : inner
}

/** The fields of `next` that `old` lacks or has with another value. */
export function changedFields(old: unknown, next: unknown, schema: Schema | undefined): FieldSet {
  const before = partsOf(old, schema)
  const changed: FieldSet = {}
  for (const [name, part] of partsOf(next, schema)) {
    const earlier = before.get(name)
    if (earlier !== undefined && equal(earlier.value, part.value)) continue
    const isSplit = partsOf(part.value, part.schema).size > 0 && partsOf(earlier?.value, part.schema).size > 0
    if (!isSplit) changed[name] = fieldsOfPart(name, part)
    else {
      const inner = changedFields(earlier?.value, part.value, part.schema)
      if (!isEmpty(inner)) changed[name] = inner
    }
  }
  return changed
}

export function isEmpty(fields: FieldSet): boolean {
  return Object.keys(fields).length === 0
}

/** All that is in either. */
export function union(a: FieldSet, b: FieldSet): FieldSet {
  const all: FieldSet = { ...a }
  for (const [name, inner] of Object.entries(b)) all[name] = all[name] === undefined ? inner : union(all[name], inner)
  return all
}

/** What is in the first and not in the second. A leaf in the second takes all below it. */
export function without(a: FieldSet, b: FieldSet): FieldSet {
  const rest: FieldSet = {}
  for (const [name, inner] of Object.entries(a)) {
    const taken = b[name]
    if (taken === undefined) rest[name] = inner
    else if (!isEmpty(taken) && !isEmpty(inner)) {
      const left = without(inner, taken)
      if (!isEmpty(left)) rest[name] = left
    } else if (!isEmpty(taken)) rest[name] = inner
  }
  return rest
}

/** What is in both. */
export function common(a: FieldSet, b: FieldSet): FieldSet {
  const both: FieldSet = {}
  for (const [name, inner] of Object.entries(a)) {
    const other = b[name]
    if (other === undefined) continue
    if (isEmpty(inner) || isEmpty(other)) both[name] = isEmpty(inner) ? other : inner
    else {
      const shared = common(inner, other)
      if (!isEmpty(shared)) both[name] = shared
    }
  }
  return both
}

/** The paths in a set, as messages write them: `.spec.ports[port=80].name`. */
export function pathsOf(fields: FieldSet, prefix = ''): string[] {
  if (isEmpty(fields)) return [prefix]
  return Object.entries(fields).flatMap(([name, inner]) => {
    if (name === '.') return []
    if (name.startsWith('f:')) return pathsOf(inner, `${prefix}.${name.slice(2)}`)
    if (name.startsWith('v:')) return pathsOf(inner, `${prefix}[=${name.slice(2)}]`)
    const keys = Object.entries(JSON.parse(name.slice(2)) as Json).map(
      ([key, value]) => `${key}=${JSON.stringify(value)}`,
    )
    return pathsOf(inner, `${prefix}[${keys.join(',')}]`)
  })
}

/** An object without the record of its owners: what counts when two states are compared. */
export function disown(object: AnyObject): AnyObject {
  const { managedFields: _, ...metadata } = object.metadata
  return { ...object, metadata }
}

/** Records in `next` that a manager's create or update made it what it is, and takes what changed from all others. */
export function recordUpdate(
  next: AnyObject,
  old: AnyObject | undefined,
  kind: Kind,
  manager: string,
  subresource?: string,
): void {
  const before = old === undefined ? {} : ownable(old)
  const after = ownable(next)
  const changed = changedFields(before, after, kind.schema)
  const removed = changedFields(after, before, kind.schema)
  const isSame = (one: ManagedFields) =>
    one.manager === manager && one.operation === 'Update' && one.subresource === subresource
  const known = old?.metadata.managedFields ?? []
  const gone = without(removed, fieldsOf(after, kind.schema))
  const entries: ManagedFields[] = []
  for (const one of known) {
    const taken = isSame(one) ? gone : union(changed, gone)
    const left = without(one.fieldsV1, taken)
    if (!isEmpty(left)) entries.push({ ...one, fieldsV1: left })
  }
  if (!isEmpty(changed)) {
    const own = entries.find(isSame)
    const fieldsV1 = union(own?.fieldsV1 ?? {}, changed)
    const fresh: ManagedFields = {
      manager,
      operation: 'Update',
      apiVersion: groupVersion(kind),
      time: timestamp(),
      fieldsType: 'FieldsV1',
      fieldsV1,
      ...(subresource === undefined ? {} : { subresource }),
    }
    if (own === undefined) entries.push(fresh)
    else entries[entries.indexOf(own)] = fresh
  }
  if (entries.length === 0) delete next.metadata.managedFields
  else next.metadata.managedFields = entries
}
