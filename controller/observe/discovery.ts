// Which SMI kinds the cluster serves, and in which version we read each. CRDs may come later, be another product's with
// fewer versions, or never come: none of that is an error.

import { hasStatus } from '../errors.ts'
import type { Api } from './api.ts'
import type { KindSpec } from './kinds.ts'

/** What the cluster serves of a kind. */
export interface Served {
  version: string
  /** Whether it has the status subresource. */
  hasStatus: boolean
}

interface GroupList {
  groups: { name: string; versions: { version: string }[] }[]
}

interface ResourceList {
  resources: { name: string }[] | null
}

/**
 * Asks the API server for the newest version that it serves of each kind, among those that the kind lists.
 * @returns by plural and group (`trafficsplits.split.smi-spec.io`); kinds that are not served are left out
 * @throws ApiError
 */
export async function discover(
  api: Api,
  kinds: readonly KindSpec[],
  signal: AbortSignal,
): Promise<Map<string, Served>> {
  const found = new Map<string, Served>()
  const { groups } = await api.request<GroupList>('GET', '/apis', { signal })
  for (const { name, versions } of groups) {
    const wanted = kinds.filter((spec) => spec.group === name)
    if (wanted.length === 0) continue
    const served = new Set(versions.map((each) => each.version))
    await discoverGroup(api, wanted, served, found, signal)
  }
  return found
}

/** Name of a kind in the result of `discover`. */
export function crdName(spec: KindSpec): string {
  return `${spec.plural}.${spec.group}`
}

async function discoverGroup(
  api: Api,
  kinds: readonly KindSpec[],
  served: ReadonlySet<string>,
  found: Map<string, Served>,
  signal: AbortSignal,
): Promise<void> {
  const versions = kinds[0]!.versions.filter((version) => served.has(version))
  for (const version of versions) {
    const open = kinds.filter((spec) => !found.has(crdName(spec)))
    if (open.length === 0) return
    const names = await resourceNames(api, `/apis/${kinds[0]!.group}/${version}`, signal)
    for (const spec of open) {
      if (names.has(spec.plural)) found.set(crdName(spec), { version, hasStatus: names.has(`${spec.plural}/status`) })
    }
  }
}

async function resourceNames(api: Api, path: string, signal: AbortSignal): Promise<Set<string>> {
  try {
    const list = await api.request<ResourceList>('GET', path, { signal })
    return new Set((list.resources ?? []).map((each) => each.name))
  } catch (thrown) {
    // The CRD went away between the two questions.
    if (hasStatus(thrown, 404)) return new Set()
    throw thrown
  }
}
