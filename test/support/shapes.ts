// A local mesh without the demo, and shorthands for what the suite of Services' shapes makes in it: Services, pods that say
// who they are (shapepod.ts), calls by the addresses that clients would get from DNS, Events.

import net from 'node:net'
import { KubeConfig } from '@kubernetes/client-node'
import { expect } from 'chai'
import { openCluster } from '../../controller/observe/access.ts'
import { openApi } from '../../controller/observe/api.ts'
import type { Service } from '../../controller/observe/objects.ts'
import type { LocalMesh } from '../../scripts/local/mesh.ts'
import { isReady, type Pod } from '../../scripts/local/objects.ts'
import { type CallAnswer, call } from './call.ts'
import { openObjects } from './kubeobjects.ts'
import { type Load, startLoad } from './load.ts'
import { startTestMesh } from './localmesh.ts'
import { RawSocket } from './raw.ts'
import { until } from './until.ts'

/** What a pod says of itself. */
export interface Said {
  pod: string
  port: number
  host: string
}

export interface PodsSpec {
  /** Of the pods; `app: <name>` unless told otherwise. */
  labels?: Record<string, string>
  replicas?: number
  /** Ports on which they serve, `8080` or `8080:tcp`. */
  serve: string[]
  /** Names of container ports. */
  names?: Record<string, number>
  /** Never get ready. */
  isUnready?: boolean
  lingerMs?: number
}

export interface Shapes {
  readonly mesh: LocalMesh
  /** Applies a Service: what it said before and does not say now goes. */
  service(key: string, spec: object, metadata?: object): void
  remove(resource: 'services' | 'namespaces' | 'endpointslices', key: string): void
  namespace(name: string, labels?: Record<string, string>): void
  /** A Deployment of pods that say who they are; they are ready when it resolves, unless they never will be. */
  pods(key: string, spec: PodsSpec): Promise<void>
  podsOf(namespace: string, app: string): Pod[]
  slice(key: string, service: string, port: object, addresses: string[]): void
  /** Where a client that uses the alias connects to: what the alias leads to. */
  address(alias: string): string | undefined
  /** A request to the alias, or whatever `headers.host` says; from a pod of node1. */
  get(alias: string, port: number, path?: string, host?: string): Promise<CallAnswer & { said: Said }>
  /** Waits until a request is answered so. */
  answers(alias: string, port: number, what: number | string | ((said: Said) => boolean), host?: string): Promise<void>
  /** An opaque connection to the alias. @returns it, and the greeting: pod and port */
  open(alias: string, port: number): Promise<{ socket: RawSocket; greeting: string }>
  /** The same at an address. */
  connect(address: string, port: number): Promise<{ socket: RawSocket; greeting: string }>
  load(alias: string, port: number, path?: string): Load
  /** `Reason: message` of the Events on a Service. */
  events(key: string): Promise<string[]>
  stop(): Promise<void>
}

interface KubeEvent {
  reason: string
  message: string
  involvedObject: { name: string }
}

function split(key: string): { namespace: string; name: string } {
  const [namespace = '', name = ''] = key.split('/')
  return { namespace, name }
}

