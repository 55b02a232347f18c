// Which endpoints of a backend can be chosen at all: reachable, and not taken out by their breakers. Made anew only when
// the snapshot or a breaker's state changed; in between, choosing looks at no endpoint but those it draws.

import type { Endpoint } from '../mesh/endpoint.ts'
import type { Backend, Snapshot } from '../mesh/snapshot.ts'
import type { Fuse } from '../outbound/fuse.ts'
import { makeRing, type Ring } from './ring.ts'

export class Roster {
  /** What it was made for. */
  readonly peers: Snapshot['peers']
  readonly version: number
  readonly lostVersion: number
  /** Endpoints that a connection can be had to. */
  readonly reachable: readonly Endpoint[]
  /** Those to choose from. */
  readonly candidates: readonly Endpoint[]
  /** All are out, so all are in. */
  readonly isPanic: boolean
  /** For round robin. */
  turn: number
  private ring: Ring | null = null
  private members: ReadonlySet<Endpoint> | null = null

  /**
   * @param isDirect whether an endpoint on another node may be reached without its peer
   * @param maxEjected share of the endpoints that breakers may take out
   * @param version of the backend's fuses
   * @param lost peers that don't answer; their endpoints are left aside as long as there are others
   */
  constructor(
    backend: Backend,
    peers: Snapshot['peers'],
    isDirect: boolean,
    maxEjected: number,
    version: number,
    turn: number,
    lost: Lost | null = null,
  ) {
    this.peers = peers
    this.version = version
    this.turn = turn
    this.lostVersion = lost?.version ?? 0
    const known =
      isDirect || backend.policy.plaintext === true
        ? backend.endpoints
        : backend.endpoints.filter(({ isLocal, spec }) => isLocal || spec.node === '' || peers.has(spec.node))
    this.reachable = lost === null || lost.size === 0 ? known : withoutLost(known, peers, lost)
    const candidates = version === 0 ? this.reachable : withoutEjected(this.reachable, maxEjected)
    this.isPanic = candidates.length === 0
    this.candidates = this.isPanic ? this.reachable : candidates
  }

  /** The ring of all reachable endpoints; made when the first request needs it. */
  hashRing(): Ring {
    this.ring ??= makeRing(this.reachable.map((endpoint) => endpoint.key))
    return this.ring
  }

  isCandidate(endpoint: Endpoint): boolean {
    if (this.candidates === this.reachable) return true
    this.members ??= new Set(this.candidates)
    return this.members.has(endpoint)
  }
}

/** What a roster must know of the peers that don't answer: tunnel/lost.ts. */
export interface Lost {
  readonly version: number
  readonly size: number
  has(address: string): boolean
}

function withoutLost(endpoints: readonly Endpoint[], peers: Snapshot['peers'], lost: Lost): readonly Endpoint[] {
  const left = endpoints.filter(({ isLocal, spec }) => isLocal || !lost.has(peers.get(spec.node)?.address ?? ''))
  return left.length > 0 ? left : endpoints
}

/** Leaves out the endpoints that are out, but no more than a share of all: beyond it, those that went out first stay out. */
function withoutEjected(endpoints: readonly Endpoint[], maxEjected: number): readonly Endpoint[] {
  const out = endpoints.filter(isOut)
  if (out.length === 0) return endpoints
  if (out.length === endpoints.length) return []
  const cap = Math.floor(endpoints.length * maxEjected)
  if (out.length <= cap) return endpoints.filter((endpoint) => !isOut(endpoint))
  const ejected = new Set(out.sort((a, b) => openedAt(a) - openedAt(b)).slice(0, cap))
  return endpoints.filter((endpoint) => !ejected.has(endpoint))
}

function isOut(endpoint: Endpoint): boolean {
  return endpoint.fuse !== null && !(endpoint.fuse as Fuse).admits
}

function openedAt(endpoint: Endpoint): number {
  return (endpoint.fuse as Fuse).openedAt
}
