// What a data thread does beside its paths: takes the control thread's messages, samples counts, and leaves in order.

import type { Clock, Timer } from './clock.ts'
import type { Exchange } from './exchange.ts'
import type { Deadlines } from './http1/deadline.ts'
import type { Credentials } from './identity/credentials.ts'
import type { InboundAcceptor } from './inbound/accept.ts'
import type { Admission } from './limits/admission.ts'
import type { LagGate } from './limits/lag.ts'
import type { Retries } from './limits/retry.ts'
import type { Holder } from './mesh/holder.ts'
import type { Snapshot } from './mesh/snapshot.ts'
import type { Post, Question, ToThread } from './mesh/thread.ts'
import type { Mirror } from './mirror/mirror.ts'
import type { AccessRecorder } from './observe/accesslog.ts'
import type { Counters } from './observe/counters.ts'
import { answerPermit } from './observe/explain.ts'
import type { ThreadLog } from './observe/log.ts'
import type { StreamRecorder } from './observe/streams.ts'
import type { Acceptor } from './outbound/accept.ts'
import type { CallerDesk } from './outbound/caller.ts'
import type { Fuses } from './outbound/fuse.ts'
import type { Hop } from './outbound/hop.ts'
import type { Connection } from './path.ts'
import type { Ports } from './ports.ts'
import { held } from './tunnel/channel.ts'
import type { Dialer } from './tunnel/dial.ts'
import type { TunnelServer } from './tunnel/serve.ts'

/** The thread as worker.ts has put it together. */
export interface ThreadParts {
  readonly clock: Clock
  readonly post: Post
  /** Draining: no connection is kept after its exchange. Closed: nothing new is accepted. */
  readonly state: { isDraining: boolean; isClosed: boolean }
  readonly holder: Holder
  readonly deadlines: Deadlines
  readonly counters: Counters
  readonly streams: StreamRecorder
  readonly log: ThreadLog
  readonly accessLog: AccessRecorder | null
  readonly credentials: Credentials
  readonly dialer: Dialer
  readonly lag: LagGate
  readonly admission: Admission
  readonly retries: Retries
  readonly desk: CallerDesk
  readonly fuses: Fuses
  readonly hop: Hop
  readonly mirror: Mirror
  readonly outbound: Acceptor
  readonly inbound: InboundAcceptor
  readonly tunnel: TunnelServer
  readonly ports: Ports
}

/** How often what is counted elsewhere is sampled into the counters. */
const sampleMs = 1_000
const lastLookMs = 20

export class DataThread {
  readonly outbound: Acceptor
  readonly inbound: InboundAcceptor
  readonly hop: Hop
  readonly fuses: Fuses
  readonly deadlines: Deadlines
  readonly counters: Counters
  private readonly parts: ThreadParts
  private readonly post: Post
  private sampler: Timer | null = null
  private hasEnded = false

  constructor(parts: ThreadParts) {
    const { outbound, inbound, hop, fuses, deadlines, counters, post } = parts
    this.parts = parts
    this.outbound = outbound
    this.inbound = inbound
    this.hop = hop
    this.fuses = fuses
    this.deadlines = deadlines
    this.counters = counters
    this.post = post
    parts.holder.onChange((next, before) => this.onSnapshot(next, before))
    parts.lag.start()
    this.sampleLater()
    post({ type: 'started' })
  }

  /** Takes a message of the control thread. */
  handle(message: ToThread): void {
    switch (message.type) {
      case 'prepare':
      case 'commit':
      case 'abort': {
        const answer = this.parts.holder.handle(message)
        if (answer !== null) this.post(answer)
        break
      }
      case 'identity':
        this.parts.credentials.accept(message.message)
        break
      case 'beat': {
        const { accepted, open } = this.outbound
        this.post({
          type: 'heartbeat',
          number: message.number,
          accepted: accepted + this.inbound.accepted,
          open: open + this.inbound.open,
        })
        break
      }
      case 'drain':
        this.parts.state.isDraining = true
        break
      case 'close':
        this.close()
        break
      case 'end':
        this.end()
        break
      case 'ask':
        this.post({ type: 'answer', id: message.id, value: this.answer(message.what) })
        break
      case 'level':
        this.parts.log.setLevel(message.level)
        break
    }
  }

  private onSnapshot(next: Snapshot, before: Snapshot): void {
    const { desk, ports, retries, counters } = this.parts
    desk.update(next)
    ports.update(next)
    retries.keep((service) => next.services.has(service))
    counters.retain(next.services)
    const isSame =
      next.access === before.access &&
      next.namespaces === before.namespaces &&
      next.mesh === before.mesh &&
      next.workloads === before.workloads
    if (isSame) return
    // What lives on was decided by rules, or for pods, that are no more.
    for (const connection of [...this.outbound.all()]) connection.recheck()
    for (const connection of [...this.inbound.all()]) connection.recheck()
  }

