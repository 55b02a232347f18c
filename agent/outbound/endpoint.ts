// Fifth step of the outbound path: which endpoint of the backend gets this attempt. Unreachable ones and those that their
// breakers took out are left aside (balance/roster.ts); among the rest, the backend's own policy says how to choose.

import { roundRobin, twoChoices } from '../balance/choose.ts'
import { ewmaScore, leastScore } from '../balance/load.ts'
import { findOwner, hashKey } from '../balance/ring.ts'
import { type Lost, Roster } from '../balance/roster.ts'
import { MeshError } from '../errors.ts'
import type { Endpoint } from '../mesh/endpoint.ts'
import type { MatchInput } from '../mesh/match.ts'
import type { Backend, Snapshot } from '../mesh/snapshot.ts'
import type { Fuses } from './fuse.ts'

export interface ChooserOptions {
  readonly fuses: Fuses
  /** Numbers in [0, 1). */
  readonly random: () => number
  /** Whether endpoints of other nodes are reached directly, without a tunnel to their peer. */
  readonly isDirect: boolean
  /** Peers that don't answer. */
  readonly lost?: Lost
  /** Share of a backend's endpoints that breakers may take out; by default half. */
  readonly maxEjected?: number
}

/** Chooses endpoints. One for each data thread. */
export class Chooser {
  private readonly fuses: Fuses
  private readonly random: () => number
  private readonly isDirect: boolean
  private readonly maxEjected: number
  private readonly lost: Lost | null
  private readonly rosters = new WeakMap<Backend, Roster>()

  constructor(options: ChooserOptions) {
    this.fuses = options.fuses
    this.random = options.random
    this.isDirect = options.isDirect
    this.maxEjected = options.maxEjected ?? 0.5
    this.lost = options.lost ?? null
  }

  /**
   * Chooses the endpoint of one attempt.
   * @param input the request, or null for opaque TCP: nothing to hash then
   * @param tried the endpoints of earlier attempts of the exchange; null for the first
   * @param now clock's ms
   * @returns the Endpoint, or why there is none: `no_endpoint` (none is ready), `no_peer` (none can be reached) or, for
   *   a further attempt, `breaker_open` (all that could be tried are out: a retry is not worth bothering them)
   */
  choose(
    snapshot: Snapshot,
    backend: Backend,
    input: MatchInput | null,
    tried: readonly Endpoint[] | null,
    now: number,
  ): Endpoint | MeshError {
    const roster = this.roster(snapshot, backend)
    if (roster.candidates.length === 0) return unreachable(backend)
    if (tried !== null && tried.length > 0) return this.another(roster, backend, input, tried, now)
    return this.pick(roster, roster.candidates, backend, input, now)
  }

  private roster(snapshot: Snapshot, backend: Backend): Roster {
    const version = this.fuses.version(backend.key)
    const roster = this.rosters.get(backend)
    const { lost } = this
    const isCurrent = roster !== undefined && roster.version === version && roster.peers === snapshot.peers
    if (isCurrent && roster.lostVersion === (lost?.version ?? 0)) return roster
    const made = new Roster(backend, snapshot.peers, this.isDirect, this.maxEjected, version, roster?.turn ?? 0, lost)
    this.rosters.set(backend, made)
    return made
  }

  /** For a retry: an endpoint that was not tried yet, or, where there is no other, a good one once more. */
  private another(
    roster: Roster,
    backend: Backend,
    input: MatchInput | null,
    tried: readonly Endpoint[],
    now: number,
  ): Endpoint | MeshError {
    if (roster.isPanic) return new MeshError('breaker_open', backend.key)
    const fresh = roster.candidates.filter((endpoint) => !tried.includes(endpoint))
    if (fresh.length > 0) return this.pick(roster, fresh, backend, input, now)
    const isLeft = roster.reachable.some((endpoint) => !tried.includes(endpoint))
    if (isLeft) return new MeshError('breaker_open', backend.key)
    return this.pick(roster, roster.candidates, backend, input, now)
  }

  private pick(
    roster: Roster,
    endpoints: readonly Endpoint[],
    backend: Backend,
    input: MatchInput | null,
    now: number,
  ): Endpoint {
    const balance = backend.policy.balance
    if (balance === undefined) return twoChoices(endpoints, ewmaScore, now, 0, this.random)
    const slowStartMs = balance.slowStartMs ?? 0
    switch (balance.kind) {
      case 'least-request':
        return twoChoices(endpoints, leastScore, now, slowStartMs, this.random)
      case 'round-robin':
        return roundRobin(endpoints, roster.turn++, now, slowStartMs, this.random)
      case 'hash': {
        const key = input === null ? null : hashKey(input, balance.header, balance.cookie)
        const owner = key === null ? -1 : this.owner(roster, endpoints, key)
        if (owner !== -1) return roster.reachable[owner]!
      }
    }
    return twoChoices(endpoints, ewmaScore, now, slowStartMs, this.random)
  }

  private owner(roster: Roster, endpoints: readonly Endpoint[], key: string): number {
    const isIn =
      endpoints === roster.candidates
        ? (owner: number) => roster.isCandidate(roster.reachable[owner]!)
        : (owner: number) => endpoints.includes(roster.reachable[owner]!)
    return findOwner(roster.hashRing(), key, isIn)
  }
}

function unreachable(backend: Backend): MeshError {
  if (backend.endpoints.length === 0) return new MeshError('no_endpoint', backend.key)
  const nodes = new Set(backend.endpoints.map((endpoint) => endpoint.spec.node || endpoint.spec.address))
  return new MeshError('no_peer', `${backend.key} runs on ${[...nodes].slice(0, 5).join(', ')}`)
}
