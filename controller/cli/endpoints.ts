// `weft endpoints`: each Service of the mesh with its names, its address and what a client has to change to come by it. The
// same code as in the controller decides; what it wrote is looked up, so that a name that does not exist yet shows as such.

import type { World } from '../observe/world.ts'
import { nameOf, namespaceOf, toKey } from '../resolve/names.ts'
import type { Settings } from '../resolve/settings.ts'
import type { ServiceNode, Topology } from '../resolve/topology.ts'
import { tableOf } from './table.ts'

/** A Service of the mesh, for its clients. */
export interface ServiceAddress {
  namespace: string
  service: string
  /** The alias with its namespace (`reviews-mesh.shop`); empty if there is none. */
  alias: string
  /** Whether the controller has written it. */
  isWritten: boolean
  /** The name under the mesh domain, for clusters whose DNS knows it. */
  meshName: string
  /** What both resolve to; empty while it is not known. */
  address: string
  isDedicated: boolean
  ports: { port: number; protocol: string; endpoints: number }[]
  /** What to write in a client instead of what. */
  change: { from: string; to: string }[]
}

/**
 * Lists the Services of the mesh.
 * @param namespace whose; null: all
 */
export function listAddresses(
  world: World,
  topology: Topology,
  settings: Settings,
  namespace: string | null,
): ServiceAddress[] {
  return topology.services
    .filter(({ isEnrolled, key }) => isEnrolled && (namespace === null || namespaceOf(key) === namespace))
    .map((node) => addressOf(node, world, topology, settings))
}

function addressOf(node: ServiceNode, world: World, topology: Topology, settings: Settings): ServiceAddress {
  const namespace = namespaceOf(node.key)
  const service = nameOf(node.key)
  const meshName = `${service}.${namespace}.${settings.meshDomain}`
  const alias = node.alias === null ? '' : `${node.alias}.${namespace}`
  const isWritten = node.alias !== null && world.services.has(toKey(namespace, node.alias))
  const to = alias || meshName
  return {
    namespace,
    service,
    alias,
    isWritten,
    meshName,
    address: node.shadow?.address ?? topology.mesh.address,
    isDedicated: node.shadow !== null,
    ports: node.ports.map(({ number, protocol, endpoints }) => ({
      port: number,
      protocol,
      endpoints: endpoints.length,
    })),
    change: node.ports.map(({ number, protocol }) => {
      const scheme = protocol === 'http' ? 'http://' : ''
      return { from: `${scheme}${service}.${namespace}:${number}`, to: `${scheme}${to}:${number}` }
    }),
  }
}

/** The text for a list. `wide` adds the mesh domain's names. */
export function formatAddresses(list: readonly ServiceAddress[], format: 'table' | 'wide' | 'json'): string {
  if (format === 'json') return `${JSON.stringify(list, null, 2)}\n`
  const isWide = format === 'wide'
  const head = [
    'NAMESPACE',
    'SERVICE',
    'ALIAS',
    ...(isWide ? ['MESH NAME'] : []),
    'ADDRESS',
    'PORTS',
    'INSTEAD OF',
    'USE',
  ]
  const rows = list.flatMap((each) => {
    const { namespace, service, alias, isWritten, meshName, address, isDedicated, ports, change } = each
    const names = [alias === '' ? '(none)' : isWritten ? alias : `${alias} (not yet)`, ...(isWide ? [meshName] : [])]
    const own = address === '' ? '(none yet)' : isDedicated ? `${address} (own)` : address
    return change.map(({ from, to }, index) => {
      const { port, protocol, endpoints } = ports[index]!
      const shown = `${port}/${protocol} → ${endpoints}`
      return index === 0
        ? [namespace, service, ...names, own, shown, from, to]
        : ['', '', ...names.map(() => ''), '', shown, from, to]
    })
  })
  return tableOf(head, rows)
}
