// Responses: which form the client accepts an object in (JSON, Table, metadata alone), and errors as Status objects.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { ApiError, notAcceptable } from '../errors.ts'
import type { Kind } from '../kinds.ts'
import type { AnyObject, Json } from '../object.ts'
import { type IncludeObject, partialOf, tableOf } from '../table.ts'

export type Form = 'json' | 'table' | 'partial'

/**
 * The form that the client likes best among those that we have.
 * @throws ApiError 406 if there is none
 */
export function acceptedForm(accept: string | undefined): Form {
  const ranges = (accept ?? '*/*').split(',').map((range) =>
    range
      .trim()
      .split(';')
      .map((part) => part.trim()),
  )
  for (const [type = '', ...parameters] of ranges) {
    if (!['application/json', 'application/*', '*/*', ''].includes(type)) continue
    const form = parameters.find((parameter) => parameter.startsWith('as='))?.slice(3)
    if (form === undefined) return 'json'
    const isKnown = parameters.includes('v=v1') && parameters.includes('g=meta.k8s.io')
    if (isKnown && form === 'Table') return 'table'
    if (isKnown && form.startsWith('PartialObjectMetadata')) return 'partial'
  }
  throw notAcceptable('application/json')
}

/** How the answers to one request are to look. */
export interface Answering {
  kind: Kind
  form: Form
  include: IncludeObject
}

/** An object in the form that was asked for. */
export function shapeObject({ kind, form, include }: Answering, object: AnyObject, hasHeader = true): Json {
  if (form === 'json') return object
  if (form === 'partial') return partialOf(object)
  return tableOf(kind, [object], { resourceVersion: object.metadata.resourceVersion }, include, hasHeader)
}

/** A list in the form that was asked for. */
export function shapeList({ kind, form, include }: Answering, objects: readonly AnyObject[], metadata: Json): Json {
  if (form === 'table') return tableOf(kind, objects, metadata, include)
  if (form === 'partial') {
    const items = objects.map(partialOf)
    return { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata, items }
  }
  const apiVersion = kind.group === '' ? kind.version : `${kind.group}/${kind.version}`
  // The items of built-in kinds don't repeat what the list says.
  const items = kind.isCustom ? objects : objects.map(({ apiVersion: _, kind: __, ...rest }) => rest)
  return { kind: `${kind.kind}List`, apiVersion, metadata, items }
}

/** Sends a JSON body. */
export function sendJson(
  response: ServerResponse,
  code: number,
  body: unknown,
  contentType = 'application/json',
): void {
  const text = `${JSON.stringify(body)}\n`
  response.writeHead(code, {
    'content-type': contentType,
    'cache-control': 'no-cache, private',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

/** Sends an error as a Status; what is no ApiError is a fault of this server and says so. */
export function sendError(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  const known =
    error instanceof ApiError
      ? error
      : new ApiError(500, 'InternalError', `Internal error occurred: ${(error as Error).stack ?? error}`)
  if (response.headersSent) {
    response.destroy()
    return
  }
  // The rest of a body that nobody read would be taken for the next request.
  if (!request.complete) response.setHeader('connection', 'close')
  sendJson(response, known.status.code, known.status)
}
