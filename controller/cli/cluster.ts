// The cluster as the command line tool sees it: opened by kubeconfig and context, and read at one moment.

import { KubeConfig } from '@kubernetes/client-node'
import { messageOf } from '../errors.ts'
import { type Cluster, openCluster } from '../observe/access.ts'
import { type Api, openApi } from '../observe/api.ts'
import { crdName, discover, type Served } from '../observe/discovery.ts'
import { apiVersionOf, builtinKinds, type KindSpec, pathOf, smiKinds } from '../observe/kinds.ts'
import type { KubeObject } from '../observe/objects.ts'
import { emptyWorld, type World } from '../observe/world.ts'
import { withObjects } from '../validate/validate.ts'
import { Exit, exits } from './exits.ts'

export interface ClusterOptions {
  kubeconfig?: string
  context?: string
  as?: string
  asGroup?: string[]
}

export interface OpenedCluster {
  api: Api
  /** For what is no JSON request: connections to pods. */
  cluster: Cluster
  /** The context's namespace, else `default`. */
  namespace: string
}

/**
 * Opens the cluster.
 * @throws Exit if the kubeconfig can't be used
 */
export function openConfigured(options: ClusterOptions): OpenedCluster {
  try {
    const config = new KubeConfig()
    if (options.kubeconfig === undefined) config.loadFromDefault()
    else config.loadFromFile(options.kubeconfig)
    if (options.context !== undefined) config.setCurrentContext(options.context)
    const namespace = config.getContextObject(config.getCurrentContext())?.namespace ?? 'default'
    const cluster = impersonate(openCluster(config), options)
    return { api: openApi(cluster, 'weft-cli'), cluster, namespace }
  } catch (error) {
    if (error instanceof Exit) throw error
    throw new Exit(exits.unavailable, `the kubeconfig can't be used: ${messageOf(error)}`)
  }
}

function impersonate(cluster: Cluster, { as, asGroup }: ClusterOptions): Cluster {
  if (as === undefined) {
    if (asGroup !== undefined) throw new Exit(exits.usage, '--as-group: needs --as, the user whose groups they are')
    return cluster
  }
  const group = asGroup === undefined ? {} : { 'Impersonate-Group': asGroup }
  return {
    ...cluster,
    async access() {
      const { dispatcher, headers } = await cluster.access()
      return { dispatcher, headers: { ...headers, 'Impersonate-User': as, ...group } }
    },
  }
}

export interface Inventory {
  world: World
  /** SMI kinds that are served, by `plural.group`. */
  served: ReadonlyMap<string, Served>
}

/**
 * Reads everything that the controller observes, once.
 * @throws ApiError
 */
export async function readInventory(api: Api): Promise<Inventory> {
  const served = await discover(api, smiKinds, AbortSignal.timeout(30_000))
  const wanted = [
    ...builtinKinds.map((spec) => ({ spec, version: spec.versions[0] ?? 'v1' })),
    ...smiKinds.flatMap((spec) => {
      const version = served.get(crdName(spec))?.version
      return version === undefined ? [] : [{ spec, version }]
    }),
  ]
  const lists = await Promise.all(wanted.map(({ spec, version }) => listAll(api, spec, version)))
  return { world: withObjects(emptyWorld, lists.flat()), served }
}

interface Page {
  metadata: { continue?: string }
  items: KubeObject[] | null
}

async function listAll(api: Api, spec: KindSpec, version: string): Promise<KubeObject[]> {
  const objects: KubeObject[] = []
  let token: string | undefined
  do {
    const page: Page = await api.request('GET', pathOf(spec, version), { query: { limit: 500, continue: token } })
    for (const item of page.items ?? []) {
      // Items of a list lack these two.
      objects.push({ ...item, apiVersion: apiVersionOf(spec, version), kind: spec.kind })
    }
    token = page.metadata.continue
  } while (token !== undefined && token !== '')
  return objects
}
