// A data thread: the snapshot comes in, ports open, and requests go the two paths, whose steps are put together here in
// their order. All proxying happens on data threads, and nothing else does.

import { parentPort, workerData } from 'node:worker_threads'
import { type Clock, systemClock } from './clock.ts'
import { Deadlines } from './http1/deadline.ts'
import { compile } from './mesh/compile.ts'
import { Holder } from './mesh/holder.ts'
import type { Post, ThreadStart, ToThread } from './mesh/thread.ts'
import { Acceptor } from './outbound/accept.ts'
import { CallerDesk } from './outbound/caller.ts'
import { Chooser } from './outbound/endpoint.ts'
import { Fuses } from './outbound/fuse.ts'
import { dialDirect, Hop } from './outbound/hop.ts'
import { outboundPath } from './outbound/relay.ts'
import type { Recorder } from './outbound/settle.ts'
import { Ports } from './ports.ts'
import { Relay } from './relay.ts'
import { Stream } from './stream.ts'

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
    const path = outboundPath({
      config,
      clock,
      deadlines,
      random,
      snapshot,
      isDraining: () => this.isDraining,
      chooser,
      fuses,
      hop,
      recorders,
    })
    this.outbound = new Acceptor({
      desk,
      most: config.limits.connections,
      snapshot,
      http: (wire, caller, meshPort, onClosed) => new Relay(path, wire, caller, meshPort, onClosed),
      opaque: (wire, caller, meshPort, onClosed) => new Stream(path, wire, caller, meshPort, onClosed),
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

if (parentPort !== null && workerData !== null && 'config' in workerData) {
  const port = parentPort
  const thread = new DataThread(workerData as ThreadStart, (message) => port.postMessage(message), {
    clock: systemClock,
    random: Math.random,
    recorders: [],
  })
  port.on('message', (message: ToThread) => thread.handle(message))
}