  private answer(what: Question): unknown {
    const { dialer, tunnel, clock, holder } = this.parts
    if (typeof what === 'object') return answerPermit(holder.snapshot, what.permit)
    switch (what) {
      case 'fuses':
        return this.fuses.report()
      case 'pools':
        return { endpoints: this.hop.report(), dialled: dialer.sessions(), served: tunnel.sessions() }
      case 'exchanges':
        return [...this.outbound.all(), ...this.inbound.all()].flatMap(({ current }) =>
          current === null ? [] : [show(current, clock)],
        )
    }
  }

  private sampleLater(): void {
    this.sampler = this.parts.clock.setTimeout(() => {
      this.sample()
      this.sampleLater()
    }, sampleMs)
    this.sampler.unref()
  }

  /** Brings what is counted elsewhere into the counters. */
  private sample(): void {
    const { counters, hop, outbound, inbound } = this
    const { admission, desk, retries, streams, lag, clock, dialer, tunnel } = this.parts
    counters.set('downstreamOpen', outbound.open + inbound.open)
    counters.set('downstreamOpened', outbound.accepted + inbound.accepted)
    counters.set('downstreamRefused', outbound.refused)
    counters.set('upstreamOpen', hop.counts.open)
    counters.set('upstreamOpened', hop.counts.opened)
    counters.set('upstreamFailed', hop.counts.failed)
    counters.set('poolIdle', hop.counts.idle)
    counters.set('poolReused', hop.counts.reused)
    counters.set('queued', admission.waiting)
    counters.set('callersWaiting', desk.waiters)
    counters.set('callersUnknown', desk.unknown)
    counters.set('inFlight', countInFlight(outbound.all()) + countInFlight(inbound.all()))
    counters.set('unsettled', outbound.unsettled + inbound.unsettled)
    const dialled = dialer.sessions()
    const served = tunnel.sessions()
    counters.set('sessionsDialled', dialled.length)
    counters.set('sessionsServed', served.length)
    counters.set('streamsDialled', countStreams(dialled))
    counters.set('streamsServed', countStreams(served))
    counters.set('unreadBytes', held.receivedBytes)
    counters.set('unsentBytes', held.queuedBytes)
    counters.set('budgetSpent', retries.exhausted)
    counters.set('loopLagMs', lag.lagMs)
    for (const { current } of outbound.all()) if (current !== null) streams.look(current)
    for (const { current } of inbound.all()) if (current !== null) streams.look(current)
    counters.tick(clock.now())
  }

  /** No new connections; what is open ends with its exchange. */
  private close(): void {
    const { state, ports, tunnel } = this.parts
    if (state.isClosed) return
    state.isClosed = true
    state.isDraining = true
    ports.close()
    tunnel.drain()
    for (const connection of [...this.outbound.all()]) connection.closeIdle()
    for (const connection of [...this.inbound.all()]) connection.closeIdle()
    this.waitForLast()
  }

  private waitForLast(): void {
    if (this.hasEnded) return
    if (this.outbound.open + this.inbound.open === 0) {
      this.parts.dialer.drain()
      this.parts.accessLog?.flush()
      this.post({ type: 'drained' })
    } else this.parts.clock.setTimeout(() => this.waitForLast(), lastLookMs)
  }

  /** Whatever is open is reset. */
  private end(): void {
    const { state, ports, admission, desk, mirror, dialer, tunnel, deadlines, lag, fuses, accessLog, clock } =
      this.parts
    state.isClosed = true
    this.hasEnded = true
    ports.close()
    admission.close()
    desk.close()
    for (const connection of [...this.outbound.all()]) connection.abort()
    for (const connection of [...this.inbound.all()]) connection.abort()
    mirror.close()
    dialer.close()
    tunnel.close()
    deadlines.stop()
    lag.stop()
    fuses.close()
    if (this.sampler !== null) clock.clearTimeout(this.sampler)
    accessLog?.flush()
    this.post({ type: 'drained' })
  }
}

function countInFlight(connections: Iterable<Connection>): number {
  let count = 0
  for (const { current } of connections) if (current !== null) count++
  return count
}

function countStreams(sessions: readonly { streams: number }[]): number {
  return sessions.reduce((sum, { streams }) => sum + streams, 0)
}

/** An exchange in flight, for /debug/exchanges. */
function show(exchange: Exchange, clock: Clock): object {
  const { direction, caller, request, port, backend, endpoint, attempts, startedAt } = exchange
  return {
    direction,
    caller: caller.workload?.pod ?? caller.address,
    request: request === null ? null : `${request.method} ${request.host}${request.path}`,
    service: port === null ? null : `${port.service.key}:${port.number}`,
    backend: backend?.key ?? null,
    endpoint: endpoint?.key ?? null,
    attempts,
    ageMs: Math.round(clock.now() - startedAt),
  }
}
