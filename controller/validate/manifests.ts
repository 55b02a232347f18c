// Manifests as people write them: YAML or JSON, several in a file, lists within. Becomes objects for the checks, or says
// in which line it can't.

import { parseAllDocuments } from 'yaml'
import type { KubeObject } from '../observe/objects.ts'
import { type Fields, isFields } from '../resolve/shape.ts'

/** What makes a manifest no object. */
export interface Fault {
  /** File name, or `-`. */
  source: string
  line: number
  message: string
}

export interface Parsed {
  objects: KubeObject[]
  faults: Fault[]
}

/**
 * Parses a file of manifests.
 * @param source name of the file, for messages
 * @param namespace where objects live that don't say so
 */
export function parseManifests(text: string, source: string, namespace: string): Parsed {
  const parsed: Parsed = { objects: [], faults: [] }
  for (const document of parseAllDocuments(text, { maxAliasCount: 100 } as object)) {
    if (!('errors' in document)) continue
    const line = lineOf(text, document.contents?.range?.[0] ?? 0)
    const [error] = document.errors
    if (error) {
      parsed.faults.push({ source, line: lineOf(text, error.pos[0]), message: firstLine(error.message) })
      continue
    }
    try {
      // Anchors that multiply each other fail here.
      for (const value of unpack(document.toJS({ maxAliasCount: 100 }))) {
        const object = readObject(value, namespace)
        if (typeof object === 'string') parsed.faults.push({ source, line, message: object })
        else parsed.objects.push(object)
      }
    } catch (error) {
      parsed.faults.push({ source, line, message: firstLine(String(error)) })
    }
  }
  return parsed
}

/** Lists as kubectl prints them become what they hold; an empty document becomes nothing. */
function unpack(value: unknown): unknown[] {
  if (value === null || value === undefined) return []
  if (!isFields(value) || typeof value['kind'] !== 'string') return [value]
  // What kustomize reads lies among manifests and is none.
  if (String(value['apiVersion']).startsWith('kustomize.config.k8s.io/')) return []
  if (!value['kind'].endsWith('List')) return [value]
  return Array.isArray(value['items']) ? value['items'].flatMap(unpack) : [value]
}

/** @returns the object, or what is wrong with it */
function readObject(value: unknown, namespace: string): KubeObject | string {
  if (!isFields(value)) return 'a manifest must be a map with apiVersion, kind and metadata'
  const { apiVersion, kind, metadata } = value
  if (typeof apiVersion !== 'string' || apiVersion === '') return 'apiVersion: must be set, e.g. "v1"'
  if (typeof kind !== 'string' || kind === '') return 'kind: must be set, e.g. "Service"'
  if (!isFields(metadata) || typeof metadata['name'] !== 'string' || metadata['name'] === '') {
    return `${kind} metadata.name: must be set`
  }
  for (const part of ['labels', 'annotations']) {
    const fault = stringsFault(metadata[part])
    if (fault !== null) return `${kind} ${metadata['name']} metadata.${part}${fault}`
  }
  return { ...value, apiVersion, kind, metadata: completeMeta(metadata, kind, namespace) }
}

function stringsFault(value: unknown): string | null {
  if (value === undefined || value === null) return null
  if (!isFields(value)) return ': must be a map'
  const wrong = Object.keys(value).find((key) => typeof value[key] !== 'string')
  return wrong === undefined ? null : `[${wrong}]: must be a string; put the value in quotes`
}

/** What the API server would add, as far as checks need it. */
function completeMeta(metadata: Fields, kind: string, namespace: string): KubeObject['metadata'] {
  const name = String(metadata['name'])
  const own = isClusterScoped(kind) ? {} : { namespace: String(metadata['namespace'] ?? namespace) }
  return { uid: '', resourceVersion: '', ...metadata, ...own, name }
}

function isClusterScoped(kind: string): boolean {
  return kind === 'Namespace' || kind === 'Node'
}

function lineOf(text: string, offset: number): number {
  return text.slice(0, Math.max(offset, 0)).split('\n').length
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? ''
}
