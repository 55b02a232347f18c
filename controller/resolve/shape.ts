// Reading fields whose type nobody has checked: SMI objects may come from other products' CRDs or straight from a file.

import type { SmiObject } from '../observe/objects.ts'

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
  for (const name of names) {
    if (isFields(object.spec) && object.spec[name] !== undefined && object.spec[name] !== null) {
      return { value: object.spec[name], path: `spec.${name}` }
    }
    if (object[name] !== undefined && object[name] !== null) return { value: object[name], path: name }
  }
  return { value: undefined, path: `spec.${names[0]}` }
}

/** Reads a port number; numbers in strings are accepted, as some writers have always sent them. */
export function readPort(value: unknown): number | null {
  const port = typeof value === 'string' && /^\d{1,5}$/.test(value) ? Number(value) : value
  return typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65535 ? port : null
}
