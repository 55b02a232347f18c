// Applies manifests as `kubectl apply --server-side` does: the API server merges, and says who else owns a field. Namespaces
// and definitions come first, since the rest needs them.

import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { type ApiError, hasStatus } from '../../errors.ts'
import { type Api, findObject } from '../../observe/api.ts'
import { Exit, exits } from '../exits.ts'
import type { Manifest } from './manifests.ts'

export interface ApplyOptions {
  /** Only ask what would change. */
  isDry: boolean
  /** Take over fields that somebody else owns. */
  isForced: boolean
  /** Is told of each object. */
  tell(line: string): void
}

export type Effect = 'created' | 'changed' | 'unchanged'

/** Who owns the fields that this tool applies. */
export const fieldManager = 'weft-cli'

const first = ['CustomResourceDefinition', 'Namespace']

/**
 * Applies all objects.
 * @returns how many were created or changed
 * @throws Exit that names all fields somebody else owns; ApiError
 */
export async function applyObjects(api: Api, objects: readonly Manifest[], options: ApplyOptions): Promise<number> {
  const paths = openPaths(api)
  const rank = ({ kind }: Manifest) => (first.includes(kind) ? first.indexOf(kind) : first.length)
  const conflicts: string[] = []
  let changes = 0
  for (const object of objects.toSorted((a, b) => rank(a) - rank(b))) {
    const what = nameOf(object)
    try {
      const effect = await applyOne(api, await paths.of(object), object, options)
      if (effect !== 'unchanged') changes++
      options.tell(`${what} ${effect}`)
    } catch (error) {
      if (!hasStatus(error, 409)) throw error
      conflicts.push(`${what}: ${(error as ApiError).message.replace(/^.*?: 409 /, '')}`)
    }
  }
  if (conflicts.length === 0) return changes
  throw new Exit(
    exits.failed,
    `${conflicts.join('\n')}\nSomebody else owns these fields: leave them to him in an overlay, or take them over with --force-conflicts`,
  )
}

async function applyOne(api: Api, path: string | null, object: Manifest, options: ApplyOptions): Promise<Effect> {
  // Its kind comes with a definition that a dry run does not make.
  if (path === null) return 'created'
  const before = await findObject<Manifest>(api, path)
  const inNamespace = object.metadata.namespace
  if (options.isDry && before === null && inNamespace !== undefined) {
    // The API server refuses even a dry run in a namespace that is not there.
    if ((await findObject(api, `/api/v1/namespaces/${inNamespace}`)) === null) return 'created'
  }
  const send = (force: boolean) =>
    api.request<Manifest>('PATCH', path, {
      body: object,
      contentType: 'application/apply-patch+yaml',
      query: { fieldManager, force, ...(options.isDry ? { dryRun: 'All' } : {}) },
    })
  const after = await send(options.isForced).catch((error: unknown) => {
    if (hasStatus(error, 409) && isKubectls((error as ApiError).message)) return send(true)
    throw error
  })
  if (before === null) return 'created'
  return isDeepStrictEqual(comparable(before), comparable(after)) ? 'unchanged' : 'changed'
}

/**
 * Whether a conflict is only with `kubectl apply`: whoever installed the same manifests in another way wants them upgraded
 * all the same. What was scaled or edited by hand bears another name, or says how.
 */
export function isKubectls(message: string): boolean {
  const owners = [...message.matchAll(/conflicts? with "([^"]+)"( with subresource| using)?/g)]
  return (
    owners.length > 0 &&
    owners.every(
      ([, owner, how]) => owner === 'kubectl-client-side-apply' || (owner === 'kubectl' && how === undefined),
    )
  )
}

/** Without what changes with every write. */
function comparable({ metadata, ...rest }: Manifest): unknown {
  const { managedFields: _, resourceVersion: __, generation: ___, ...own } = metadata
  return { ...rest, metadata: own }
}

/** `Kind namespace/name` */
export function nameOf({ kind, metadata: { namespace, name } }: Pick<Manifest, 'kind' | 'metadata'>): string {
  return `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`
}

interface ResourceList {
  resources: { name: string; kind: string; namespaced: boolean }[]
}

/** Where objects live, by what the API server says of their kinds. */
export interface Paths {
  /** Path of an object; null if its kind is not served. @throws Exit if it lacks a namespace */
  of(object: Pick<Manifest, 'apiVersion' | 'kind' | 'metadata'>): Promise<string | null>
}

const servingTimeoutMs = 30_000

/** Opens a reader of discovery that asks once for each group version, and waits for kinds that were defined just now. */
export function openPaths(api: Api): Paths {
  const lists = new Map<string, ResourceList['resources']>()

  async function resources(apiVersion: string): Promise<ResourceList['resources']> {
    const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
    return (await findObject<ResourceList>(api, root))?.resources ?? []
  }

  async function find({ apiVersion, kind }: Pick<Manifest, 'apiVersion' | 'kind'>) {
    const known = lists.get(apiVersion)?.find((each) => each.kind === kind && !each.name.includes('/'))
    if (known !== undefined) return known
    lists.set(apiVersion, await resources(apiVersion))
    return lists.get(apiVersion)!.find((each) => each.kind === kind && !each.name.includes('/'))
  }

  return {
    async of(object) {
      const resource = await find(object)
      if (resource === undefined) return null
      const { name, namespace } = object.metadata
      const root = object.apiVersion.includes('/') ? `/apis/${object.apiVersion}` : `/api/${object.apiVersion}`
      if (!resource.namespaced) return `${root}/${resource.name}/${name}`
      if (namespace === undefined) throw new Exit(exits.data, `${nameOf(object)}: metadata.namespace: must be set`)
      return `${root}/namespaces/${namespace}/${resource.name}/${name}`
    },
  }
}

/** Waits until the API server serves the kinds of definitions. @throws Exit */
export async function untilServed(api: Api, definitions: readonly Manifest[]): Promise<void> {
  const deadline = Date.now() + servingTimeoutMs
  for (const { metadata, spec } of definitions) {
    const version = (spec.versions as { name: string; served: boolean }[]).find(({ served }) => served)?.name
    const path = `/apis/${spec.group}/${version}`
    for (;;) {
      const list = await findObject<ResourceList>(api, path)
      if (list?.resources.some(({ name }) => name === spec.names.plural)) break
      if (Date.now() > deadline)
        throw new Exit(exits.failed, `CustomResourceDefinition ${metadata.name} is not served yet`)
      await sleep(200)
    }
  }
}
