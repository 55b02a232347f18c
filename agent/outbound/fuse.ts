// Sixth step of the outbound path: the endpoint's circuit breaker. opossum keeps the rolling window and the states; what
// it lacks is added here: failures in a row, doubling pauses with jitter, and outcomes that are told which state they
// belong to. While it is closed, an exchange costs one check and two emitted events (no promise).

import { EventEmitter } from 'node:events'
import CircuitBreaker from 'opossum'
import type { ServicePolicy } from '../../controller/contract/resources.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Endpoint, EndpointPart } from '../mesh/endpoint.ts'

export type FuseState = 'closed' | 'open' | 'half-open'

/**
 * What `begin` gives and exactly one of `succeed`, `fail` and `abandon` takes back: the breaker's generation, negative
 * for a probe; 0 for an exchange whose outcome tells nothing, because it was sent in spite of an open breaker.
 */
export type FuseToken = number

export interface FuseSettings {
  /** Failures in a row that open it. */
  readonly consecutive: number
  /** Opens below this share of successes ... */
  readonly successRate: number
  /** ... once there were so many exchanges in the window. */
  readonly minimum: number
  readonly windowMs: number
  /** First pause, and the longest before jitter. */
  readonly openMs: number
  readonly maxOpenMs: number
  /** A pause lasts up to so much longer than its nominal length, so that a fleet's probes don't come together. */
  readonly jitter: number
}

/** DESIGN.md section 8: what Linkerd opens at, too. */
const defaults: FuseSettings = {
  consecutive: 7,
  successRate: 0.8,
  minimum: 5,
  windowMs: 10_000,
  openMs: 1_000,
  maxOpenMs: 60_000,
  jitter: 0.5,
}

const buckets = 10

/** One line of /debug/fuses. */
export interface FuseReport {
  readonly endpoint: string
  readonly backend: string
  readonly state: FuseState
  readonly successes: number
  readonly failures: number
  readonly consecutive: number
  /** How often it has opened since it was last closed. */
  readonly opened: number
  /** How long the current pause lasts altogether, or the next one would, in ms. */
  readonly pauseMs: number
}

export type FuseListener = (endpoint: Endpoint, from: FuseState, to: FuseState) => void

// What a failing call rejects with: one object for all, as nobody reads it and a stack would cost more than the rest.
const failure = new Error('endpoint failed')
const failed = Promise.reject(failure)
failed.catch(() => undefined)
const ignore = (): void => undefined

function isSame(a: FuseSettings, b: FuseSettings): boolean {
  return (
    a.consecutive === b.consecutive &&
    a.successRate === b.successRate &&
    a.minimum === b.minimum &&
    a.openMs === b.openMs &&
    a.maxOpenMs === b.maxOpenMs
  )
}

/** The fuses of one backend. */
interface FuseGroup {
  fuses: number
  /** Changes whenever one of its endpoints may have gone out or come back. */
  version: number
}

interface Bucket {
  successes: number
  failures: number
  fires: number
  latencyTimes: number[]
}

/** The breaker of one endpoint. */
export class Fuse implements EndpointPart {
  readonly endpoint: Endpoint
  readonly settings: FuseSettings
  /** The policy that the settings were read from. */
  policy: ServicePolicy
  state: FuseState = 'closed'
  /** When it opened last, counted over all fuses: the smaller the earlier. */
  openedAt = 0
  readonly group: FuseGroup
  private readonly fuses: Fuses
  private readonly breaker: CircuitBreaker
  private generation: number
  private consecutive = 0
  private opened = 0
  /** Settles the half-open breaker's one call; stays with the fuse when the exchange that was the probe is abandoned. */
  private settle: ((isSuccess: boolean) => void) | null = null
  private isProbing = false

  constructor(endpoint: Endpoint, policy: ServicePolicy, fuses: Fuses, group: FuseGroup) {
    this.endpoint = endpoint
    this.group = group
    this.policy = policy
    this.settings = fuses.settingsOf(policy)
    this.fuses = fuses
    this.generation = fuses.count()
    // opossum keeps and changes this object: never share it.
    this.breaker = new CircuitBreaker(() => this.act(), {
      name: endpoint.key,
      // A timer per call that can't cancel the call: the exchange has its own deadlines.
      timeout: false,
      rollingCountTimeout: this.settings.windowMs,
      rollingCountBuckets: buckets,
      // Otherwise each failure sorts the window's latencies: an outage would become a CPU storm.
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: fuses.rotation,
      errorThresholdPercentage: Math.round((1 - this.settings.successRate) * 1e6) / 1e4,
      volumeThreshold: this.settings.minimum,
      resetTimeout: 0,
    })
    this.plan()
    this.breaker.on('open', () => this.onOpen())
    this.breaker.on('halfOpen', () => this.turn('half-open'))
    this.breaker.on('close', () => this.onClose())
  }

