// Recorded: the checks of contract version 1 (schema.ts beside it). Never changed.

import { isIPv4 } from 'node:net'

/** Throws a CheckError if the value is not what it must be. `where`: its place, such as `ports[0].number`. */
export type Check = (value: unknown, where: string) => void

/** Checks for every field of T, so that a field added to the contract without a check does not compile. */
export type Fields<T> = { readonly [K in keyof Required<T>]: Check }

export class CheckError extends Error {
  override name = 'CheckError'
}

function fail(value: unknown, where: string, wanted: string): never {
  const shown = value === undefined ? 'is missing' : `is ${clip(JSON.stringify(value))}`
  throw new CheckError(`${where === '' ? 'it' : where} ${shown}, wanted ${wanted}`)
}

function clip(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

function guard(wanted: string, holds: (value: unknown) => boolean): Check {
  return (value, where) => {
    if (!holds(value)) fail(value, where, wanted)
  }
}

export const text = guard('a text', (value) => typeof value === 'string')
export const name = guard('a text that is not empty', (value) => typeof value === 'string' && value !== '')
export const boolean = guard('true or false', (value) => typeof value === 'boolean')
export const key = guard('namespace/name', (value) => typeof value === 'string' && /^[^/]+\/[^/]+$/.test(value))
export const keyOrNone = guard(
  'namespace/name or nothing',
  (value) => value === '' || /^[^/]+\/[^/]+$/.test(String(value)),
)
export const address = guard('an IPv4 address', (value) => typeof value === 'string' && isIPv4(value))
export const addressOrNone = guard(
  'an IPv4 address or nothing',
  (value) => value === '' || (typeof value === 'string' && isIPv4(value)),
)
/** An IPv4 address, or a host name (RFC 1123) whose last label is no number. */
export const host = guard(
  'an IPv4 address or a host name',
  (value) =>
    typeof value === 'string' &&
    (isIPv4(value) ||
      (value.length <= 253 &&
        /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*(?!\d+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(value))),
)
export const headerName = guard(
  'a lower-case header name',
  (value) => typeof value === 'string' && /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(value),
)
export const port = whole(1, 65_535)
export const count = whole(0)
export const percent = number(0, 100)
export const share = number(0, 1)

/** A whole number within limits, both included. */
export function whole(least: number, most = Number.MAX_SAFE_INTEGER): Check {
  return guard(
    most === Number.MAX_SAFE_INTEGER ? `a whole number from ${least}` : `a whole number from ${least} to ${most}`,
    (value) => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most,
  )
}

/** A number within limits, both included. */
export function number(least: number, most: number): Check {
  return guard(
    `a number from ${least} to ${most}`,
    (value) => typeof value === 'number' && value >= least && value <= most,
  )
}

export function oneOf(...choices: string[]): Check {
  return guard(`one of ${choices.join(', ')}`, (value) => typeof value === 'string' && choices.includes(value))
}

export function nullable(check: Check): Check {
  return (value, where) => {
    if (value !== null) check(value, where)
  }
}

/** A field that may be absent. */
export function maybe(check: Check): Check {
  return (value, where) => {
    if (value !== undefined) check(value, where)
  }
}

export function list(check: Check): Check {
  return (value, where) => {
    if (!Array.isArray(value)) fail(value, where, 'a list')
    for (let i = 0; i < value.length; i++) check(value[i], `${where}[${i}]`)
  }
}

/** An object that has these fields and no others. */
export function object<T>(fields: Fields<T>): Check {
  const known = new Map(Object.entries<Check>(fields))
  return (value, where) => {
    const given = asObject(value, where)
    const inside = where === '' ? '' : `${where}.`
    for (const field of Object.keys(given)) {
      if (!known.has(field)) throw new CheckError(`${inside}${field} is not a field of this contract version`)
    }
    for (const [field, check] of known) check(given[field], `${inside}${field}`)
  }
}

/** @throws CheckError if the value is not an object */
export function asObject(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(value, where, 'an object')
  return value as Record<string, unknown>
}
