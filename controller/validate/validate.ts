// The checks of resolve as a function on given objects: for `weft check -f`, and for whoever wants to refuse a bad object
// before it is stored. The same code judges as in the running controller, so that both say the same.

import { type KubeObject, keyOf, refOf, type Service } from '../observe/objects.ts'
import { emptyWorld, type World } from '../observe/world.ts'
import { readAnnotations } from '../resolve/annotations.ts'
import { type Problem, Problems, quote, referenceReasons } from '../resolve/problem.ts'
import { resolve } from '../resolve/resolve.ts'
import type { Settings } from '../resolve/settings.ts'
import { isFields, readPort } from '../resolve/shape.ts'
import type { Topology } from '../resolve/topology.ts'

/** Where each kind lives, and the versions of it that are read. */
const kinds: Record<string, { part: keyof World; group: string; versions: string[] }> = {
  Namespace: { part: 'namespaces', group: '', versions: ['v1'] },
  Node: { part: 'nodes', group: '', versions: ['v1'] },
  Pod: { part: 'pods', group: '', versions: ['v1'] },
  Service: { part: 'services', group: '', versions: ['v1'] },
  ServiceAccount: { part: 'accounts', group: '', versions: ['v1'] },
  EndpointSlice: { part: 'slices', group: 'discovery.k8s.io', versions: ['v1'] },
  NetworkPolicy: { part: 'policies', group: 'networking.k8s.io', versions: ['v1'] },
  TrafficSplit: { part: 'splits', group: 'split.smi-spec.io', versions: upTo(4) },
  TrafficTarget: { part: 'targets', group: 'access.smi-spec.io', versions: upTo(4) },
  HTTPRouteGroup: { part: 'routeGroups', group: 'specs.smi-spec.io', versions: upTo(4) },
  TCPRoute: { part: 'tcpRoutes', group: 'specs.smi-spec.io', versions: upTo(4) },
  UDPRoute: { part: 'udpRoutes', group: 'specs.smi-spec.io', versions: ['v1alpha4'] },
}

function upTo(last: number): string[] {
  return Array.from({ length: last }, (_, index) => `v1alpha${index + 1}`)
}

/** The kind's place if the object is one that the mesh reads, else null. */
function placeOf({ apiVersion, kind }: KubeObject): { part: keyof World; isVersionKnown: boolean } | null {
  const known = Object.hasOwn(kinds, kind) ? kinds[kind] : undefined
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
  if (!known || known.group !== group) return null
  return { part: known.part, isVersionKnown: known.versions.includes(version ?? '') }
}

/** A World with objects added or replaced; kinds that the mesh does not read are left out. */
export function withObjects(world: World, objects: readonly KubeObject[]): World {
  const parts = Object.fromEntries(Object.entries(world).map(([part, map]) => [part, new Map(map)]))
  for (const object of objects) {
    const place = placeOf(object)
    if (place) parts[place.part]?.set(keyOf(object), object)
  }
  return parts as unknown as World
}

/** What users write and the checks look at; of the rest nothing is judged, though it may stand in the same file. */
const judged: ReadonlySet<string> = new Set(
  Object.keys(kinds).filter((kind) => !['Node', 'Pod', 'EndpointSlice', 'NetworkPolicy'].includes(kind)),
)

/** What there is to say about one object. */
export interface Judgement {
  object: KubeObject
  problems: Problem[]
}

/**
 * Checks objects as the controller would see them.
 * @param cluster what is there besides; null if that is not known: then nothing is said about objects that are missing
 * @returns the problems of these objects alone, in their order
 */
export function validate(objects: readonly KubeObject[], settings: Settings, cluster: World | null): Problem[] {
  return judge(objects, settings, cluster).flatMap(({ problems }) => problems)
}

/** The same, object by object; those that the mesh does not read are left out. */
export function judge(objects: readonly KubeObject[], settings: Settings, cluster: World | null): Judgement[] {
  const known = objects.filter((object) => placeOf(object) !== null && judged.has(object.kind))
  const sound = known.filter((object) => shapeFault(object) === null)
  const topology = resolve(withObjects(cluster ?? emptyWorld, sound), settings, null, 0)
  const byObject = Map.groupBy(problemsOf(topology), ({ object }) => idOf(object))
  // Of an object that is given twice the last one was resolved.
  const last = new Map(known.map((object) => [idOf(refOf(object)), object]))
  return known.map((object) => {
    const id = idOf(refOf(object))
    const problems = new Problems(refOf(object))
    checkVersion(object, problems)
    if (last.get(id) !== object) {
      problems.error(
        'SpecInvalid',
        'metadata.name',
        `${object.kind} ${keyOf(object)} is given twice; the last one counts`,
      )
      return { object, problems: problems.list }
    }
    const fault = shapeFault(object)
    if (fault !== null) problems.error('SpecInvalid', fault.field, fault.text)
    else if (object.kind === 'Service' && !isRead(topology, object)) readAnnotations(object as Service, problems)
    const found = byObject.get(id) ?? []
    return { object, problems: [...problems.list, ...(cluster === null ? withoutReferences(found) : found)] }
  })
}

/** What the API server refuses and the stages after it never see. */
function shapeFault(object: KubeObject): { field: string; text: string } | null {
  if (object.kind !== 'Service') return null
  const { spec } = object as unknown as { spec: unknown }
  if (!isFields(spec)) return { field: 'spec', text: 'must be a map' }
  const { ports = [] } = spec
  if (!Array.isArray(ports)) return { field: 'spec.ports', text: 'must be a list' }
  const index = ports.findIndex((port) => !isFields(port) || readPort(port['port']) === null)
  return index < 0 ? null : { field: `spec.ports[${index}].port`, text: 'must be a port from 1 to 65535' }
}

function checkVersion(object: KubeObject, problems: Problems): void {
  if (placeOf(object)?.isVersionKnown) return
  problems.error(
    'SpecInvalid',
    'apiVersion',
    `${quote(object.apiVersion)} is no version of ${object.kind} that is served; use ${kinds[object.kind]?.versions.join(', ')}`,
  )
}

/** Whether the annotations of a Service have been read on the way. */
function isRead(topology: Topology, object: KubeObject): boolean {
  return topology.services.some(({ key }) => key === keyOf(object))
}

/** Drops what may be wrong only because the rest of the cluster is not in view. */
function withoutReferences(problems: Problem[]): Problem[] {
  const isPartial = problems.some(({ reason }) => reason === 'BackendNotFound')
  return problems.filter(({ reason }) => !referenceReasons.has(reason) && !(isPartial && reason === 'NoBackendLeft'))
}

function problemsOf({ namespaces, services, splits, groups, portRoutes, targets }: Topology): Problem[] {
  return [...namespaces, ...services, ...splits, ...groups, ...portRoutes, ...targets].flatMap(
    ({ problems }) => problems,
  )
}

function idOf({ apiVersion, kind, namespace, name }: Problem['object']): string {
  return `${apiVersion.split('/')[0]} ${kind} ${namespace}/${name}`
}