  /** Whether an exchange may be sent: always while closed, one at a time while half-open, never while open. */
  get admits(): boolean {
    return this.state === 'closed' || (this.state === 'half-open' && !this.isProbing)
  }

  /** Takes note that an exchange is sent. Allowed in every state: where all endpoints are out, all are in. */
  begin(): FuseToken {
    if (this.state === 'closed') return this.generation
    if (!this.admits) return 0
    this.isProbing = true
    this.fuses.touch(this.group)
    if (this.settle === null) this.breaker.fire().catch(ignore)
    return -this.generation
  }

  /** The endpoint has answered, with anything that is not its own failure. */
  succeed(token: FuseToken): void {
    if (token === this.generation) {
      this.consecutive = 0
      this.breaker.emit('fire')
      this.breaker.emit('success', undefined, 0)
    } else if (token === -this.generation) {
      this.end(true)
    }
  }

  /** The endpoint has failed: no connection, reset, deadline, or a status of 500 and above. */
  fail(token: FuseToken): void {
    if (token === this.generation) {
      // A failure that is only emitted is counted but never opens it: a whole call is made of it.
      this.breaker.fire().catch(ignore)
      this.consecutive++
      if (this.consecutive >= this.settings.consecutive) this.breaker.open()
    } else if (token === -this.generation) {
      this.end(false)
    }
  }

  /** It never came to an outcome (the caller went away): neither. A probe is handed to the next exchange. */
  abandon(token: FuseToken): void {
    if (token !== -this.generation) return
    this.generation = this.fuses.count()
    this.isProbing = false
    this.fuses.touch(this.group)
  }

  retire(): void {
    this.fuses.forget(this)
    // Tokens that are still out match nothing any more.
    this.generation = this.fuses.count()
    this.breaker.shutdown()
  }

  /** Forgets the finished second's latencies, which opossum keeps although it is told not to use them. */
  forgetLatencies(): void {
    this.window()[0]!.latencyTimes.length = 0
  }

  report(): FuseReport {
    const { successes, failures } = this.breaker.stats
    const { key, backend } = this.endpoint
    const { state, consecutive, opened } = this
    const pauseMs = Math.round(this.state === 'closed' ? this.pauseOf(0) : this.pauseOf(opened - 1))
    return { endpoint: key, backend, state, successes, failures, consecutive, opened, pauseMs }
  }

  /** opossum's action: in the closed state only failures are fired; half-open, it waits for the probe's outcome. */
  private act(): Promise<void> {
    if (this.state !== 'half-open') return failed as Promise<void>
    return new Promise((resolve, reject) => {
      this.settle = (isSuccess) => (isSuccess ? resolve() : reject(failure))
    })
  }

  private end(isSuccess: boolean): void {
    const settle = this.settle
    this.settle = null
    // One outcome for a probe: what comes with the same token again is stale.
    this.generation = this.fuses.count()
    settle?.(isSuccess)
  }

  private onOpen(): void {
    this.opened++
    this.openedAt = this.fuses.count()
    this.plan()
    this.turn('open')
  }

  private onClose(): void {
    // What made it open is past: with it in the window, the next single failure would open it again.
    for (const bucket of this.window()) {
      bucket.successes = 0
      bucket.failures = 0
      bucket.fires = 0
    }
    this.opened = 0
    this.plan()
    this.turn('closed')
  }

  /** opossum's buckets themselves, the current second's first. */
  private window(): Bucket[] {
    return this.breaker.status.window as unknown as Bucket[]
  }

  /** Sets how long the next pause lasts; opossum reads it when it opens. */
  private plan(): void {
    const options = (this.breaker as unknown as { options: { resetTimeout: number } }).options
    options.resetTimeout = this.pauseOf(this.opened) * (1 + this.settings.jitter * this.fuses.random())
  }

