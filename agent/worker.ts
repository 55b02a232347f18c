// A data thread: the snapshot comes in, ports open, and requests go the two paths, whose steps are put together here in
// their order. All proxying happens on data threads, and nothing else does.

import { parentPort, workerData } from 'node:worker_threads'
import { type Clock, systemClock, type Timer } from './clock.ts'
import type { Exchange } from './exchange.ts'
import { Deadlines } from './http1/deadline.ts'
import { Admission } from './limits/admission.ts'
import { LagGate } from './limits/lag.ts'
import { Retries } from './limits/retry.ts'
import { SharedLimits } from './limits/shared.ts'
import { compile } from './mesh/compile.ts'
import { Holder } from './mesh/holder.ts'
import type { Post, Question, ThreadStart, ToThread } from './mesh/thread.ts'
import { AccessRecorder } from './observe/accesslog.ts'
import { Counters } from './observe/counters.ts'
import { CountingRecorder } from './observe/record.ts'
import { Acceptor } from './outbound/accept.ts'
import { CallerDesk } from './outbound/caller.ts'
import { Chooser } from './outbound/endpoint.ts'
import { Fuses } from './outbound/fuse.ts'
import { dialDirect, Hop } from './outbound/hop.ts'
import { outboundPath } from './outbound/relay.ts'
import type { Recorder } from './outbound/settle.ts'
import type { Connection } from './path.ts'
import { Ports } from './ports.ts'
import { Relay } from './relay.ts'
import { Stream } from './stream.ts'

/** What tests may turn. */
export interface Surroundings {
  clock: Clock
  /** Numbers in [0, 1). */
  random: () => number
  /** Told of each exchange beside counters and access log. */
  recorders?: readonly Recorder[]
}

/** How often what is counted elsewhere is sampled into the counters. */
const sampleMs = 1_000
const lastLookMs = 20

export class DataThread {
  readonly outbound: Acceptor<Connection & { readonly current: Exchange | null }>
  readonly hop: Hop
  readonly fuses: Fuses
  readonly deadlines: Deadlines
  readonly counters: Counters
  private readonly holder: Holder
  private readonly ports: Ports
  private readonly post: Post
  private readonly clock: Clock
  private readonly desk: CallerDesk
  private readonly admission: Admission
  private readonly lag: LagGate
  private readonly retries: Retries
  private readonly accessLog: AccessRecorder | null
  private sampler: Timer | null = null
  private isDraining = false
  private isClosed = false

  constructor({ config, thread, threads, limits: memory }: ThreadStart, post: Post, surroundings: Surroundings) {
    const { clock, random } = surroundings
    this.post = post
    this.clock = clock
    this.holder = new Holder({ node: config.node, compile, now: () => clock.now() })
    const snapshot = () => this.holder.snapshot
    const deadlines = new Deadlines(clock)
    this.deadlines = deadlines

    const counters = new Counters(post, config.limits.series)
    this.counters = counters
    this.accessLog = config.accessLog ? new AccessRecorder(post, clock) : null
    const recorders: Recorder[] = [new CountingRecorder(counters), ...(surroundings.recorders ?? [])]
    if (this.accessLog !== null) recorders.push(this.accessLog)

    const limits = new SharedLimits(memory, thread, threads)
    this.lag = new LagGate(clock, random)
    this.admission = new Admission({ clock, shared: limits, ...config.limits })
    this.retries = new Retries(config.retry, threads, random)

    // --- the outbound path
    this.desk = new CallerDesk(snapshot(), {
      clock,
      own: [config.address],
      waitMs: config.limits.callerWaitMs,
      maxWaiters: config.limits.callerWaiters,
    })
    this.fuses = new Fuses(clock, random, config.breaker, ({ backend }, _from, to) =>
      counters.breakerMoved(backend, to),
    )
    const chooser = new Chooser({ fuses: this.fuses, random, isDirect: true })
    this.hop = new Hop({
      clock,
      deadlines,
      limits: config.limits,
      connectMs: config.timeouts.connectMs,
      poolIdleMs: config.timeouts.poolIdleMs,
      poolMost: config.limits.poolPerEndpoint,
      dial: (endpoint, _source, timeoutMs, done) => dialDirect(deadlines, endpoint, timeoutMs, done),
    })
    const path = outboundPath({
      config,
      clock,
      deadlines,
      random,
      snapshot,
      isDraining: () => this.isDraining,
      lag: this.lag,
      limits,
      admission: this.admission,
      chooser,
      fuses: this.fuses,
      hop: this.hop,
      retries: this.retries,
      recorders,
      onRetry: ({ port }, reason) => counters.retried(port!.service.key, port!.number, reason),
    })
    this.outbound = new Acceptor({
      desk: this.desk,
      most: config.limits.connections,
      snapshot,
      http: (wire, caller, meshPort, onClosed) => new Relay(path, wire, caller, meshPort, onClosed),
      opaque: (wire, caller, meshPort, onClosed) => new Stream(path, wire, caller, meshPort, onClosed),
    })

    this.ports = new Ports({
      address: config.address,
      entryPort: config.ports.entry,
      isShared: threads > 1,
      onWire: (wire, meshPort) => this.outbound.accept(wire, meshPort),
      onChanged: (meshPort) => this.outbound.abortPort(meshPort),
      onSettled: (version, open, failed) => post({ type: 'listening', version, open, failed }),
    })
    this.holder.onChange((next) => {
      this.desk.update(next)
      this.ports.update(next)
      this.retries.keep((service) => next.services.has(service))
      counters.retain(next.services)
    })
    this.lag.start()
    this.sampleLater()
    post({ type: 'started' })
  }

