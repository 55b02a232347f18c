// The schema of a kind, in the form that CustomResourceDefinitions use (the structural subset of OpenAPI v3). Built-in kinds
// have theirs from models.ts. Decoding of requests, validation, strategic merge and field ownership all walk it.

import { isRecord, type Json } from './object.ts'

export interface Schema {
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  format?: string
  description?: string
  /** Name of a shared schema: what /openapi/v3 refers to by $ref. Such schemas may contain themselves. */
  model?: string
  properties?: Record<string, Schema>
  additionalProperties?: Schema | boolean
  items?: Schema
  required?: string[]
  nullable?: boolean
  default?: unknown
  enum?: unknown[]
  pattern?: string
  minimum?: number
  maximum?: number
  exclusiveMinimum?: boolean
  exclusiveMaximum?: boolean
  multipleOf?: number
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
  uniqueItems?: boolean
  minProperties?: number
  maxProperties?: number
  allOf?: Schema[]
  anyOf?: Schema[]
  oneOf?: Schema[]
  not?: Schema
  'x-kubernetes-preserve-unknown-fields'?: boolean
  'x-kubernetes-int-or-string'?: boolean
  'x-kubernetes-embedded-resource'?: boolean
  'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map'
  'x-kubernetes-list-map-keys'?: string[]
  'x-kubernetes-map-type'?: 'atomic' | 'granular'
  'x-kubernetes-patch-merge-key'?: string
  'x-kubernetes-patch-strategy'?: string
}

/** The schema of one field of an object, or undefined if the object's schema does not know the field. */
export function fieldSchema(schema: Schema | undefined, name: string): Schema | undefined {
  const own = schema?.properties?.[name]
  if (own !== undefined) return own
  return typeof schema?.additionalProperties === 'object' ? schema.additionalProperties : undefined
}

/** Whether fields that the schema does not name are kept as they are. */
export function keepsUnknown(schema: Schema): boolean {
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return true
  return schema.additionalProperties === true
}

const implied = new Set(['apiVersion', 'kind', 'metadata'])

/**
 * Removes from a custom resource what its schema does not specify, in place.
 * @param found collects the paths of what was removed, for strict field validation
 */
export function prune(value: unknown, schema: Schema, path: string, found: string[], isRoot = false): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined)
      for (const [i, one] of value.entries()) prune(one, schema.items, `${path}[${i}]`, found)
    return
  }
  if (!isRecord(value)) return
  const isObject = isRoot || schema['x-kubernetes-embedded-resource'] === true
  for (const name of Object.keys(value)) {
    if (isObject && implied.has(name)) continue
    const at = path === '' ? name : `${path}.${name}`
    const inner = fieldSchema(schema, name)
    if (inner !== undefined) prune(value[name], inner, at, found)
    else if (!keepsUnknown(schema)) {
      delete value[name]
      found.push(at)
    }
  }
}

/** Fills in a custom resource's defaults, in place. A null where null is not allowed counts as nothing. */
export function fillDefaults(value: unknown, schema: Schema): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const one of value) fillDefaults(one, schema.items)
    return
  }
  if (!isRecord(value)) return
  for (const [name, inner] of Object.entries(schema.properties ?? {})) fillField(value, name, inner)
  if (typeof schema.additionalProperties !== 'object') return
  for (const name of Object.keys(value)) {
    if (schema.properties?.[name] === undefined) fillDefaults(value[name], schema.additionalProperties)
  }
}

function fillField(value: Json, name: string, schema: Schema): void {
  if (value[name] === null && schema.nullable !== true) delete value[name]
  if (value[name] === undefined && schema.default !== undefined) value[name] = structuredClone(schema.default)
  fillDefaults(value[name], schema)
}
