// Names and addresses in the cluster: which alias an enrolled Service gets, and which shadow Service if it has a dedicated
// address. A name that is taken is left alone, and of two that want one the older has it.

import type { Service } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import { type Addresses, pairAddresses } from './addresses.ts'
import { isOurs } from './enrol.ts'
import { aliasName, labels, nameOf, namespaceOf, shadowName, toKey } from './names.ts'
import { type Problems, quote } from './problem.ts'
import { withdrawnForMs } from './services.ts'
import type { Settings } from './settings.ts'
import type { ServiceNode } from './topology.ts'

/** @returns the alias of an enrolled Service, or null with the problem reported */
export function chooseAlias(node: ServiceNode, world: World, settings: Settings, problems: Problems): string | null {
  const name = aliasName(node.key, settings.aliasSuffix)
  const namespace = namespaceOf(node.key)
  const mesh = `${nameOf(node.key)}.${namespace}.${settings.meshDomain}`
  if (name === null) {
    problems.warn(
      'AliasNameTooLong',
      'metadata.name',
      `with ${quote(settings.aliasSuffix)} it would exceed 63 characters, so there is no alias; clients can use ${mesh}`,
    )
    return null
  }
  const other = world.services.get(toKey(namespace, name))
  if (!other) return name
  const { [labels.service]: standsFor = nameOf(node.key) } = other.metadata.labels ?? {}
  if (isOurs(other, settings) && standsFor === nameOf(node.key)) return name
  problems.warn(
    'AliasNameTaken',
    'metadata.name',
    `another Service is named ${quote(name)} and is left alone, so there is no alias; rename one of them, or let clients use ${mesh}`,
  )
  return null
}

/**
 * Chooses the shadow Services of all nodes that need a dedicated address.
 * @param wanting those nodes, with their problems
 */
export function chooseShadows(
  wanting: { node: ServiceNode; problems: Problems }[],
  world: World,
  settings: Settings,
): void {
  const owners = new Map<string, string>()
  const oldestFirst = wanting.toSorted(
    (a, b) => a.node.createdAt - b.node.createdAt || (a.node.key < b.node.key ? -1 : 1),
  )
  for (const { node, problems } of oldestFirst) {
    const name = shadowName(node.key)
    const other = world.services.get(toKey(settings.namespace, name))
    const isForeign = other !== undefined && !standsFor(other, node)
    if (isForeign || owners.has(name)) {
      problems.error(
        'ShadowNameTaken',
        'metadata.name',
        `Service ${settings.namespace}/${name} exists and stands for something else, so there is no dedicated address; delete it or rename this Service`,
      )
      continue
    }
    owners.set(name, node.key)
    node.shadow = { name, ...serviceAddresses(other) }
  }
}

/**
 * Keeps the dedicated addresses of enrolled Services that needed one a short while ago: clients go on with what they have
 * from DNS, and it leads where it did.
 * @param previous the nodes of the pass before
 */
export function keepShadows(
  enrolled: readonly { node: ServiceNode; isDedicated: boolean }[],
  previous: readonly ServiceNode[],
  nowMs: number,
): void {
  const before = new Map(previous.filter(({ shadow }) => shadow !== null).map((node) => [node.key, node]))
  if (before.size === 0) return
  for (const { node, isDedicated } of enrolled) {
    const old = isDedicated ? undefined : before.get(node.key)
    if (old === undefined || !old.isEnrolled || old.ref.uid !== node.ref.uid) continue
    const since = old.sharedSinceMs ?? nowMs
    if (nowMs - since >= withdrawnForMs) continue
    node.shadow = old.shadow
    node.sharedSinceMs = since
  }
}

/** By its labels; without them, by the UID that it was written for. */
function standsFor({ metadata }: Service, { key, ref }: ServiceNode): boolean {
  const { labels: of = {}, annotations = {} } = metadata
  if (of[labels.service] === undefined) return annotations[labels.uid] === ref.uid
  return toKey(of[labels.namespace] ?? '', of[labels.service] ?? '') === key
}

/** ClusterIPs of a Service; `address` is empty while it has none. */
export function serviceAddresses(service: Service | undefined): Addresses {
  const { clusterIP, clusterIPs = [] } = service?.spec ?? {}
  return pairAddresses([clusterIP, ...clusterIPs])
}
