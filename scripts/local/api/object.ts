// What all parts of the local API hold in hand: a Kubernetes object as parsed JSON, and the few things done with any JSON.
// Stored objects are frozen: they are shared by all readers and only ever replaced.

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

/** Who owns which fields; `fieldsV1` is a tree of `f:name`, `k:{…}`, `v:…` and `.` (see fields.ts). */
export interface ManagedFields {
  manager: string
  operation: 'Apply' | 'Update'
  apiVersion: string
  time?: string
  fieldsType: 'FieldsV1'
  fieldsV1: FieldSet
  subresource?: string
}

export interface FieldSet {
  [part: string]: FieldSet
}

export interface Meta {
  name: string
  namespace?: string
  uid: string
  resourceVersion: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  deletionGracePeriodSeconds?: number
  generateName?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  finalizers?: string[]
  ownerReferences?: OwnerReference[]
  managedFields?: ManagedFields[]
}

export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: Meta
}

/** An object whose other fields are not known to the code in hand. */
export type AnyObject = KubeObject & { [field: string]: unknown }

export type Json = Record<string, unknown>

export function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The record under a field, or an empty one: for reading paths that may be absent. */
export function sub(value: unknown, field: string): Json {
  const inner = isRecord(value) ? value[field] : undefined
  return isRecord(inner) ? inner : {}
}

/** `namespace/name`, or the bare name of a cluster-scoped object. */
export function keyOf(namespace: string | undefined, name: string): string {
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`
}

export function clone<T>(value: T): T {
  return structuredClone(value)
}

/** Freezes a JSON value to its leaves, so that a reader that changes a stored object fails at once. */
export function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) freeze(inner)
  }
  return value
}

/** Equality of JSON values; the order of an object's fields does not count. */
export function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((one, i) => equal(one, b[i]))
  if (!isRecord(a) || !isRecord(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equal(a[key], b[key]))
}

/** Now, as the API writes times: RFC 3339 in whole seconds. */
export function timestamp(ms = Date.now()): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}