/** Starts it; namespace `shapes` is in the mesh and has a pod `client`, from which calls come. */
export async function startShapes(): Promise<Shapes> {
  const mesh = await startTestMesh({ demo: false, nodes: 2 })
  const { cluster } = mesh
  const config = new KubeConfig()
  config.loadFromFile(mesh.kubeconfig)
  const api = openApi(openCluster(config))
  const objects = openObjects(api)
  const loads: Load[] = []
  let from = ''

  const apply = (object: object) => mesh.apply(JSON.stringify(object))
  const at = (key: string) => cluster.get<Service>('services', split(key).namespace, split(key).name)

  /** By the name that the alias stands for, as a client's resolver would find it. */
  function address(alias: string): string | undefined {
    const target = at(alias)?.spec.externalName
    const [name = '', namespace = ''] = target?.split('.') ?? []
    return target === undefined ? undefined : at(`${namespace}/${name}`)?.spec.clusterIP
  }

  async function get(alias: string, port: number, path = '/', host?: string): ReturnType<Shapes['get']> {
    const { namespace, name } = split(alias)
    const headers = { host: host ?? `${name}.${namespace}` }
    const found = host === undefined ? address(alias) : mesh.clusterIP('weft-system', 'weft')
    if (found === undefined) throw new Error(`${alias} has no address`)
    const answer = await call({ host: found, port, path, headers, from })
    return { ...answer, said: answer.status === 200 ? JSON.parse(answer.body) : {} }
  }

  /** Tries again while the port is not open yet, or leads nowhere. */
  async function connect(host: string, port: number): ReturnType<Shapes['connect']> {
    for (let attempt = 1; ; attempt++) {
      const socket = new RawSocket(net.connect({ host, port, localAddress: from, allowHalfOpen: true }))
      try {
        return { socket, greeting: (await socket.readThrough('\n')).trim() }
      } catch (error) {
        socket.destroy()
        if (attempt === 100) throw error
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  const shapes: Shapes = {
    mesh,
    service: (key, spec, metadata = {}) =>
      apply({ apiVersion: 'v1', kind: 'Service', metadata: { ...split(key), ...metadata }, spec }),
    remove: (resource, key) => cluster.remove(resource, key.includes('/') ? split(key) : { name: key }),
    namespace: (name, labels = { 'weft.dev/mesh': 'enabled' }) =>
      apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }),
    async pods(key, { labels, replicas = 1, serve, names = {}, isUnready = false, lingerMs = 700 }) {
      const { namespace, name } = split(key)
      const own = labels ?? { app: name }
      const port = Number(serve[0]!.split(':')[0])
      const probe = serve[0]!.endsWith(':tcp')
        ? { tcpSocket: { port } }
        : { httpGet: { path: isUnready ? '/never' : '/', port } }
      const container = {
        ...{ name: 'main', image: 'none', command: ['node', 'test/support/shapepod.ts', ...serve] },
        env: [{ name: 'LINGER_MS', value: String(lingerMs) }],
        ports: Object.entries(names).map(([portName, containerPort]) => ({ name: portName, containerPort })),
        readinessProbe: { ...probe, periodSeconds: 1 },
      }
      const template = { metadata: { labels: own }, spec: { containers: [container] } }
      const spec = { replicas, selector: { matchLabels: own }, template }
      apply({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { namespace, name }, spec })
      const isThere = (pod: Pod) => (isUnready ? pod.status?.phase === 'Running' : isReady(pod))
      await until(
        () => mesh.pods(namespace, own).filter(isThere).length === replicas,
        `${replicas} pods of ${key}`,
        20_000,
      )
    },
    podsOf: (namespace, app) => mesh.pods(namespace, { app }),
    slice(key, service, port, addresses) {
      apply({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { ...split(key), labels: { 'kubernetes.io/service-name': service } },
        addressType: 'IPv4',
        endpoints: addresses.map((each) => ({ addresses: [each] })),
        ports: [port],
      })
    },
    address,
    get,
    async answers(alias, port, what, host) {
      let last = ''
      const isSo = async () => {
        const answer = await get(alias, port, '/', host).catch((error: Error) => error.message)
        if (typeof answer === 'string') {
          last = answer
          return false
        }
        const { status, headers, said } = answer
        last = `${status} ${headers['x-weft-error'] ?? answer.body}`
        return typeof what === 'function' ? status === 200 && what(said) : `${status}` === `${what}` || last === what
      }
      await until(isSo, () => `${what} of ${alias}:${port}, rather than ${last},`)
    },
    async open(alias, port) {
      await until(() => address(alias) !== undefined, `an address of ${alias}`)
      return connect(address(alias)!, port)
    },
    connect,
    load(alias, port, path = '/') {
      const { namespace, name } = split(alias)
      const headers = { host: `${name}.${namespace}` }
      const started = startLoad({ host: address(alias)!, port, path, headers, from, callers: 4, pauseMs: 2 })
      loads.push(started)
      return started
    },
    async events(key) {
      const { namespace, name } = split(key)
      const list = await objects.list<KubeEvent>(`/api/v1/namespaces/${namespace}/events`)
      return list
        .filter(({ involvedObject }) => involvedObject.name === name)
        .map(({ reason, message }) => `${reason}: ${message}`)
    },
    async stop() {
      await Promise.all(loads.splice(0).map((each) => each.stop()))
      api.close()
      await mesh.stop()
    },
  }
  shapes.namespace('shapes')
  await shapes.pods('shapes/client', { serve: ['8080'] })
  from = shapes.podsOf('shapes', 'client')[0]!.status!.podIP!
  expect(from).to.match(/^127\./)
  return shapes
}
