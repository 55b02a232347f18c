// Which addresses may be an endpoint (DESIGN.md section 6). A known pod's address is that pod, whoever names it; of all others
// only those that a flag allows: nobody may use the agents to reach what they could not reach themselves.

import type { EndpointSlice, Pod, Service } from '../observe/objects.ts'
import { keysChanged } from '../observe/view.ts'
import { emptyWorld, type World } from '../observe/world.ts'
import { canonicalAddress, isReserved, isWithin, makeBlocks } from './addresses.ts'
import { labels } from './names.ts'
import type { Pods } from './pods.ts'
import type { Seat } from './seat.ts'
import type { Settings } from './settings.ts'

export type Judgement =
  /** `seat` is null for a foreign address that a flag allows. */
  { address: string; seat: Seat | null } | { refusal: string }

export type Guard = (address: string) => Judgement

/** Makes the guard for one world, or for whichever one both indexes have come to. */
export function makeGuard(world: World, settings: Settings, pods: Pods, index?: TakenIndex): Guard {
  const taken = index ?? new TakenIndex(settings)
  if (index === undefined) taken.follow(world)
  const foreign = makeBlocks(settings.foreignCidrs)
  return (text) => {
    const address = canonicalAddress(text)
    if (address === null) return { refusal: 'is not an IP address' }
    const seat = pods.byAddress.get(address)
    if (seat) {
      return seat.namespace === settings.namespace ? { refusal: 'belongs to the mesh itself' } : { address, seat }
    }
    if (isReserved(address)) return { refusal: 'is a loopback, link-local, multicast or reserved address' }
    const owner = taken.ownerOf(address)
    if (owner !== undefined) return { refusal: `is the address of ${owner}` }
    if (isWithin(address, foreign)) return { address, seat: null }
    return { refusal: 'belongs to no pod; if it may be reached, the controller needs --foreign-cidrs' }
  }
}

/** What an address may belong to; the last of those that claim it is what it is. */
const owners = ['a Service', 'a node', 'an API server'] as const
const [aService, aNode, anApiServer] = [0, 1, 2] as const

type Texts = readonly (string | undefined)[]

/** Addresses of nodes, API servers and Services. Follows the world from one state to the next. */
export class TakenIndex {
  /** How many objects of each sort of owner claim an address. */
  readonly #claims = new Map<string, number[]>()
  #world: World = emptyWorld
  #changed = new Set<string>()

  constructor(settings: Settings) {
    this.#count(settings.apiServers, anApiServer, 1)
  }

  ownerOf(address: string): string | undefined {
    const claims = this.#claims.get(address)
    return claims && owners[claims.findLastIndex((count) => count > 0)]
  }

  /** Goes on to another world. @returns addresses that belong to something else now */
  follow(world: World): Set<string> {
    const before = this.#world
    this.#world = world
    this.#changed = new Set()
    this.#compare(before.services, world.services, addressesOf, aService)
    this.#compare(
      before.nodes,
      world.nodes,
      ({ status }) => status?.addresses?.map(({ address }) => address) ?? [],
      aNode,
    )
    this.#compare(before.pods, world.pods, hostsOf, aNode)
    this.#compare(before.slices, world.slices, apiServersOf, anApiServer)
    return this.#changed
  }

  #compare<T>(
    before: ReadonlyMap<string, T>,
    after: ReadonlyMap<string, T>,
    read: (object: T) => Texts,
    owner: number,
  ): void {
    for (const key of keysChanged(before, after)) {
      const [old, next] = [before.get(key), after.get(key)]
      const [was, is] = [old === undefined ? [] : read(old), next === undefined ? [] : read(next)]
      if (was.length === is.length && was.every((text, at) => text === is[at])) continue
      this.#count(is, owner, 1)
      this.#count(was, owner, -1)
    }
  }

  #count(texts: Texts, owner: number, by: number): void {
    for (const text of texts) {
      const address = text === undefined ? null : canonicalAddress(text)
      if (address === null) continue
      const before = this.ownerOf(address)
      const claims = this.#claims.get(address) ?? owners.map(() => 0)
      this.#claims.set(address, claims)
      claims[owner]! += by
      if (claims.every((count) => count === 0)) this.#claims.delete(address)
      if (this.ownerOf(address) !== before) this.#changed.add(address)
    }
  }
}

function hostsOf({ spec, status }: Pod): Texts {
  if (!status) return []
  return spec.hostNetwork ? [status.hostIP, status.podIP] : [status.hostIP]
}

function apiServersOf({ metadata, endpoints }: EndpointSlice): Texts {
  if (metadata.namespace !== 'default' || metadata.labels?.[labels.sliceOf] !== 'kubernetes') return []
  return endpoints?.flatMap(({ addresses }) => addresses) ?? []
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
