// Request bodies: JSON, or YAML or protobuf where the client says so.

import type { IncomingMessage } from 'node:http'
import { parse } from 'yaml'
import { ApiError, badRequest, unsupportedMediaType } from '../errors.ts'
import { parseProtobuf } from './protobuf.ts'

const maxBytes = 3 << 20

export const patchTypes = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
  'application/apply-patch+yaml': 'apply',
} as const

export type PatchType = (typeof patchTypes)[keyof typeof patchTypes]

/** The media type of a request's body, in lower case and without parameters; empty if it says none. */
export function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase()
}

/**
 * The body as data; undefined if there is none.
 * @throws ApiError 400, 413, 415
 */
export async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBytes) {
      throw new ApiError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${maxBytes}`)
    }
    chunks.push(chunk)
  }
  const bytes = Buffer.concat(chunks)
  if (bytes.length === 0) return undefined
  const type = mediaType(request)
  if (type === 'application/vnd.kubernetes.protobuf') return parseProtobuf(bytes)
  const text = bytes.toString()
  const isYaml = type === 'application/yaml' || type === 'application/apply-patch+yaml'
  const isJson = type === '' || type === 'application/json' || type in patchTypes
  if (!isYaml && !isJson) throw unsupportedMediaType('application/json, application/yaml')
  try {
    return isYaml ? parse(text) : JSON.parse(text)
  } catch (error) {
    throw badRequest(`the body can't be read: ${(error as Error).message}`)
  }
}
