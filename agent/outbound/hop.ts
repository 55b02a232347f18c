// Seventh step of the outbound path: a connection to the endpoint, pooled where one is idle, else new: to a pod of this
// node directly, to another node through the tunnel.

import type { LookupFunction } from 'node:net'
import type { Protocol } from '../../controller/contract/resources.ts'
import type { Clock } from '../clock.ts'
import { MeshError } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { Deadlines, Timed } from '../http1/deadline.ts'
import type { HeadLimits } from '../http1/head.ts'
import { connectTcp } from '../http1/tcp.ts'
import { Upstream } from '../http1/upstream.ts'
import type { Wire } from '../http1/wire.ts'
import type { Endpoint, EndpointPart } from '../mesh/endpoint.ts'
import type { TunnelWire } from '../tunnel/session.ts'

/**
 * Opens a wire to an endpoint on behalf of an account.
 * @param source the caller's account, empty if it has none
 * @param protocol how the endpoint's agent is to read the bytes
 * @param done called once, with the wire or the reason why there is none
 * @returns gives up; `done` is not called after it
 */
export type Dial = (
  endpoint: Endpoint,
  source: string,
  protocol: Protocol,
  timeoutMs: number,
  done: (error: MeshError | null, wire: Wire | null) => void,
) => () => void

export interface HopOptions {
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly limits: HeadLimits
  readonly connectMs: number
  /** How long a connection is kept that nobody uses. */
  readonly poolIdleMs: number
  /** Idle connections kept for one endpoint and source. */
  readonly poolMost: number
  /** Endpoints on other nodes that have no agent, where the service allows plain text. */
  readonly isPlain: (endpoint: Endpoint) => boolean
  /** For endpoints on other nodes, through the tunnel. */
  readonly dial: Dial
  /** Finds hosts outside of the cluster. */
  readonly lookup: LookupFunction
}

/** Counts of the connections to endpoints, for metrics. */
export interface HopCounts {
  open: number
  opened: number
  idle: number
  /** Exchanges that went over a pooled connection. */
  reused: number
  failed: number
}

export class Hop {
  readonly counts: HopCounts = { open: 0, opened: 0, idle: 0, reused: 0, failed: 0 }
  private readonly pools = new Set<Pool>()
  readonly options: HopOptions

  constructor(options: HopOptions) {
    this.options = options
  }

  /**
   * Gets a connection for the exchange's endpoint.
   * @param isFresh no pooled one, which may be closing at this moment
   * @param done called once, at once if a pooled connection is there; not after cancelling
   * @returns cancels; a connection that is being made then goes to the pool
   */
  acquire(
    exchange: Exchange,
    isFresh: boolean,
    done: (error: MeshError | null, upstream: Upstream | null) => void,
  ): () => void {
    const endpoint = exchange.endpoint!
    if (endpoint.pool === null) {
      const pool = new Pool(endpoint, this)
      endpoint.pool = pool
      if (endpoint.isRetired) pool.retire()
      else this.pools.add(pool)
    }
    return (endpoint.pool as Pool).acquire(
      this.sourceOf(endpoint, accountOf(exchange)),
      this.connectMs(exchange),
      isFresh,
      done,
    )
  }

  /** Takes a connection back after its exchange: pooled if it is of further use, else closed. */
  release(exchange: Exchange, upstream: Upstream): void {
    const pool = exchange.endpoint!.pool as Pool | null
    if (pool === null || !upstream.isReusable) upstream.close()
    else pool.give(upstream)
  }

  /** Whether an endpoint of another node is reached without the tunnel. */
  isPlain(endpoint: Endpoint): boolean {
    return !endpoint.isLocal && this.options.isPlain(endpoint)
  }

  /** Opens a wire of its own for an opaque connection. */
  connect(exchange: Exchange, done: (error: MeshError | null, wire: Wire | null) => void): () => void {
    const protocol = exchange.request === null ? 'tcp' : 'http'
    const endpoint = exchange.endpoint!
    return this.dial(endpoint, this.sourceOf(endpoint, accountOf(exchange)), protocol, this.connectMs(exchange), done)
  }

  /** Opens a wire, whichever way the endpoint is reached. */
  dial(
    endpoint: Endpoint,
    source: string,
    protocol: Protocol,
    connectMs: number,
    done: (error: MeshError | null, wire: Wire | null) => void,
  ): () => void {
    const { deadlines, lookup } = this.options
    if (source === plain) return dialDirect(deadlines, endpoint, connectMs, done, lookup)
    return this.options.dial(endpoint, source, protocol, connectMs, done)
  }

  /** For Pool alone: it has retired. */
  forget(pool: EndpointPart): void {
    this.pools.delete(pool as Pool)
  }

  /** The connections of each endpoint, for /debug/pools. */
  report(): object[] {
    return Array.from(this.pools, (pool) => pool.report())
  }

  /**
   * In whose name a connection is made: what `dial` takes. Asked anew for each attempt: what was plain may be guarded now,
   * and its pooled connections must not be used then.
   * @param account the caller's, empty if it has none
   */
  sourceOf(endpoint: Endpoint, account: string): string {
    return endpoint.isLocal || this.isPlain(endpoint) ? plain : account
  }

  private connectMs(exchange: Exchange): number {
    return exchange.port?.service.policy.timeouts?.connectMs ?? this.options.connectMs
  }
}

/** Stands for the account of connections that are made in nobody's name, without a tunnel. */
const plain = '(plain)'

function accountOf({ caller }: Exchange): string {
  return caller.workload?.account ?? ''
}

