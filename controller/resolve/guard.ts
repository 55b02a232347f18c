// Which addresses may be an endpoint (DESIGN.md section 6). A known pod's address is that pod, whoever names it; of all others
// only those that a flag allows: nobody may use the agents to reach what they could not reach themselves.

import type { Service } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import { canonicalAddress, isReserved, isWithin, makeBlocks } from './addresses.ts'
import { labels } from './names.ts'
import type { Pods, Seat } from './pods.ts'
import type { Settings } from './settings.ts'

export type Judgement =
  /** `seat` is null for a foreign address that a flag allows. */
  { address: string; seat: Seat | null } | { refusal: string }

export type Guard = (address: string) => Judgement

/** Makes the guard for one world. */
export function makeGuard(world: World, settings: Settings, pods: Pods): Guard {
  const taken = takenAddresses(world, settings)
  const foreign = makeBlocks(settings.foreignCidrs)
  return (text) => {
    const address = canonicalAddress(text)
    if (address === null) return { refusal: 'is not an IP address' }
    const seat = pods.byAddress.get(address)
    if (seat) {
      return seat.namespace === settings.namespace ? { refusal: 'belongs to the mesh itself' } : { address, seat }
    }
    if (isReserved(address)) return { refusal: 'is a loopback, link-local, multicast or reserved address' }
    const owner = taken.get(address)
    if (owner !== undefined) return { refusal: `is the address of ${owner}` }
    if (isWithin(address, foreign)) return { address, seat: null }
    return { refusal: 'belongs to no pod; if it may be reached, the controller needs --foreign-cidrs' }
  }
}

/** Addresses of nodes, API servers and Services, with what they are. */
function takenAddresses(world: World, settings: Settings): Map<string, string> {
  const taken = new Map<string, string>()
  const take = (texts: (string | undefined)[], owner: string): void => {
    for (const text of texts) {
      const address = text === undefined ? null : canonicalAddress(text)
      if (address !== null) taken.set(address, owner)
    }
  }
  for (const service of world.services.values()) take(addressesOf(service), 'a Service')
  for (const { status } of world.nodes.values()) take(status?.addresses?.map(({ address }) => address) ?? [], 'a node')
  for (const { spec, status } of world.pods.values()) {
    if (status) take(spec.hostNetwork ? [status.hostIP, status.podIP] : [status.hostIP], 'a node')
  }
  for (const { metadata, endpoints } of world.slices.values()) {
    if (metadata.namespace !== 'default' || metadata.labels?.[labels.sliceOf] !== 'kubernetes') continue
    take(endpoints?.flatMap(({ addresses }) => addresses) ?? [], 'an API server')
  }
  take(settings.apiServers, 'an API server')
  return taken
}

function addressesOf({ spec, status }: Service): (string | undefined)[] {
  const balancers = status?.loadBalancer?.ingress?.map(({ ip }) => ip) ?? []
  return [...(spec.clusterIPs ?? [spec.clusterIP]), ...(spec.externalIPs ?? []), ...balancers]
}

/** Whether an ExternalName Service may point to a host. */
export function isHostAllowed(host: string, settings: Settings): boolean {
  const name = host.toLowerCase().replace(/\.$/, '')
  // What resolvers read as an address in disguise (URL standard: a last label that is a number) would pass the guard by.
  const last = name.slice(name.lastIndexOf('.') + 1)
  if (name.includes(':') || name === 'localhost' || /^(\d*|0x[\da-f]*)$/.test(last)) return false
  return settings.foreignHosts.some((pattern) => {
    if (!pattern.startsWith('*.')) return name === pattern
    const label = name.slice(0, -(pattern.length - 1))
    return name.endsWith(pattern.slice(1)) && label !== '' && !label.includes('.')
  })
}