  private pauseOf(opened: number): number {
    return Math.min(this.settings.openMs * 2 ** opened, this.settings.maxOpenMs)
  }

  private turn(to: FuseState): void {
    const from = this.state
    this.state = to
    this.generation = this.fuses.count()
    this.consecutive = 0
    this.isProbing = false
    this.fuses.changed(this, from, to)
  }
}

/** All fuses of a data thread. */
export class Fuses {
  /** Tells all breakers to begin the next second of their windows: one timer instead of one for each. */
  readonly rotation = new EventEmitter().setMaxListeners(0)
  readonly random: () => number
  private readonly clock: Clock
  private readonly settings: FuseSettings
  private readonly listener: FuseListener | null
  private readonly all = new Set<Fuse>()
  private readonly groups = new Map<string, FuseGroup>()
  private counter = 0
  private timer: Timer | null = null

  /**
   * @param random numbers in [0, 1), for jitter
   * @param settings for what a backend's policy leaves open; the window's length is the same for all
   * @param listener told of every change of state: for metrics and the log
   */
  constructor(clock: Clock, random: () => number, settings = defaults, listener: FuseListener | null = null) {
    this.clock = clock
    this.random = random
    this.settings = settings
    this.listener = listener
  }

  /**
   * The fuse of an endpoint, made at first use and anew when its settings have changed.
   * @param policy the backend's own
   */
  of(endpoint: Endpoint, policy: ServicePolicy): Fuse {
    const fuse = endpoint.fuse as Fuse | null
    return fuse !== null && fuse.policy === policy ? fuse : this.make(endpoint, policy)
  }

  /** A number that changes whenever an endpoint of the backend may have gone out or come back; 0: none ever has. */
  version(backend: string): number {
    return this.groups.get(backend)?.version ?? 0
  }

  /** State of every fuse, for /debug/fuses. */
  report(): FuseReport[] {
    return Array.from(this.all, (fuse) => fuse.report())
  }

  /** Ends all fuses and the timer. */
  close(): void {
    for (const fuse of [...this.all]) fuse.retire()
  }

  /** For Fuse alone: the settings that a policy comes to. */
  settingsOf(policy: ServicePolicy): FuseSettings {
    return { ...this.settings, ...policy.breaker }
  }

  /** For Fuse alone: a number greater than all before. No two fuses share a generation, so that tokens never mix. */
  count(): number {
    return ++this.counter
  }

  /** For Fuse alone: who of the backend's endpoints is out may have changed. */
  touch(group: FuseGroup): void {
    group.version = this.count()
  }

  /** For Fuse alone: its state has changed. */
  changed(fuse: Fuse, from: FuseState, to: FuseState): void {
    this.touch(fuse.group)
    this.listener?.(fuse.endpoint, from, to)
  }

  /** For Fuse alone: it has retired. */
  forget(fuse: Fuse): void {
    if (!this.all.delete(fuse)) return
    if (fuse.state !== 'closed') this.touch(fuse.group)
    if (--fuse.group.fuses === 0) this.groups.delete(fuse.endpoint.backend)
    if (this.all.size > 0 || this.timer === null) return
    this.clock.clearTimeout(this.timer)
    this.timer = null
  }

  private make(endpoint: Endpoint, policy: ServicePolicy): Fuse {
    const old = endpoint.fuse as Fuse | null
    if (old !== null && isSame(old.settings, this.settingsOf(policy))) {
      old.policy = policy
      return old
    }
    old?.retire()
    const group = this.groups.get(endpoint.backend) ?? { fuses: 0, version: 0 }
    const fuse = new Fuse(endpoint, policy, this, group)
    endpoint.fuse = fuse
    this.groups.set(endpoint.backend, group)
    group.fuses++
    this.all.add(fuse)
    if (this.timer === null) this.rotateLater()
    // An exchange may outlive its endpoint's configuration: its fuse lets everything through and keeps nothing.
    if (endpoint.isRetired) fuse.retire()
    return fuse
  }

  private rotateLater(): void {
    this.timer = this.clock.setTimeout(() => this.rotate(), this.settings.windowMs / buckets)
    this.timer.unref()
  }

  private rotate(): void {
    for (const fuse of this.all) fuse.forgetLatencies()
    this.rotation.emit('rotate')
    this.rotateLater()
  }
}
