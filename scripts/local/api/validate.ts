// Checks a custom resource against its schema. The errors name the field and say what is wrong as the real API server does.

import { type FieldError, required, unsupported } from './errors.ts'
import { equal, isRecord } from './object.ts'
import { fieldSchema, type Schema } from './schema.ts'

/** What breaks the schema, in the order of the schema's own checks; nothing if all is well. */
export function validate(value: unknown, schema: Schema, path = ''): FieldError[] {
  if (value === null && schema.nullable === true) return []
  const wrongType = checkType(value, schema, path)
  if (wrongType !== undefined) return [wrongType]
  const errors = checkEnum(value, schema, path)
  if (typeof value === 'string') errors.push(...checkString(value, schema, path))
  if (typeof value === 'number') errors.push(...checkNumber(value, schema, path))
  if (Array.isArray(value)) errors.push(...checkArray(value, schema, path))
  else if (isRecord(value)) errors.push(...checkObject(value, schema, path))
  errors.push(...checkCombined(value, schema, path))
  return errors
}

function bad(path: string, shown: unknown, why: string): FieldError {
  const value = typeof shown === 'object' ? JSON.stringify(shown) : shown
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  const reason = 'FieldValueInvalid' as const
  return { reason, field: path === '' ? '<nil>' : path, message: `Invalid value: ${text}: ${path} in body ${why}` }
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

function checkType(value: unknown, schema: Schema, path: string): FieldError | undefined {
  const type = typeOf(value)
  if (schema['x-kubernetes-int-or-string'] === true) {
    return type === 'integer' || type === 'string' ? undefined : badType(path, type, 'integer,string')
  }
  if (schema.type === undefined || schema.type === type || (schema.type === 'number' && type === 'integer')) {
    return undefined
  }
  return badType(path, type, schema.type)
}

function badType(path: string, got: string, wanted: string): FieldError {
  const message = `Invalid value: "${got}": ${path} in body must be of type ${wanted}: "${got}"`
  return { reason: 'FieldValueTypeInvalid', field: path === '' ? '<nil>' : path, message }
}

function checkEnum(value: unknown, schema: Schema, path: string): FieldError[] {
  if (schema.enum === undefined || schema.enum.some((one) => equal(one, value))) return []
  return [unsupported(path, value, schema.enum)]
}

function checkString(value: string, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  const length = [...value].length
  if (schema.maxLength !== undefined && length > schema.maxLength) {
    const message = `Too long: may not be more than ${schema.maxLength} bytes`
    errors.push({ reason: 'FieldValueTooLong', field: path, message })
  }
  if (schema.minLength !== undefined && length < schema.minLength) {
    errors.push(bad(path, value, `should be at least ${schema.minLength} chars long`))
  }
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value)) {
    errors.push(bad(path, value, `should match '${schema.pattern}'`))
  }
  return errors
}

function checkNumber(value: number, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  const { minimum, maximum, multipleOf } = schema
  if (minimum !== undefined && (schema.exclusiveMinimum === true ? value <= minimum : value < minimum)) {
    const limit = schema.exclusiveMinimum === true ? 'greater than' : 'greater than or equal to'
    errors.push(bad(path, value, `should be ${limit} ${minimum}`))
  }
  if (maximum !== undefined && (schema.exclusiveMaximum === true ? value >= maximum : value > maximum)) {
    const limit = schema.exclusiveMaximum === true ? 'less than' : 'less than or equal to'
    errors.push(bad(path, value, `should be ${limit} ${maximum}`))
  }
  if (multipleOf !== undefined && value % multipleOf !== 0) {
    errors.push(bad(path, value, `should be a multiple of ${multipleOf}`))
  }
  const range = schema.format === 'int32' ? 2 ** 31 : Number.POSITIVE_INFINITY
  if (value >= range || value < -range) errors.push(bad(path, value, `must be a 32-bit integer (int32)`))
  return errors
}

function checkArray(value: unknown[], schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    errors.push(bad(path, value.length, `should have at least ${schema.minItems} items`))
  }
  if (schema.maxItems !== undefined && value.length > schema.maxItems) {
    const message = `Too many: ${value.length}: must have at most ${schema.maxItems} items`
    errors.push({ reason: 'FieldValueInvalid', field: path, message })
  }
  if (schema.items !== undefined) {
    for (const [i, one] of value.entries()) errors.push(...validate(one, schema.items, `${path}[${i}]`))
  }
  errors.push(...checkUnique(value, schema, path))
  return errors
}

function checkUnique(value: unknown[], schema: Schema, path: string): FieldError[] {
  const kind = schema['x-kubernetes-list-type']
  if (kind !== 'set' && kind !== 'map') return []
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  const identity = (one: unknown): unknown =>
    kind === 'map' && isRecord(one) ? Object.fromEntries(keys.map((key) => [key, one[key]])) : one
  const errors: FieldError[] = []
  for (const [i, one] of value.entries()) {
    if (value.slice(0, i).some((earlier) => equal(identity(earlier), identity(one)))) {
      const message = `Duplicate value: ${JSON.stringify(identity(one))}`
      errors.push({ reason: 'FieldValueDuplicate', field: `${path}[${i}]`, message })
    }
  }
  return errors
}

function checkObject(value: Record<string, unknown>, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  const at = (name: string) => (path === '' ? name : `${path}.${name}`)
  const count = Object.keys(value).length
  if (schema.minProperties !== undefined && count < schema.minProperties) {
    errors.push(bad(path, count, `should have at least ${schema.minProperties} properties`))
  }
  if (schema.maxProperties !== undefined && count > schema.maxProperties) {
    errors.push(bad(path, count, `must have at most ${schema.maxProperties} properties`))
  }
  for (const name of schema.required ?? []) if (value[name] === undefined) errors.push(required(at(name)))
  for (const [name, one] of Object.entries(value)) {
    const inner = fieldSchema(schema, name)
    if (inner !== undefined && one !== undefined) errors.push(...validate(one, inner, at(name)))
  }
  return errors
}

function checkCombined(value: unknown, schema: Schema, path: string): FieldError[] {
  const errors = (schema.allOf ?? []).flatMap((one) => validate(value, one, path))
  const matching = (all: Schema[]) => all.filter((one) => validate(value, one, path).length === 0).length
  if (schema.anyOf !== undefined && matching(schema.anyOf) === 0) {
    // The first alternative's complaint says more than "none of them".
    errors.push(
      ...validate(value, schema.anyOf[0]!, path),
      bad(path, value, 'must validate at least one schema (anyOf)'),
    )
  }
  if (schema.oneOf !== undefined && matching(schema.oneOf) !== 1) {
    errors.push(bad(path, value, 'must validate one and only one schema (oneOf)'))
  }
  if (schema.not !== undefined && matching([schema.not]) === 1) {
    errors.push(bad(path, value, 'must not validate the schema (not)'))
  }
  return errors
}
