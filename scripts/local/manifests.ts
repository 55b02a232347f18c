// Reads manifests as `kubectl apply -k` would (plain resources only, which is all that ours use) and applies them.

import { readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parse, parseAllDocuments } from 'yaml'
import type { NewObject, Store } from './api/store.ts'

/** An object as it stands in a manifest. */
export interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string; annotations?: Record<string, string>; [field: string]: unknown }
  spec?: unknown
  [field: string]: unknown
}

/** The objects of a YAML text, in order. */
export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((object) => object !== null)
}

/**
 * The objects of a file, or of a folder with a kustomization.
 * @throws Error naming a field of the kustomization that is not understood
 */
export function readManifests(path: string): Manifest[] {
  if (!statSync(path).isDirectory()) return parseManifests(readFileSync(path, 'utf8'))
  const file = join(path, 'kustomization.yaml')
  const {
    apiVersion: _,
    kind: __,
    resources = [],
    ...rest
  } = parse(readFileSync(file, 'utf8')) as Record<string, unknown> & {
    resources?: string[]
  }
  const [unknown] = Object.keys(rest)
  if (unknown) throw new Error(`${file}: ${unknown} is not understood in local mode`)
  return resources.flatMap((resource) => readManifests(resolve(dirname(file), resource)))
}

/** Kinds that others need, in the order in which they must come. */
const first = ['CustomResourceDefinition', 'Namespace', 'ServiceAccount']

/** Where `kubectl apply` keeps what it was last given; with it, kubectl can go on from what was applied here. */
const annotation = 'kubectl.kubernetes.io/last-applied-configuration'

/**
 * Creates the objects, or changes those that exist, as if kubectl had applied them.
 * @throws Error naming the object that the API refuses, with its message
 */
export function applyManifests(store: Store, objects: Manifest[]): void {
  const rank = ({ kind }: Manifest) => (first.includes(kind) ? first.indexOf(kind) : first.length)
  for (const object of objects.toSorted((a, b) => rank(a) - rank(b))) {
    const { kind, metadata, apiVersion } = object
    try {
      applyOne(store, object)
    } catch (error) {
      throw new Error(`${kind} ${metadata.name} of ${apiVersion}: ${(error as Error).message}`, { cause: error })
    }
  }
}

function applyOne(store: Store, object: Manifest): void {
  const [group = ''] = object.apiVersion.includes('/') ? object.apiVersion.split('/') : []
  const { name, namespace } = object.metadata
  const annotations = { ...object.metadata.annotations, [annotation]: `${JSON.stringify(object)}\n` }
  const noted = { ...object, metadata: { ...object.metadata, annotations } }
  const write = { manager: 'kubectl-client-side-apply' }
  if (store.get(`${object.kind}.${group}`, name, namespace) === undefined) store.create(noted as NewObject, write)
  else store.patch(`${object.kind}.${group}`, name, namespace, noted, write)
}
