// Worlds for tests of the controller, from manifests as one would apply them. What the API server would add is added.

import { parseAllDocuments } from 'yaml'
import { problemOf } from '../../agent/mesh/schema.ts'
import type { KubeObject } from '../../controller/observe/objects.ts'
import { emptyWorld, type World } from '../../controller/observe/world.ts'
import type { Problem } from '../../controller/resolve/problem.ts'
import { resolve } from '../../controller/resolve/resolve.ts'
import { defaultSettings, type Settings } from '../../controller/resolve/settings.ts'
import type { Topology } from '../../controller/resolve/topology.ts'
import { type Translation, translate } from '../../controller/translate/translate.ts'
import { withObjects } from '../../controller/validate/validate.ts'

/** When all passes of tests take place. */
export const nowMs = Date.parse('2026-11-21T12:00:00Z')

const clusterScoped = ['Namespace', 'Node']

/** Objects of a YAML text; each gets a UID and an age, if it does not say. */
export function objectsOf(yaml: string): KubeObject[] {
  return parseAllDocuments(yaml).flatMap((document) => {
    if (document.errors[0]) throw document.errors[0]
    const value = document.toJS() as KubeObject | null
    return value === null || value.kind === undefined ? [] : [complete(value)]
  })
}

function complete(object: KubeObject): KubeObject {
  const { name, namespace = 'shop' } = object.metadata
  const uid = `${object.kind}-${name}`.toLowerCase()
  const added = { uid, resourceVersion: '1', creationTimestamp: '2026-11-01T00:00:00Z' }
  const metadata = Object.assign(added, object.metadata)
  return { ...object, metadata: clusterScoped.includes(object.kind) ? metadata : { ...metadata, namespace } }
}

/** A World of these manifests alone. */
export function worldOf(yaml: string, base: World = emptyWorld): World {
  return withObjects(base, objectsOf(yaml))
}

export interface Pass {
  topology: Topology
  translation: Translation
}

/** Resolves and translates. Whatever comes out must be what agents take: one resource that they refuse holds up everything. */
export function passOf(
  world: World,
  settings: Partial<Settings> = {},
  previous: Topology | null = null,
  at = nowMs,
): Pass {
  const all = { ...defaultSettings, ...settings }
  const topology = resolve(world, all, previous, at)
  const translation = translate(topology, all)
  for (const { resource } of [...translation.common, ...[...translation.nodes.values()].flat()]) {
    const refusal = problemOf(resource)
    if (refusal !== null) throw new Error(`agents refuse ${refusal}`)
  }
  return { topology, translation }
}

/** `Kind name: Reason` of each problem, as it is said shortest. */
export function said(problems: readonly Problem[]): string[] {
  return problems.map(({ object, reason }) => `${object.kind} ${object.name}: ${reason}`)
}

/** A namespace `shop` in the mesh, with Services and a ready pod behind each: the ground that most tests stand on. */
export function shop(
  ...services: { name: string; ports?: (number | string)[]; account?: string; labels?: string }[]
): string {
  const head = '{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {weft.dev/mesh: enabled}}}'
  return [head, ...services.map((service, index) => serviceOf(service, index + 1))].join('\n---\n')
}

/** A Service, its one pod and its slice; ports as `number` or `name:number`. */
function serviceOf(
  {
    name,
    ports = [8080],
    account = name,
    labels = '{}',
  }: { name: string; ports?: (number | string)[]; account?: string; labels?: string },
  index: number,
): string {
  const list = ports.map((port) => {
    const [portName, number] = typeof port === 'string' ? port.split(':') : [`p${port}`, port]
    return { name: portName, number: Number(number) }
  })
  const servicePorts = list.map((port) => `{name: ${port.name}, port: ${port.number}, targetPort: ${port.number + 1}}`)
  const slicePorts = list.map((port) => `{name: ${port.name}, port: ${port.number + 1}, protocol: TCP}`)
  return `
{apiVersion: v1, kind: Service, metadata: {name: ${name}, labels: ${labels}}, spec: {clusterIP: 10.96.1.${index}, ports: [${servicePorts}]}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: ${account}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: ${name}-1}, spec: {nodeName: node1, serviceAccountName: ${account}}, status: {phase: Running, podIP: 10.1.0.${index}}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: ${name}-abc, labels: {kubernetes.io/service-name: ${name}}}, addressType: IPv4,
 endpoints: [{addresses: [10.1.0.${index}], conditions: {ready: true}}], ports: [${slicePorts}]}`
}
