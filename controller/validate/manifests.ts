// Manifests as people write them: YAML or JSON, several in a file, lists within. Becomes objects for the checks, each with
// the lines that its fields stand in, or says in which line it can't.

import { type Document, type Node, parseAllDocuments } from 'yaml'
import type { KubeObject } from '../observe/objects.ts'
import { type Fields, isFields } from '../resolve/shape.ts'
import { type LineCounts, lineCounts, type Step, stepsOf, walk } from './lines.ts'

/** What makes a manifest no object. */
export interface Fault {
  /** File name, or `-`. */
  source: string
  line: number
  message: string
}

/** Where an object stands. */
export interface Place {
  /** File name, or `-`. */
  source: string
  /**
   * The line of a field, or of what there is of the way to it.
   * @param field a JSON path as problems carry it, e.g. `spec.backends[1].service`; empty: the object itself
   */
  line(field: string): number
}

export interface Parsed {
  objects: KubeObject[]
  faults: Fault[]
  /** Of each object. */
  places: Map<KubeObject, Place>
}

/**
 * Parses a file of manifests.
 * @param source name of the file, for messages
 * @param namespace where objects live that don't say so
 */
export function parseManifests(text: string, source: string, namespace: string): Parsed {
  const parsed: Parsed = { objects: [], faults: [], places: new Map() }
  const counts = lineCounts(text)
  for (const document of parseAllDocuments(text, { maxAliasCount: 100 } as object)) {
    if (!('errors' in document)) continue
    const [error] = document.errors
    if (error) {
      parsed.faults.push({ source, line: counts.lineAt(error.pos[0]), message: firstLine(error.message) })
      continue
    }
    readDocument(document, counts, source, namespace, parsed)
  }
  return parsed
}

function readDocument(
  document: Document.Parsed,
  counts: LineCounts,
  source: string,
  namespace: string,
  parsed: Parsed,
): void {
  const root: Node | null = document.contents
  try {
    // Anchors that multiply each other fail here.
    for (const { value, steps } of unpack(document.toJS({ maxAliasCount: 100 }), [])) {
      const place: Place = {
        source,
        line: (field) => counts.lineAt(walk(document, root, [...steps, ...stepsOf(field)])),
      }
      const object = readObject(value, namespace)
      if (typeof object === 'string') parsed.faults.push({ source, line: place.line(''), message: object })
      else {
        parsed.objects.push(object)
        parsed.places.set(object, place)
      }
    }
  } catch (error) {
    parsed.faults.push({ source, line: counts.lineAt(root?.range?.[0] ?? 0), message: firstLine(String(error)) })
  }
}

interface Unpacked {
  value: unknown
  /** The way to it from the document's root. */
  steps: Step[]
}

/** Lists as kubectl prints them become what they hold; an empty document becomes nothing. */
function unpack(value: unknown, steps: Step[]): Unpacked[] {
  if (value === null || value === undefined) return []
  if (!isFields(value) || typeof value['kind'] !== 'string') return [{ value, steps }]
  // What kustomize reads lies among manifests and is none.
  if (String(value['apiVersion']).startsWith('kustomize.config.k8s.io/')) return []
  if (!value['kind'].endsWith('List') || !Array.isArray(value['items'])) return [{ value, steps }]
  return value['items'].flatMap((item, index) => unpack(item, [...steps, 'items', index]))
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

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? ''
}
