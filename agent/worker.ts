// A data thread: the snapshot comes in, ports open, and requests go the two paths, whose steps are put together here in
// their order. All proxying happens on data threads, and nothing else does.

import { parentPort, workerData } from 'node:worker_threads'
import { observe } from './balance/load.ts'
import { type Clock, systemClock } from './clock.ts'
import type { MeshError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { Deadlines } from './http1/deadline.ts'
import { compile } from './mesh/compile.ts'
import { Holder } from './mesh/holder.ts'
import type { Post, ThreadStart, ToThread } from './mesh/thread.ts'
import { Acceptor } from './outbound/accept.ts'
import { CallerDesk, callerNamespace, hasMoved } from './outbound/caller.ts'
import { destination } from './outbound/destination.ts'
import { divide } from './outbound/divide.ts'
import { Chooser } from './outbound/endpoint.ts'
import { Fuses } from './outbound/fuse.ts'
import { dialDirect, Hop } from './outbound/hop.ts'
import { Relay } from './outbound/relay.ts'
import { type Recorder, settle } from './outbound/settle.ts'
import type { AttemptFailure, OutboundPath } from './path.ts'
import { Ports } from './ports.ts'

/** What tests may turn. */
export interface Surroundings {
  clock: Clock
  /** Numbers in [0, 1). */
  random: () => number
  recorders: readonly Recorder[]
}

export class DataThread {
  readonly outbound: Acceptor
  readonly hop: Hop
  readonly fuses: Fuses
  readonly deadlines: Deadlines
  private readonly holder: Holder
  private readonly ports: Ports
  private readonly post: Post
  private isDraining = false
  private isClosed = false

  constructor({ config, threads }: ThreadStart, post: Post, surroundings: Surroundings) {
    const { clock, random, recorders } = surroundings
    this.post = post
    this.holder = new Holder({ node: config.node, compile, now: () => clock.now() })
    const snapshot = () => this.holder.snapshot
    const deadlines = new Deadlines(clock)
    this.deadlines = deadlines

    // --- the outbound path
    const desk = new CallerDesk(snapshot(), {
      clock,
      own: [config.address],
      waitMs: config.limits.callerWaitMs,
      maxWaiters: config.limits.callerWaiters,
    })
    const fuses = new Fuses(clock, random)
    const chooser = new Chooser({ fuses, random, isDirect: true })
    const hop = new Hop({
      clock,
      deadlines,
      limits: config.limits,
      connectMs: config.timeouts.connectMs,
      poolIdleMs: config.timeouts.poolIdleMs,
      poolMost: config.limits.poolPerEndpoint,
      dial: (endpoint, _source, timeoutMs, done) => dialDirect(deadlines, endpoint, timeoutMs, done),
    })
    const path: OutboundPath = {
      clock,
      deadlines,
      limits: config.limits,
      timeouts: config.timeouts,
      snapshot,
      isDraining: () => this.isDraining,
      hasMoved: (caller) => hasMoved(caller, snapshot()),
      destination: (exchange, meshPort) => {
        const { host, hostPort } = exchange.request!
        const namespace = callerNamespace(exchange.caller)
        const port = destination(exchange.snapshot, meshPort, host, hostPort, namespace)
        if ('status' in port) return port
        exchange.port = port
        return null
      },
      divide: (exchange) => {
        const backend = divide(exchange.port!, exchange.request, random())
        if ('status' in backend) return backend
        exchange.backend = backend
        return null
      },
      endpoint: (exchange, tried) => {
        const { snapshot: own, backend, request } = exchange
        const endpoint = chooser.choose(own, backend!, request, tried, clock.now())
        if ('status' in endpoint) return endpoint
        exchange.endpoint = endpoint
        return null
      },
      fuse: {
        begin: (exchange) => fuses.of(exchange.endpoint!, exchange.backend!.policy).begin(),
        succeed: (exchange, token) => fuses.of(exchange.endpoint!, exchange.backend!.policy).succeed(token),
        fail: (exchange, token) => fuses.of(exchange.endpoint!, exchange.backend!.policy).fail(token),
        abandon: (exchange, token) => fuses.of(exchange.endpoint!, exchange.backend!.policy).abandon(token),
      },
      hop,
      observe: (exchange, _head, now) => observe(exchange.endpoint!, now - exchange.attemptAt, now),
      isRepeatable: () => true,
      retry: (exchange, failure) => retryOnce(exchange, failure),
      settle: (exchange, now) => settle(exchange, now, recorders),
    }
    this.outbound = new Acceptor({
      desk,
      most: config.limits.connections,
      snapshot,
      http: (wire, caller, meshPort, onClosed) => new Relay(path, wire, caller, meshPort, onClosed),
      opaque: (wire, caller, meshPort, onClosed) => new Relay(path, wire, caller, meshPort, onClosed),
    })
    this.hop = hop
    this.fuses = fuses

    this.ports = new Ports({
      address: config.address,
      entryPort: config.ports.entry,
      isShared: threads > 1,
      onWire: (wire, meshPort) => this.outbound.accept(wire, meshPort),
      onChanged: (meshPort) => this.outbound.abortPort(meshPort),
      onSettled: (version, open, failed) => post({ type: 'listening', version, open, failed }),
    })
    this.holder.onChange((next) => {
      desk.update(next)
      this.ports.update(next)
    })
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
      case 'beat':
        this.post({
          type: 'heartbeat',
          number: message.number,
          accepted: this.outbound.accepted,
          open: this.outbound.open,
        })
        break
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

  private answer(what: 'fuses' | 'exchanges' | 'pools'): unknown {
    switch (what) {
      case 'fuses':
        return this.fuses.report()
      case 'pools':
        return this.hop.counts
      default:
        return [...this.outbound.all()].length
    }
  }

  private close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.ports.close()
    for (const connection of this.outbound.all()) connection.closeIdle()
    this.waitForLast()
  }

  private waitForLast(): void {
    if (this.outbound.open === 0) this.post({ type: 'drained' })
    else setTimeout(() => this.waitForLast(), 50)
  }

  private end(): void {
    this.ports.close()
    for (const connection of this.outbound.all()) connection.abort()
    this.deadlines.stop()
    this.fuses.close()
    this.post({ type: 'drained' })
  }
}

function retryOnce(exchange: Exchange, failure: AttemptFailure): number {
  const error: MeshError | null = failure.error
  if (exchange.attempts > 1 || error === null) return -1
  const isSafe = !failure.isSent || ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'].includes(exchange.request!.method)
  return isSafe && error.reason !== 'upstream_timeout' ? 1 : -1
}

if (parentPort !== null && workerData !== null && 'config' in workerData) {
  const port = parentPort
  const thread = new DataThread(workerData as ThreadStart, (message) => port.postMessage(message), {
    clock: systemClock,
    random: Math.random,
    recorders: [],
  })
  port.on('message', (message: ToThread) => thread.handle(message))
}