  /** Takes a message of the control thread. */
  handle(message: ToThread): void {
    switch (message.type) {
      case 'prepare':
      case 'commit':
      case 'abort': {
        const answer = this.holder.handle(message)
        if (answer !== null) this.post(answer)
        break
      }
      case 'beat': {
        const { accepted, open } = this.outbound
        this.post({ type: 'heartbeat', number: message.number, accepted, open })
        break
      }
      case 'drain':
        this.isDraining = true
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
        break
    }
  }

  private answer(what: Question): unknown {
    switch (what) {
      case 'fuses':
        return this.fuses.report()
      case 'pools':
        return this.hop.report()
      case 'exchanges':
        return [...this.outbound.all()].flatMap(({ current }) => (current === null ? [] : [show(current, this.clock)]))
    }
  }

  private sampleLater(): void {
    this.sampler = this.clock.setTimeout(() => {
      this.sample()
      this.sampleLater()
    }, sampleMs)
    this.sampler.unref()
  }

  /** Brings what is counted elsewhere into the counters. */
  private sample(): void {
    const { counters, hop, outbound } = this
    counters.set('downstreamOpen', outbound.open)
    counters.set('downstreamOpened', outbound.accepted)
    counters.set('downstreamRefused', outbound.refused)
    counters.set('upstreamOpen', hop.counts.open)
    counters.set('upstreamOpened', hop.counts.opened)
    counters.set('upstreamFailed', hop.counts.failed)
    counters.set('poolIdle', hop.counts.idle)
    counters.set('poolReused', hop.counts.reused)
    counters.set('queued', this.admission.waiting)
    counters.set('callersWaiting', this.desk.waiters)
    counters.set('budgetSpent', this.retries.exhausted)
    counters.set('loopLagMs', this.lag.lagMs)
    counters.tick(this.clock.now())
  }

  /** No new connections; what is open ends with its exchange. */
  private close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.isDraining = true
    this.ports.close()
    for (const connection of this.outbound.all()) connection.closeIdle()
    this.waitForLast()
  }

  private waitForLast(): void {
    if (this.outbound.open === 0) this.post({ type: 'drained' })
    else this.clock.setTimeout(() => this.waitForLast(), lastLookMs)
  }

  /** Whatever is open is reset. */
  private end(): void {
    this.isClosed = true
    this.ports.close()
    this.admission.close()
    this.desk.close()
    for (const connection of this.outbound.all()) connection.abort()
    this.deadlines.stop()
    this.lag.stop()
    this.fuses.close()
    if (this.sampler !== null) this.clock.clearTimeout(this.sampler)
    this.accessLog?.flush()
    this.post({ type: 'drained' })
  }
}

/** An exchange in flight, for /debug/exchanges. */
function show(exchange: Exchange, clock: Clock): object {
  const { caller, request, port, backend, endpoint, attempts, startedAt } = exchange
  return {
    caller: caller.workload?.pod ?? caller.address,
    request: request === null ? null : `${request.method} ${request.host}${request.path}`,
    service: port === null ? null : `${port.service.key}:${port.number}`,
    backend: backend?.key ?? null,
    endpoint: endpoint?.key ?? null,
    attempts,
    ageMs: Math.round(clock.now() - startedAt),
  }
}

if (parentPort !== null && workerData !== null && 'config' in workerData) {
  const port = parentPort
  const post: Post = (message) => port.postMessage(message)
  const thread = new DataThread(workerData as ThreadStart, post, { clock: systemClock, random: Math.random })
  port.on('message', (message: ToThread) => thread.handle(message))
}
