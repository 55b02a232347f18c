// What the suites put on the cluster beside the shop: servers on every node in the mesh (namespace `fleet`), and callers on
// every node outside of it (namespace `visitors`), which are made of the mesh's own image.

import { apply, type Body, kubectl, pods, rolledOut } from './kubectl.ts'
import { image } from './mesh.ts'
import { type Place, programOf } from './pod.ts'

/** What callers call: HTTP, balanced over all nodes. */
export const echo = 'http://echo-mesh.fleet:8080/'
/** The same as bytes, on a dedicated address. */
export const lines = { host: 'lines-mesh.fleet', port: 7000 }

const account = (namespace: string, name: string) => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: { namespace, name },
})

const space = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels },
})

const fromField = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } })

/** A pod's spec that runs a program of this folder. */
export function runs(program: string, serviceAccountName: string): Body {
  return {
    serviceAccountName,
    automountServiceAccountToken: false,
    tolerations: [{ operator: 'Exists' }],
    terminationGracePeriodSeconds: 20,
    containers: [
      {
        name: 'main',
        image,
        imagePullPolicy: 'IfNotPresent',
        command: ['node', '--input-type=module', '-e', program],
        workingDir: '/app',
        env: [fromField('POD', 'metadata.name'), fromField('NODE', 'spec.nodeName')],
        resources: { requests: { cpu: '10m', memory: '32Mi' } },
        volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }],
      },
    ],
    volumes: [{ name: 'scratch', emptyDir: {} }],
  }
}

/** A server's pod spec: ready when it answers. */
export function serves(serviceAccountName: string): Body {
  const spec = runs(programOf('server.ts'), serviceAccountName)
  spec.containers[0].readinessProbe = { httpGet: { path: '/ready', port: 8081 }, periodSeconds: 1 }
  return spec
}

/** A workload of pods with a label `app`. */
export function workload(kind: string, namespace: string, name: string, spec: Body, more: object = {}): object {
  const labels = { app: name }
  const template = { metadata: { labels: { ...labels, ...(spec.labels ?? {}) } }, spec: { ...spec, labels: undefined } }
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { namespace, name, labels },
    spec: { selector: { matchLabels: labels }, template, ...more },
  }
}

/** A Service of one TCP port. */
export function service(namespace: string, name: string, selector: object, port: object, more: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name, ...more },
    spec: { selector, ports: [port] },
  }
}

let isThere: Promise<void> | undefined

/** Puts servers and callers on the cluster, once for all suites. */
export function openFleet(): Promise<void> {
  isThere ??= makeFleet()
  return isThere
}

async function makeFleet(): Promise<void> {
  const anywhere = { ...serves('echo'), labels: { fleet: 'echo' } }
  const spread = {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: { app: 'roamer' } },
  }
  await apply(
    space('fleet', { 'weft.dev/mesh': 'enabled' }),
    space('visitors'),
    account('fleet', 'echo'),
    account('visitors', 'caller'),
    workload('DaemonSet', 'fleet', 'echo', anywhere),
    // Those that a drained node gives to others.
    workload(
      'Deployment',
      'fleet',
      'roamer',
      { ...anywhere, tolerations: [], topologySpreadConstraints: [spread] },
      { replicas: 2 },
    ),
    // In turns: whoever is not heard of is not there.
    service(
      'fleet',
      'echo',
      { fleet: 'echo' },
      { name: 'http', port: 8080 },
      { annotations: { 'weft.dev/balance': 'round-robin' } },
    ),
    service('fleet', 'lines', { app: 'echo' }, { name: 'tcp-lines', port: 7000 }),
    workload('DaemonSet', 'visitors', 'caller', runs('setInterval(() => {}, 1e9)', 'caller')),
  )
  for (const workload of ['daemonset/echo', 'deployment/roamer']) await rolledOut('fleet', workload)
  await rolledOut('visitors', 'daemonset/caller')
}

/** The caller of each node, by node. */
export async function callers(): Promise<Place[]> {
  const found = await pods('visitors', 'app=caller')
  return found.map(({ metadata, spec }) => ({ namespace: 'visitors', pod: metadata.name, node: spec.nodeName }))
}

/** Takes all of it away. */
export async function closeFleet(): Promise<void> {
  await kubectl(['delete', 'namespace', 'fleet', 'visitors', '--ignore-not-found', '--timeout=100s'])
}
