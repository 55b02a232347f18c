// Joins the stand-ins with the API that runs in the same process.

import { ApiError } from './api/errors.ts'
import type { Api } from './api/server.ts'
import type { NewObject } from './api/store.ts'
import type { Cluster, Resource } from './cluster.ts'
import type { KubeObject } from './objects.ts'

const kinds: Record<Resource, string> = {
  configmaps: 'ConfigMap',
  daemonsets: 'DaemonSet',
  deployments: 'Deployment',
  endpointslices: 'EndpointSlice',
  namespaces: 'Namespace',
  nodes: 'Node',
  pods: 'Pod',
  secrets: 'Secret',
  serviceaccounts: 'ServiceAccount',
  services: 'Service',
}

/**
 * The cluster behind an API.
 * @param log told of writes that the API refused; who made them tries again with the next change
 */
export function clusterOf(api: Api, log: (message: string) => void = () => {}): Cluster {
  const { store } = api
  const manager = 'weft-local'

  function attempt(what: string, write: () => unknown): void {
    try {
      write()
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      log(`${what}: ${error.message}`)
    }
  }

  return {
    get: (resource, namespace, name) => store.get(kinds[resource], name, namespace === '' ? undefined : namespace),
    list: (resource, namespace) => store.list(kinds[resource], namespace === undefined ? {} : { namespace }),
    watch: (resources, changed) => {
      const stops = resources.map((resource) => store.watch(kinds[resource], {}, changed))
      return () => {
        for (const stop of stops) stop()
      }
    },
    create: (resource, object) => attempt(`create ${resource}`, () => store.create(object as NewObject, { manager })),
    update: (resource, object) => attempt(`update ${resource}`, () => store.update(object, { manager })),
    setStatus: (resource, object) =>
      attempt(`status of ${resource}`, () => store.update(object, { manager, subresource: 'status' })),
    remove: (resource, { name, namespace, uid }, graceSeconds) =>
      attempt(`delete ${resource}`, () =>
        store.delete(kinds[resource], name, namespace, {
          ...(uid === undefined ? {} : { preconditions: { uid } }),
          ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }),
        }),
      ),
    value: (resource, namespace, name, key) => {
      const found = store.get<KubeObject & { data?: Record<string, string> }>(kinds[resource], name, namespace)
      const text = found?.data?.[key]
      return text === undefined || resource === 'configmaps' ? text : Buffer.from(text, 'base64').toString()
    },
    token: ({ name, namespace = '', uid }, account, audience, seconds) => {
      const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name, ...(uid === undefined ? {} : { uid }) }
      const spec = { audiences: [audience], expirationSeconds: seconds, boundObjectRef }
      const { token, expirationTimestamp } = api.issueToken(namespace, account, spec)
      return { token, expires: Date.parse(expirationTimestamp) }
    },
    kubeconfig: (token) => api.kubeconfig(token),
  }
}
