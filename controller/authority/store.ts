// Secrets and ConfigMaps of the mesh's namespace as the authority keeps them. Writes never overwrite what another replica
// wrote meanwhile: creating what exists and replacing what changed both say so instead.

import { ApiError } from '../errors.ts'
import type { Api } from '../observe/api.ts'

export type StoreKind = 'secrets' | 'configmaps'

export interface Stored {
  /** Of a Secret, e.g. `kubernetes.io/tls`. */
  type?: string
  labels: Record<string, string>
  annotations: Record<string, string>
  /** Decoded. */
  data: Record<string, string>
  /** resourceVersion; absent in what is to be created. */
  version?: string
}

export interface Store {
  /** @returns null if there is none */
  read(kind: StoreKind, name: string): Promise<Stored | null>
  /** @returns false if there is one already */
  create(kind: StoreKind, name: string, stored: Stored): Promise<boolean>
  /** @returns false if it is no longer the version that was read */
  replace(kind: StoreKind, name: string, stored: Stored): Promise<boolean>
}

/** What everything that the controller writes carries. */
export const managedLabels = { 'app.kubernetes.io/managed-by': 'weft' } as const

interface Wire {
  apiVersion: 'v1'
  kind: string
  type?: string
  metadata: {
    name: string
    namespace: string
    resourceVersion?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
  }
  data?: Record<string, string>
}

const mapValues = (data: Record<string, string>, change: (value: string) => string): Record<string, string> =>
  Object.fromEntries(Object.entries(data).map(([key, value]) => [key, change(value)]))
const encode = (value: string): string => Buffer.from(value).toString('base64')
const decode = (value: string): string => Buffer.from(value, 'base64').toString()

/** The store in a namespace of the API server. Its methods throw ApiError for anything but the answers named above. */
export function kubeStore(api: Pick<Api, 'request'>, namespace: string): Store {
  const path = (kind: StoreKind, name = '') =>
    `/api/v1/namespaces/${namespace}/${kind}${name === '' ? '' : `/${encodeURIComponent(name)}`}`

  function write(kind: StoreKind, name: string, stored: Stored): Wire {
    const { type, version, labels, annotations, data } = stored
    return {
      apiVersion: 'v1',
      kind: kind === 'secrets' ? 'Secret' : 'ConfigMap',
      ...(type === undefined ? {} : { type }),
      metadata: {
        name,
        namespace,
        labels,
        annotations,
        ...(version === undefined ? {} : { resourceVersion: version }),
      },
      data: kind === 'secrets' ? mapValues(data, encode) : data,
    }
  }

  function fill(kind: StoreKind, wire: Wire): Stored {
    const { labels = {}, annotations = {}, resourceVersion } = wire.metadata
    const data = kind === 'secrets' ? mapValues(wire.data ?? {}, decode) : (wire.data ?? {})
    return {
      ...(wire.type === undefined ? {} : { type: wire.type }),
      labels,
      annotations,
      data,
      ...(resourceVersion === undefined ? {} : { version: resourceVersion }),
    }
  }

  /** Sends; an answer with the given status and reason is `false`, not an error. */
  async function attempt(send: Promise<unknown>, status: number): Promise<boolean> {
    try {
      await send
      return true
    } catch (thrown) {
      if (thrown instanceof ApiError && thrown.status === status) return false
      throw thrown
    }
  }

  return {
    async read(kind, name) {
      try {
        return fill(kind, await api.request<Wire>('GET', path(kind, name)))
      } catch (thrown) {
        if (thrown instanceof ApiError && thrown.status === 404) return null
        throw thrown
      }
    },
    create: (kind, name, stored) => attempt(api.request('POST', path(kind), { body: write(kind, name, stored) }), 409),
    replace: (kind, name, stored) =>
      attempt(api.request('PUT', path(kind, name), { body: write(kind, name, stored) }), 409),
  }
}
