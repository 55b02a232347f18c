// What has to be written so that our Services in the cluster are as they should be. Pure; what isn't ours is never part
// of a plan.

import { type KubeObject, keyOf, type Service } from '../observe/objects.ts'
import { readClaims } from '../resolve/claims.ts'
import { isOurs, type OwnNames } from '../resolve/enrol.ts'
import type { DesiredService } from '../translate/desired.ts'

export type Step =
  | { verb: 'create'; key: string; desired: DesiredService }
  /** `body`: the whole object, with the resourceVersion that it was compared at. */
  | { verb: 'replace'; key: string; desired: DesiredService; body: Service }
  | { verb: 'delete'; key: string; actual: Service }

/** Steps in the order in which they are to be taken; those of one group may be taken together. */
export interface Plan {
  /** Aliases of Services that left the mesh: first, so that no new client comes. */
  withdraw: Step[]
  /** The mesh Service and shadow Services. */
  addresses: Step[]
  /** Aliases, without those whose address is among `addresses`: they wait until it can be read back. */
  aliases: Step[]
  /** Shadow Services that nothing points to any more. */
  cleanup: Step[]
}

const ourPrefix = 'weft.dev/'

/**
 * Compares the desired Services with the observed ones.
 * @param mesh what our Services are known by
 */
export function planServices(
  desired: readonly DesiredService[],
  actual: ReadonlyMap<string, Service>,
  mesh: OwnNames,
): Plan {
  const plan: Plan = { withdraw: [], addresses: [], aliases: [], cleanup: [] }
  const wanted = new Map(desired.map((each) => [keyOf(each), each]))

  for (const [key, service] of actual) {
    const isReplaced = wanted.has(key) && isOneKind(wanted.get(key)!, service)
    if (isReplaced || !isOurs(service, mesh) || service.metadata.deletionTimestamp !== undefined) continue
    const group = service.spec.type === 'ExternalName' ? plan.withdraw : plan.cleanup
    group.push({ verb: 'delete', key, actual: service })
  }

  const aliases = [...wanted].filter(([, each]) => each.spec.type === 'ExternalName')
  const addresses = [...wanted].filter(([, each]) => each.spec.type !== 'ExternalName')
  // A shadow Service waits until the claims on its ports can be read back, an alias until the address that it points to can.
  const meshKey = `${mesh.namespace}/${mesh.meshService}`
  const unclaimed = claimsBetween(wanted.get(meshKey), actual.get(meshKey))
  const isWaiting = (key: string, { spec }: DesiredService) =>
    key !== meshKey && spec.type === 'ClusterIP' && spec.ports.some(({ targetPort }) => unclaimed.has(targetPort))
  const [waiting, ready] = partition(addresses, ([key, each]) => isWaiting(key, each))
  plan.addresses = ready.flatMap(([key, each]) => stepFor(key, each, actual.get(key), mesh))

  const unsettled = new Set([...plan.addresses.map(({ key }) => key), ...waiting.map(([key]) => key)].map(hostOf))
  const settled = aliases.filter(([, { spec }]) => {
    const target = spec.type === 'ExternalName' ? spec.externalName.split('.').slice(0, 2).join('.') : ''
    return !unsettled.has(target)
  })
  plan.aliases = settled.flatMap(([key, each]) => stepFor(key, each, actual.get(key), mesh))
  return plan
}

/** The beginning of an address's DNS name. */
function hostOf(key: string): string {
  return key.split('/').reverse().join('.')
}

function partition<T>(list: readonly T[], holds: (each: T) => boolean): [T[], T[]] {
  return [list.filter(holds), list.filter((each) => !holds(each))]
}

/** Ports that are to be claimed on the mesh Service and are not yet. */
function claimsBetween(desired: DesiredService | undefined, actual: Service | undefined): Set<number> {
  const claims = (service: typeof desired | typeof actual) => readClaims(service?.metadata.annotations)
  const recorded = new Set(claims(actual).map(({ meshPort, owner }) => `${meshPort} ${owner}`))
  const open = claims(desired).filter(({ meshPort, owner }) => !recorded.has(`${meshPort} ${owner}`))
  return new Set(open.map(({ meshPort }) => meshPort))
}

/** Whether one can become the other: an alias has no address, and an address is given for life. */
function isOneKind(desired: DesiredService, actual: Service): boolean {
  return (desired.spec.type === 'ExternalName') === (actual.spec.type === 'ExternalName')
}

function stepFor(key: string, desired: DesiredService, actual: Service | undefined, mesh: OwnNames): Step[] {
  if (actual === undefined) return [{ verb: 'create', key, desired }]
  // Taken by somebody else (resolve says so in a problem), on its way out, or to be deleted because its type is wrong.
  if (!isOurs(actual, mesh) || actual.metadata.deletionTimestamp !== undefined) return []
  if (!isOneKind(desired, actual)) return []
  const text = JSON.stringify(desired)
  if (inOrder.get(actual) === text) return []
  const body = merge(desired, actual)
  if (!isEqual(body, actual)) return [{ verb: 'replace', key, desired, body }]
  inOrder.set(actual, text)
  return []
}

/** What an observed Service was found to agree with: most passes change nothing here. */
const inOrder = new WeakMap<Service, string>()

/** The observed Service with our fields as they should be; fields that are not ours stay. */
function merge(desired: DesiredService, actual: Service): Service {
  const { ownerReferences } = desired.metadata
  const metadata = {
    ...actual.metadata,
    labels: mergeNames(actual.metadata.labels, desired.metadata.labels),
    annotations: mergeNames(actual.metadata.annotations, desired.metadata.annotations),
  }
  if (ownerReferences !== undefined) metadata.ownerReferences = ownerReferences
  const spec: Service['spec'] = { ...actual.spec, ...desired.spec }
  const isSameType = desired.spec.type === actual.spec.type
  if (desired.spec.type === 'ClusterIP' && isSameType && isSamePorts(desired.spec.ports, actual.spec.ports)) {
    spec.ports = actual.spec.ports!
  }
  return { ...actual, metadata, spec }
}

function mergeNames(actual: Record<string, string> = {}, desired: Record<string, string>): Record<string, string> {
  const foreign = Object.entries(actual).filter(([name]) => !name.startsWith(ourPrefix))
  return { ...Object.fromEntries(foreign), ...desired }
}

function isSamePorts(
  desired: { name: string; protocol: string; port: number; targetPort: number }[],
  actual: Service['spec']['ports'] = [],
): boolean {
  return (
    desired.length === actual.length &&
    desired.every((port, index) => {
      const other = actual[index]!
      return (
        port.name === other.name &&
        port.port === other.port &&
        port.targetPort === other.targetPort &&
        port.protocol === (other.protocol ?? 'TCP')
      )
    })
  )
}

function isEqual(left: KubeObject, right: KubeObject): boolean {
  return canonical(left) === canonical(right)
}

/** JSON with sorted names; empty maps and lists count as absent. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner
    const entries = Object.entries(inner).filter(([, each]) => !isEmpty(each))
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}
