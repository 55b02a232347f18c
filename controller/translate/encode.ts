// A resource in the form in which it is compared and sent.

import { hash } from 'node:crypto'
import type { Resource } from '../contract/resources.ts'

/** A resource, encoded once. */
export interface Encoded {
  resource: Resource
  /** Its JSON. */
  text: string
  /** Equal texts have equal hashes. */
  hash: string
}

export function encode(resource: Resource): Encoded {
  const text = JSON.stringify(resource)
  return { resource, text, hash: hash('sha1', text) }
}
