// Objects in an API server, as tests of the controller make and look at them.

import { hasStatus } from '../../controller/errors.ts'
import type { Api, RequestOptions } from '../../controller/observe/api.ts'
import type { EndpointSlice, KubeObject, Namespace, Pod, Service } from '../../controller/observe/objects.ts'

/** Shorthands over an API server; names of one test's objects don't meet those of another. */
export interface Objects {
  create<T>(path: string, body: unknown): Promise<T>
  get<T>(path: string): Promise<T | null>
  list<T>(path: string): Promise<T[]>
  patch(path: string, body: unknown): Promise<void>
  remove(path: string): Promise<void>
  namespace(name: string, labels?: Record<string, string>): Promise<Namespace>
  /** A Service with one selector and these ports, by number or whole. */
  service(namespace: string, name: string, ...ports: (number | object)[]): Promise<Service>
  node(name: string): Promise<KubeObject>
  /** A running Pod with an address. */
  pod(namespace: string, name: string, node: string, ip: string, labels?: Record<string, string>): Promise<Pod>
  /** One with a ServiceAccount, which is made if there is none. */
  podOf(account: string, namespace: string, name: string, node: string, ip: string): Promise<Pod>
  /** The same for an agent, with its labels. */
  agent(namespace: string, name: string, node: string, ip: string): Promise<Pod>
  /** A token of a Pod's ServiceAccount, bound to the Pod. */
  token(pod: Pod, audience: string): Promise<string>
  /** The ready endpoints of a Service. */
  slice(namespace: string, service: string, port: number, pods: Pod[]): Promise<EndpointSlice>
  split(
    namespace: string,
    name: string,
    service: string,
    backends: Record<string, number | string>,
  ): Promise<KubeObject>
}

/** The Services of a namespace by name. */
export async function services(objects: Objects, namespace: string): Promise<Map<string, Service>> {
  const list = await objects.list<Service>(`/api/v1/namespaces/${namespace}/services`)
  return new Map(list.map((each) => [each.metadata.name, each]))
}

/** Opens the shorthands. */
export function openObjects(api: Api): Objects {
  const send = <T>(method: 'POST' | 'GET' | 'PATCH' | 'DELETE', path: string, options?: RequestOptions) =>
    api.request<T>(method, path, options)
  const create = <T>(path: string, body: unknown) => send<T>('POST', path, { body })
  const absent = (thrown: unknown) => {
    if (!hasStatus(thrown, 404)) throw thrown
    return null
  }
  const patch = async (path: string, body: unknown) => {
    await send('PATCH', path, { body, contentType: 'application/merge-patch+json' })
  }

  async function pod(
    namespace: string,
    name: string,
    node: string,
    ip: string,
    more: { labels: object; account: string },
  ) {
    const path = `/api/v1/namespaces/${namespace}/pods`
    const metadata = { name, namespace, labels: more.labels }
    const containers = [{ name: 'main', image: 'none' }]
    const spec = { nodeName: node, containers, serviceAccountName: more.account }
    await create(path, { apiVersion: 'v1', kind: 'Pod', metadata, spec })
    const conditions = [{ type: 'Ready', status: 'True' }]
    await patch(`${path}/${name}/status`, { status: { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions } })
    return send<Pod>('GET', `${path}/${name}`)
  }

  const withAccount: typeof pod = async (namespace, name, node, ip, more) => {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts`
    const metadata = { name: more.account, namespace }
    await create(path, { apiVersion: 'v1', kind: 'ServiceAccount', metadata }).catch((thrown) => {
      if (!hasStatus(thrown, 409)) throw thrown
    })
    return pod(namespace, name, node, ip, more)
  }

  return {
    create,
    patch,
    get: <T>(path: string) => send<T>('GET', path).catch(absent),
    list: async <T>(path: string) => (await send<{ items: T[] }>('GET', path)).items,
    remove: async (path) => {
      await send('DELETE', path).catch(absent)
    },
    namespace: (name, labels = {}) =>
      create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }),
    service: (namespace, name, ...ports) =>
      create(`/api/v1/namespaces/${namespace}/services`, {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace },
        spec: {
          selector: { app: name },
          ports: ports.map((port) => (typeof port === 'number' ? { name: `p${port}`, port } : port)),
        },
      }),
    node: (name) => create('/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name } }),
    pod: (namespace, name, node, ip, labels = {}) => pod(namespace, name, node, ip, { labels, account: 'default' }),
    podOf: (account, namespace, name, node, ip) => withAccount(namespace, name, node, ip, { labels: {}, account }),
    agent(namespace, name, node, ip) {
      const account = 'weft-agent'
      const labels = { 'app.kubernetes.io/name': account }
      return withAccount(namespace, name, node, ip, { labels, account })
    },
    async token({ metadata, spec }, audience) {
      const { name, namespace, uid } = metadata
      const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${spec.serviceAccountName}/token`
      const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name, uid }
      const { status } = await create<{ status: { token: string } }>(path, {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { audiences: [audience], boundObjectRef },
      })
      return status.token
    },
    slice: (namespace, service, port, pods) =>
      create(`/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`, {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: `${service}-1`, namespace, labels: { 'kubernetes.io/service-name': service } },
        addressType: 'IPv4',
        endpoints: pods.map(({ metadata, spec, status }) => ({
          addresses: [status!.podIP],
          conditions: { ready: true },
          nodeName: spec.nodeName,
          targetRef: { kind: 'Pod', namespace, name: metadata.name, uid: metadata.uid },
        })),
        ports: [{ name: `p${port}`, port, protocol: 'TCP' }],
      }),
    split: (namespace, name, service, backends) =>
      create(`/apis/split.smi-spec.io/v1alpha4/namespaces/${namespace}/trafficsplits`, {
        apiVersion: 'split.smi-spec.io/v1alpha4',
        kind: 'TrafficSplit',
        metadata: { name, namespace },
        spec: { service, backends: Object.entries(backends).map(([each, weight]) => ({ service: each, weight })) },
      }),
  }
}
