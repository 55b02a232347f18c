// OpenAPI v3, as far as kubectl reads it: that writes take fieldValidation (so that the server checks fields, not kubectl),
// and the fields of each kind for `kubectl explain`.

import { createHash } from 'node:crypto'
import { noSuchPath } from '../errors.ts'
import type { Kind, Kinds } from '../kinds.ts'
import { modelSchema } from '../models.ts'
import { isRecord, type Json } from '../object.ts'
import type { Schema } from '../schema.ts'
import { documentNames } from './discovery.ts'

const root = '/openapi/v3'

/**
 * Answers /openapi/v3 and the documents below it; undefined for any other path.
 * @throws ApiError 404 for a group version that is not served
 */
export function openapi(kinds: Kinds, path: string): Json | undefined {
  if (path !== root && !path.startsWith(`${root}/`)) return undefined
  const names = documentNames(kinds)
  if (path === root) {
    const paths = [...names].map(([name, served]) => {
      const hash = createHash('sha256')
        .update(JSON.stringify(documentOf(name, served)))
        .digest('hex')
        .slice(0, 32)
      return [name, { serverRelativeURL: `${root}/${name}?hash=${hash}` }]
    })
    return { paths: Object.fromEntries(paths) }
  }
  const name = path.slice(root.length + 1)
  const served = names.get(name)
  if (served === undefined) throw noSuchPath()
  return documentOf(name, served)
}

function documentOf(name: string, kinds: readonly Kind[]): Json {
  const schemas: Json = {}
  const paths: Json = {}
  for (const kind of kinds) {
    const gvk = { group: kind.group, version: kind.version, kind: kind.kind }
    const id = `${kind.group === '' ? 'core' : kind.group}.${kind.version}.${kind.kind}`
    const schema = withReferences(kind.schema, schemas, true)
    if (kind.isCustom) {
      const properties = { apiVersion: { type: 'string' }, kind: { type: 'string' }, ...(schema['properties'] as Json) }
      schema['properties'] = { ...properties, metadata: reference(modelSchema('V1ObjectMeta'), schemas) }
    }
    schemas[id] = { ...schema, 'x-kubernetes-group-version-kind': [gvk] }
    const prefix = kind.namespaced ? `/${name}/namespaces/{namespace}/${kind.plural}` : `/${name}/${kind.plural}`
    const operation = (parameters: string[]) => ({
      parameters: parameters.map((one) => ({ name: one, in: 'query', schema: { type: 'string' } })),
      responses: {},
      'x-kubernetes-group-version-kind': gvk,
    })
    paths[prefix] = { post: operation(['dryRun', 'fieldManager', 'fieldValidation']) }
    // Not a word of strategic merge in the media types: then kubectl uses the merge keys that it has itself.
    const content = { 'application/merge-patch+json': { schema: { type: 'object' } } }
    const patch = { ...operation(['dryRun', 'fieldManager', 'fieldValidation', 'force']), requestBody: { content } }
    paths[`${prefix}/{name}`] = { put: operation(['dryRun', 'fieldManager', 'fieldValidation']), patch }
  }
  const info = { title: 'Kubernetes', version: 'local' }
  return { openapi: '3.0.0', info, paths, components: { schemas } }
}

function reference(schema: Schema, schemas: Json): Json {
  const name = schema.model!
  if (schemas[name] === undefined) {
    schemas[name] = {}
    schemas[name] = withReferences(schema, schemas, true)
  }
  return { $ref: `#/components/schemas/${name}` }
}

/** A schema whose shared parts are only referred to, and added to `schemas`. */
function withReferences(schema: Schema, schemas: Json, isTop = false): Json {
  if (schema.model !== undefined && !isTop) return reference(schema, schemas)
  const { model: _, properties, items, additionalProperties, ...rest } = schema
  const result: Json = { ...rest }
  if (properties !== undefined) {
    const entries = Object.entries(properties).map(([name, inner]) => [name, withReferences(inner, schemas)])
    result['properties'] = Object.fromEntries(entries)
  }
  if (items !== undefined) result['items'] = withReferences(items, schemas)
  if (isRecord(additionalProperties)) {
    result['additionalProperties'] = withReferences(additionalProperties, schemas)
  } else if (additionalProperties !== undefined) result['additionalProperties'] = additionalProperties
  return result
}
