// Reading fields whose type nobody has checked: SMI objects may come from other products' CRDs or straight from a file.

import type { SmiObject } from '../observe/objects.ts'
import type { Problems } from './problem.ts'

export type Fields = Record<string, unknown>

/** Whether it is a JSON object. */
export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A field of an SMI object, and where it stands. */
export interface Found {
  value: unknown
  /** `spec.backends`, or `matches` where an old version keeps it at the top. */
  path: string
}

/**
 * Finds a field in `spec`, else at the top: old versions have no `spec`, and people mix the shapes up.
 * @param names the field's names through the versions, the newest first
 */
export function findField(object: SmiObject, ...names: string[]): Found {
  return findAll(object, names)[0] ?? { value: undefined, path: `spec.${names[0]}` }
}

/** Says of a field that stands in several places, as clients of different versions leave it, which of them counts. */
export function reportIgnored(object: SmiObject, problems: Problems, ...names: string[]): void {
  const [first, ...others] = findAll(object, names)
  for (const { path } of others) {
    problems.warn('FieldIgnored', path, `is ignored, as ${first!.path} stands there too; delete one of them`)
  }
}

function findAll(object: SmiObject, names: readonly string[]): Found[] {
  const places = names.flatMap((name): Found[] => [
    { value: isFields(object.spec) ? object.spec[name] : undefined, path: `spec.${name}` },
    { value: object[name], path: name },
  ])
  return places.filter(({ value }) => value !== undefined && value !== null)
}

/** Reads a port number; numbers in strings are accepted, as some writers have always sent them. */
export function readPort(value: unknown): number | null {
  const port = typeof value === 'string' && /^\d{1,5}$/.test(value) ? Number(value) : value
  return typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65535 ? port : null
}
