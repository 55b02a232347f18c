// Reads manifests as `kubectl apply -k` would (plain resources only, which is all that ours use) and applies them.

import { readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parse, parseAllDocuments } from 'yaml'

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

/** A client of the API that writes manifests. */
export interface Applier {
  /**
   * Creates the objects, or changes those that exist.
   * @throws Error with the API's message
   */
  apply(objects: Manifest[]): Promise<void>
}

const annotation = 'kubectl.kubernetes.io/last-applied-configuration'

/** An applier for an API; its objects look as if kubectl had applied them, so that kubectl can go on from there. */
export function createApplier(url: string, token: string | undefined): Applier {
  const plurals = new Map<string, { name: string; namespaced: boolean }>()
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }

  async function request(method: string, path: string, type?: string, body?: object): Promise<Response> {
    return fetch(`${url}${path}`, {
      method,
      headers: { ...authorization, accept: 'application/json', ...(type ? { 'content-type': type } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
  }

  async function resourceOf({
    apiVersion,
    kind,
  }: Manifest): Promise<{ base: string; name: string; namespaced: boolean }> {
    const base = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
    if (!plurals.has(`${base}/${kind}`)) {
      const response = await request('GET', base)
      const { resources = [] } = (await response.json()) as {
        resources?: { name: string; kind: string; namespaced: boolean }[]
      }
      for (const one of resources) if (!one.name.includes('/')) plurals.set(`${base}/${one.kind}`, one)
    }
    const found = plurals.get(`${base}/${kind}`)
    if (!found) throw new Error(`the API doesn't know ${kind} of ${apiVersion}`)
    return { base, ...found }
  }

  async function applyOne(object: Manifest): Promise<void> {
    const { base, name: plural, namespaced } = await resourceOf(object)
    const { name, namespace = 'default' } = object.metadata
    const collection = namespaced ? `${base}/namespaces/${namespace}/${plural}` : `${base}/${plural}`
    const annotations = { ...object.metadata.annotations, [annotation]: `${JSON.stringify(object)}\n` }
    const noted = { ...object, metadata: { ...object.metadata, annotations } }
    let response = await request(
      'POST',
      `${collection}?fieldManager=kubectl-client-side-apply`,
      'application/json',
      noted,
    )
    if (response.status === 409) {
      await response.body?.cancel()
      response = await request('PATCH', `${collection}/${name}`, 'application/merge-patch+json', noted)
    }
    const { message } = (await response.json()) as { message?: string }
    if (!response.ok) throw new Error(`${object.kind} ${name}: ${message ?? response.status}`)
  }

  return {
    apply: async (objects) => {
      const rank = ({ kind }: Manifest) => (first.includes(kind) ? first.indexOf(kind) : first.length)
      for (const object of objects.toSorted((a, b) => rank(a) - rank(b))) await applyOne(object)
    },
  }
}
