// Reads the JSON of a built-in kind as the real API server's typed decoder does: unknown fields, nulls and empty lists and
// maps vanish, and a value of the wrong type is refused.

import { badRequest } from './errors.ts'
import { isRecord } from './object.ts'
import { fieldSchema, keepsUnknown, type Schema } from './schema.ts'

export interface Decoder {
  /** `Service in version "v1"`: what a refusal names. */
  what: string
  kind: string
  /** The structure that is being read. */
  struct?: string
  /** Paths of the fields that the kind does not have. */
  unknown: string[]
}

const base64 = /^(?:[A-Za-z0-9+/\s]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\s*$/

/**
 * The value as the kind's schema understands it: a copy.
 * @throws ApiError 400 where a value has the wrong type
 */
export function decode(value: unknown, schema: Schema, decoder: Decoder, path = ''): unknown {
  if (schema.model !== undefined) decoder.struct = schema.model.replace(/^(Core|Events)?V\d+/, '')
  if (schema['x-kubernetes-int-or-string'] === true) return decodeIntOrString(value, decoder, path)
  if (schema.type === undefined) return structuredClone(value)
  switch (schema.type) {
    case 'object':
      return decodeObject(value, schema, decoder, path)
    case 'array':
      if (!Array.isArray(value)) throw wrongType(value, 'array', decoder, path)
      return value.map((one, i) => (one === null ? null : decode(one, schema.items ?? {}, decoder, `${path}[${i}]`)))
    case 'string':
      return decodeText(value, schema, decoder, path)
    case 'boolean':
      if (typeof value !== 'boolean') throw wrongType(value, 'bool', decoder, path)
      return value
    case 'integer':
      if (!Number.isInteger(value)) throw wrongType(value, schema.format ?? 'int64', decoder, path)
      return value
    case 'number':
      if (typeof value !== 'number') throw wrongType(value, 'float64', decoder, path)
      return value
  }
}

function decodeText(value: unknown, schema: Schema, decoder: Decoder, path: string): string {
  if (schema.format === 'quantity' && typeof value === 'number') return String(value)
  if (typeof value !== 'string') throw wrongType(value, 'string', decoder, path)
  if (schema.format === 'byte' && !base64.test(value)) {
    throw badRequest(`${decoder.what} cannot be handled as a ${decoder.kind}: illegal base64 data in ${path}`)
  }
  return value
}

function decodeObject(value: unknown, schema: Schema, decoder: Decoder, path: string): unknown {
  const { struct } = decoder
  if (!isRecord(value)) throw wrongType(value, 'object', decoder, path)
  const decoded: Record<string, unknown> = {}
  for (const [name, inner] of Object.entries(value)) {
    const at = path === '' ? name : `${path}.${name}`
    if (struct !== undefined) decoder.struct = struct
    const known = fieldSchema(schema, name)
    if (known === undefined) {
      if (keepsUnknown(schema)) decoded[name] = structuredClone(inner)
      else decoder.unknown.push(at)
    } else if (inner !== null) {
      // A map is one field: its keys are not part of the path.
      const field = decode(inner, known, decoder, schema.properties === undefined ? path : at)
      if (!isEmptyCollection(field, known)) decoded[name] = field
    }
  }
  return decoded
}

/** An empty list or map is not told apart from an absent one; an empty structure is. */
function isEmptyCollection(value: unknown, schema: Schema): boolean {
  if (schema.type === 'array') return (value as unknown[]).length === 0
  return schema.type === 'object' && schema.properties === undefined && Object.keys(value as object).length === 0
}

function decodeIntOrString(value: unknown, decoder: Decoder, path: string): unknown {
  if (typeof value === 'string' || Number.isInteger(value)) return value
  throw wrongType(value, 'intstr.IntOrString', decoder, path)
}

function wrongType(value: unknown, wanted: string, decoder: Decoder, path: string): Error {
  const got = Array.isArray(value) ? 'array' : typeof value === 'boolean' ? 'bool' : typeof value
  const field = path.replace(/\[\d+\]/g, '')
  const at = `${decoder.struct ?? decoder.kind}.${field} of type ${wanted}`
  return badRequest(
    `${decoder.what} cannot be handled as a ${decoder.kind}: json: cannot unmarshal ${got} into Go struct field ${at}`,
  )
}
