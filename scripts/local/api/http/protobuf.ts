// kubectl sends what its `create`, `auth can-i` and `create token` make as protobuf, and falls back to nothing else. This
// reads those few kinds, by the field numbers of the API's published .proto files; whatever else comes is refused.

import { unsupportedMediaType } from '../errors.ts'
import type { Json } from '../object.ts'

/** A message by field number: the field's JSON name, and what it holds. A trailing `[]` is a list. */
type Message = Record<number, readonly [name: string, holds: string]>

const messages: Record<string, Message> = {
  ObjectMeta: {
    1: ['name', 'string'],
    2: ['generateName', 'string'],
    3: ['namespace', 'string'],
    11: ['labels', 'map'],
    12: ['annotations', 'map'],
  },
  Namespace: { 1: ['metadata', 'ObjectMeta'] },
  ServiceAccount: { 1: ['metadata', 'ObjectMeta'] },
  ConfigMap: { 1: ['metadata', 'ObjectMeta'], 2: ['data', 'map'], 3: ['binaryData', 'bytesMap'] },
  Secret: { 1: ['metadata', 'ObjectMeta'], 2: ['data', 'bytesMap'], 3: ['type', 'string'], 4: ['stringData', 'map'] },
  Deployment: { 1: ['metadata', 'ObjectMeta'], 2: ['spec', 'DeploymentSpec'] },
  DeploymentSpec: { 1: ['replicas', 'integer'], 2: ['selector', 'LabelSelector'], 3: ['template', 'PodTemplateSpec'] },
  LabelSelector: { 1: ['matchLabels', 'map'] },
  PodTemplateSpec: { 1: ['metadata', 'ObjectMeta'], 2: ['spec', 'PodSpec'] },
  PodSpec: { 2: ['containers', 'Container[]'] },
  Container: {
    1: ['name', 'string'],
    2: ['image', 'string'],
    3: ['command', 'string[]'],
    4: ['args', 'string[]'],
    6: ['ports', 'ContainerPort[]'],
  },
  ContainerPort: { 1: ['name', 'string'], 3: ['containerPort', 'integer'], 4: ['protocol', 'string'] },
  SelfSubjectAccessReview: { 1: ['metadata', 'ObjectMeta'], 2: ['spec', 'SelfSubjectAccessReviewSpec'] },
  SelfSubjectAccessReviewSpec: {
    1: ['resourceAttributes', 'ResourceAttributes'],
    2: ['nonResourceAttributes', 'NonResourceAttributes'],
  },
  ResourceAttributes: {
    1: ['namespace', 'string'],
    2: ['verb', 'string'],
    3: ['group', 'string'],
    4: ['version', 'string'],
    5: ['resource', 'string'],
    6: ['subresource', 'string'],
    7: ['name', 'string'],
  },
  NonResourceAttributes: { 1: ['path', 'string'], 2: ['verb', 'string'] },
  SelfSubjectReview: { 1: ['metadata', 'ObjectMeta'] },
  TokenRequest: { 1: ['metadata', 'ObjectMeta'], 2: ['spec', 'TokenRequestSpec'] },
  TokenRequestSpec: {
    1: ['audiences', 'string[]'],
    3: ['boundObjectRef', 'BoundObjectReference'],
    4: ['expirationSeconds', 'integer'],
  },
  BoundObjectReference: {
    1: ['kind', 'string'],
    2: ['apiVersion', 'string'],
    3: ['name', 'string'],
    4: ['uid', 'string'],
  },
  Envelope: { 1: ['type', 'TypeMeta'], 2: ['raw', 'bytes'] },
  TypeMeta: { 1: ['apiVersion', 'string'], 2: ['kind', 'string'] },
}

const magic = Buffer.from('k8s\0')

/**
 * An object from its protobuf form.
 * @throws ApiError 415 for kinds and fields that are not in the table above
 */
export function parseProtobuf(body: Buffer): Json {
  if (!body.subarray(0, magic.length).equals(magic)) throw unsupportedMediaType('application/json, application/yaml')
  const { type, raw } = parseMessage(body.subarray(magic.length), 'Envelope') as {
    type: { apiVersion: string; kind: string }
    raw?: Buffer
  }
  return { ...type, ...parseMessage(raw ?? Buffer.alloc(0), type.kind) }
}

function parseMessage(bytes: Buffer, kind: string): Json {
  const message = messages[kind]
  if (message === undefined) throw unsupportedMediaType(`application/json for ${kind}: kubectl apply sends that`)
  const result: Json = {}
  for (const [number, value] of fieldsOf(bytes)) {
    const field = message[number]
    if (field === undefined) {
      // Go writes also what is not set: as zeros, or messages of nothing but zeros.
      if (isNothing(value)) continue
      throw unsupportedMediaType(`application/json for field ${number} of ${kind}: kubectl apply sends that`)
    }
    setField(result, field, value)
  }
  return result
}

function isNothing(value: number | Buffer): boolean {
  if (typeof value === 'number') return value === 0
  if (value.length === 0) return true
  try {
    return fieldsOf(value).every(([number, inner]) => number > 0 && isNothing(inner))
  } catch {
    return false
  }
}

function setField(result: Json, [name, holds]: readonly [string, string], value: number | Buffer): void {
  if (holds.endsWith('[]')) {
    const list = (result[name] ?? []) as unknown[]
    list.push(readValue(holds.slice(0, -2), value))
    result[name] = list
    return
  }
  const isMap = holds === 'map' || holds === 'bytesMap'
  const read = readValue(holds, value)
  if (read === '') return
  result[name] = isMap ? { ...(result[name] as Json | undefined), ...(read as Json) } : read
}

function readValue(holds: string, value: number | Buffer): unknown {
  if (typeof value === 'number') return value
  switch (holds) {
    case 'string':
      return value.toString()
    case 'bytes':
      return value
    case 'map':
      return entryOf(value, 'utf8')
    case 'bytesMap':
      return entryOf(value, 'base64')
    default:
      return parseMessage(value, holds)
  }
}

function entryOf(value: Buffer, encoding: BufferEncoding): Json {
  const entry = new Map(fieldsOf(value))
  const text = (part: number | Buffer | undefined, as: BufferEncoding) =>
    Buffer.isBuffer(part) ? part.toString(as) : ''
  return { [text(entry.get(1), 'utf8')]: text(entry.get(2), encoding) }
}

const varint = 0
const lengthDelimited = 2

/** The fields of a message in order: number and value. */
function fieldsOf(bytes: Buffer): [number, number | Buffer][] {
  const fields: [number, number | Buffer][] = []
  let at = 0
  const readVarint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++]
      if (byte === undefined || scale > 2 ** 63) throw unsupportedMediaType('application/json')
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  while (at < bytes.length) {
    const tag = readVarint()
    const value = readVarint()
    if ((tag & 7) === varint) fields.push([tag >>> 3, value])
    else if ((tag & 7) === lengthDelimited && at + value <= bytes.length) {
      fields.push([tag >>> 3, bytes.subarray(at, at + value)])
      at += value
    } else throw unsupportedMediaType('application/json')
  }
  return fields
}