function isTunnel(wire: Wire): wire is TunnelWire {
  return 'isDraining' in wire
}

function isDraining(wire: Wire): boolean {
  return isTunnel(wire) && wire.isDraining
}

/**
 * Connects straight to the pod, or to a host outside.
 * @param lookup for endpoints that are names
 */
export function dialDirect(
  deadlines: Deadlines,
  endpoint: Endpoint,
  connectMs: number,
  done: (error: MeshError | null, wire: Wire | null) => void,
  lookup?: LookupFunction,
): () => void {
  let isOver = false
  const finish = (error: Error | null, advice = '') => {
    if (isOver) return
    isOver = true
    deadlines.remove(timed)
    if (error === null) done(null, wire)
    else done(new MeshError('connect_failed', `${endpoint.key}: ${error.message}${advice}`, { cause: error }), null)
  }
  const timed: Timed = {
    deadlineAt: deadlines.now + connectMs,
    onDeadline: () => {
      finish(new Error(`no answer within ${connectMs} ms`), ', maybe a NetworkPolicy forbids the agent this port')
      wire.destroy()
    },
  }
  const { address, port } = endpoint.spec
  const target = { address, port, ...(lookup === undefined ? {} : { lookup }) }
  const wire: Wire = connectTcp(target, (error) => finish(error))
  deadlines.add(timed)
  return () => {
    isOver = true
    deadlines.remove(timed)
    wire.destroy()
  }
}

/** The connections to one endpoint. */
class Pool implements EndpointPart, Timed {
  deadlineAt = Number.POSITIVE_INFINITY
  private readonly endpoint: Endpoint
  private readonly hop: Hop
  /** Idle ones by source account, the one that was used last at the end. */
  private readonly idle = new Map<string, Upstream[]>()
  private readonly sources = new WeakMap<Upstream, string>()
  private isRetired = false
  private open = 0

  constructor(endpoint: Endpoint, hop: Hop) {
    this.endpoint = endpoint
    this.hop = hop
    hop.options.deadlines.add(this)
  }

  acquire(
    source: string,
    connectMs: number,
    isFresh: boolean,
    done: (error: MeshError | null, upstream: Upstream | null) => void,
  ): () => void {
    const idle = isFresh ? undefined : this.idle.get(source)
    if (idle !== undefined && idle.length > 0) {
      this.hop.counts.idle--
      this.hop.counts.reused++
      done(null, idle.pop()!)
      return nothing
    }
    let isCancelled = false
    const cancel = this.hop.dial(this.endpoint, source, 'http', connectMs, (error, wire) => {
      if (error !== null) {
        this.hop.counts.failed++
        done(error, null)
        return
      }
      const upstream = this.adopt(wire!, source)
      if (!isCancelled) done(null, upstream)
    })
    return () => {
      isCancelled = true
      cancel()
    }
  }

  give(upstream: Upstream): void {
    const { options, counts } = this.hop
    const source = this.sources.get(upstream) ?? ''
    let idle = this.idle.get(source)
    if (idle === undefined) {
      idle = []
      this.idle.set(source, idle)
    }
    if (this.isRetired || isDraining(upstream.wire) || idle.length >= options.poolMost) {
      upstream.close()
      return
    }
    upstream.rest()
    upstream.idleSince = options.deadlines.now
    idle.push(upstream)
    counts.idle++
    if (this.deadlineAt === Number.POSITIVE_INFINITY) this.deadlineAt = options.deadlines.now + options.poolIdleMs
  }

  /** Closes what nobody has used for long. */
  onDeadline(): void {
    const { deadlines, poolIdleMs } = this.hop.options
    let oldest = Number.POSITIVE_INFINITY
    for (const idle of this.idle.values()) {
      let stale = 0
      while (stale < idle.length && idle[stale]!.idleSince + poolIdleMs <= deadlines.now) stale++
      this.close(idle.splice(0, stale))
      if (idle.length > 0) oldest = Math.min(oldest, idle[0]!.idleSince)
    }
    this.deadlineAt = oldest + poolIdleMs
  }

  retire(): void {
    this.isRetired = true
    this.hop.forget(this)
    this.hop.options.deadlines.remove(this)
    for (const idle of this.idle.values()) this.close(idle.splice(0))
  }

  report(): object {
    let idle = 0
    for (const connections of this.idle.values()) idle += connections.length
    const { key, backend, inFlight } = this.endpoint
    return { endpoint: key, backend, open: this.open, idle, inFlight }
  }

  private adopt(wire: Wire, source: string): Upstream {
    const { counts, options } = this.hop
    this.open++
    counts.open++
    counts.opened++
    const upstream = new Upstream(wire, options.limits, {
      onUseless: () => this.drop(upstream, source),
      onClosed: () => {
        this.open--
        counts.open--
      },
    })
    // A session that the peer wants to end would be held open by what nobody uses.
    if (isTunnel(wire)) wire.onDraining = () => this.drop(upstream, source) && upstream.close()
    upstream.head.isFromMesh = source !== plain
    this.sources.set(upstream, source)
    return upstream
  }

  /** @returns whether it was idle */
  private drop(upstream: Upstream, source: string): boolean {
    const idle = this.idle.get(source)
    const at = idle?.indexOf(upstream) ?? -1
    if (at === -1) return false
    idle!.splice(at, 1)
    this.hop.counts.idle--
    return true
  }

  private close(connections: Upstream[]): void {
    this.hop.counts.idle -= connections.length
    for (const upstream of connections) upstream.close()
  }
}

function nothing(): void {}
