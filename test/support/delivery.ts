// What canary tools find in a cluster: applications in versions, their Services, the tools' own kinds, and traffic of which
// is known who answered it.

import type { Manifest } from '../../scripts/local/manifests.ts'
import { type LoadOptions, startLoad } from './load.ts'
import { until } from './until.ts'

const namespace = 'test'
const port = 9898

export interface ApplicationChange {
  version?: string
  /** Of its pods; `app: <name>` unless told otherwise. */
  labels?: Record<string, string>
  namespace?: string
  account?: string
}

/** A Deployment of podinfo.ts. */
export function application(name: string, change: ApplicationChange = {}, replicas = 1): object {
  const labels = change.labels ?? { app: name }
  const probe = { httpGet: { path: '/healthz', port } }
  const container = {
    name: 'podinfo',
    image: 'weft:dev',
    command: ['node', 'test/support/podinfo.ts'],
    workingDir: '/app',
    env: [
      { name: 'VERSION', value: change.version ?? '' },
      { name: 'PORT', value: String(port) },
      { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    ],
    ports: [{ name: 'http', containerPort: port }],
    readinessProbe: { ...probe, periodSeconds: 1 },
  }
  const template = {
    metadata: { labels },
    spec: { serviceAccountName: change.account ?? 'default', containers: [container] },
  }
  const spec = { replicas, selector: { matchLabels: labels }, template }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: change.namespace ?? namespace },
    spec,
  }
}

/** A Service of these pods, in namespace `test`. */
export function serviceOf(name: string, selector: Record<string, string>): object {
  const spec = { selector, ports: [{ name: 'http', port, targetPort: port }] }
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec }
}

/** A tool's own kind, as far as owners are concerned. */
export function definitionOf(plural: string, kind: string, group: string, version: string): object {
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } }
  const names = { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` }
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: { group, names, scope: 'Namespaced', versions: [{ name: version, served: true, storage: true, schema }] },
  }
}

/** The manifests with one controller, agents that count under all names, and the domain of Traefik Mesh. */
export function adjusted(object: Manifest): Manifest {
  const { kind, metadata } = object
  const copy = structuredClone(object) as Manifest & {
    spec: { replicas: number; template: { spec: { containers: { env?: object[] }[] } } }
  }
  const set = (name: string, value: string) => {
    const [container] = copy.spec.template.spec.containers
    container!.env = [...(container!.env ?? []), { name, value }]
  }
  if (kind === 'Deployment' && metadata.name === 'weft-controller') {
    copy.spec.replicas = 1
    set('WEFT_MESH_DOMAIN', 'traefik.mesh')
  }
  if (kind === 'DaemonSet' && metadata.name === 'weft-agent') set('WEFT_METRICS_AS', 'istio,linkerd,osm')
  return copy
}

/** Callers that note who answered. */
export interface Traffic {
  /** Good answers by the pod's Deployment, and by version, since the last call of `clear`. */
  readonly pods: ReadonlyMap<string, number>
  readonly versions: ReadonlyMap<string, number>
  clear(): void
  /** Good and bad ones, from the beginning. */
  answers(): number
  failures(): string[]
  summary(): string
  stop(): Promise<void>
}

/** Starts four callers at each address. */
export function startTraffic(target: Pick<LoadOptions, 'host' | 'port' | 'headers'>, from: readonly string[]): Traffic {
  const pods = new Map<string, number>()
  const versions = new Map<string, number>()
  const count = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1)
  const onResponse = (_response: unknown, body: string) => {
    const { pod, version } = JSON.parse(body) as { pod: string; version: string }
    // <Deployment>-<hash>-<five letters>
    count(pods, pod.split('-').slice(0, -2).join('-'))
    count(versions, version)
  }
  const loads = from.map((address) => startLoad({ ...target, from: address, callers: 4, pauseMs: 1, onResponse }))
  const failures = () => loads.flatMap((load) => load.failures)
  return {
    pods,
    versions,
    clear: () => {
      pods.clear()
      versions.clear()
    },
    failures,
    answers: () => loads.reduce((sum, load) => sum + load.succeeded(), failures().length),
    summary: () => loads.map((load) => load.summary()).join(''),
    stop: async () => {
      await Promise.all(loads.map((load) => load.stop()))
    },
  }
}

/** Resolves when 60 answers in a row came from these alone, and each of them gave some. */
export async function settles(traffic: Traffic, kind: 'pods' | 'versions', ...wanted: string[]): Promise<void> {
  let since = traffic.answers()
  traffic.clear()
  const isSettled = () => {
    if ([...traffic[kind].keys()].some((key) => !wanted.includes(key))) {
      traffic.clear()
      since = traffic.answers()
    }
    return wanted.every((key) => (traffic[kind].get(key) ?? 0) >= 5) && traffic.answers() - since >= 60
  }
  const what = () =>
    `answers of ${wanted.join(' and ')} alone, not ${JSON.stringify([...traffic[kind]])} ${traffic.summary()}`
  await until(isSettled, what, 20_000)
}
