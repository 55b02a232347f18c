// Reads the body of a write: from any JSON to an object of the kind, with unknown fields dropped, refused or warned of as
// the client asked for, and a custom resource's defaults filled in.

import { type Decoder, decode } from './decode.ts'
import { badRequest } from './errors.ts'
import { groupVersion, type Kind } from './kinds.ts'
import { modelSchema } from './models.ts'
import { type AnyObject, isRecord, type Json, type Meta } from './object.ts'
import { fillDefaults, prune } from './schema.ts'

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore'

/**
 * A body as an object of the kind: a copy.
 * @throws ApiError 400 if it is of another kind, has fields of the wrong type, or with Strict has unknown fields
 */
export function acceptBody(
  body: unknown,
  kind: Kind,
  validation: FieldValidation = 'Ignore',
  warn: (text: string) => void = () => {},
): AnyObject {
  if (!isRecord(body)) throw badRequest('the body of the request must be an object')
  const apiVersion = groupVersion(kind)
  const given = { apiVersion: body['apiVersion'] ?? apiVersion, kind: body['kind'] ?? kind.kind }
  if (given.apiVersion !== apiVersion || given.kind !== kind.kind) {
    const got = `${String(given.apiVersion)}, Kind=${String(given.kind)}`
    throw badRequest(`the object provided is unrecognized (must be of type ${kind.kind} in ${apiVersion}): got ${got}`)
  }
  const what = `${kind.kind} in version "${kind.version}"`
  const decoder: Decoder = { what, kind: kind.kind, unknown: [] }
  const object = kind.isCustom ? acceptCustom(body, kind, decoder) : decode(body, kind.schema, decoder)
  if (validation === 'Strict' && decoder.unknown.length > 0) {
    const list = decoder.unknown.map((path) => `unknown field "${path}"`).join(', ')
    throw badRequest(`${what} cannot be handled as a ${kind.kind}: strict decoding error: ${list}`)
  }
  if (validation === 'Warn') for (const path of decoder.unknown) warn(`unknown field "${path}"`)
  const metadata = ((object as Json)['metadata'] ?? {}) as Meta
  return { ...(object as Json), ...given, metadata } as AnyObject
}

function acceptCustom(body: Json, kind: Kind, decoder: Decoder): Json {
  const { metadata, ...rest } = structuredClone(body)
  prune(rest, kind.schema, '', decoder.unknown, true)
  fillDefaults(rest, kind.schema)
  return { ...rest, metadata: decode(metadata ?? {}, modelSchema('V1ObjectMeta'), decoder, 'metadata') }
}

/** A stored custom resource as a version sees it: with that version's fields alone, and its defaults. */
export function acceptStored(object: AnyObject, kind: Kind): AnyObject {
  const { metadata, ...rest } = object
  const copy: Json = structuredClone(rest)
  copy['apiVersion'] = groupVersion(kind)
  prune(copy, kind.schema, '', [], true)
  fillDefaults(copy, kind.schema)
  return { ...copy, metadata } as AnyObject
}
