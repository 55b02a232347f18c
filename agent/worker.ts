// A data thread's contents page: the two paths, put together step by step in their order. All proxying happens on data
// threads, and nothing else does; thread.ts has what is not a step: messages, sampling, the way out.

import type { LookupFunction } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { type Clock, systemClock } from './clock.ts'
import { MeshError } from './errors.ts'
import { Deadlines } from './http1/deadline.ts'
import { makeCredentials } from './identity/credentials.ts'
import { InboundAcceptor, protocolHeader } from './inbound/accept.ts'
import { isOpen } from './inbound/permit.ts'
import { attendInbound } from './inbound/relay.ts'
import { settleRefused } from './inbound/settle.ts'
import { Admission } from './limits/admission.ts'
import { LagGate } from './limits/lag.ts'
import { Retries } from './limits/retry.ts'
import { SharedLimits } from './limits/shared.ts'
import { lookupOutside } from './lookup.ts'
import { compileAll } from './mesh/compile.ts'
import type { Endpoint } from './mesh/endpoint.ts'
import { Holder } from './mesh/holder.ts'
import type { Post, ThreadStart, ToThread } from './mesh/thread.ts'
import { Mirror } from './mirror/mirror.ts'
import { AccessRecorder } from './observe/accesslog.ts'
import { Counters } from './observe/counters.ts'
import { Denials } from './observe/denials.ts'
import { Foreign } from './observe/foreign.ts'
import { threadLog } from './observe/log.ts'
import { NoticePoster } from './observe/notices.ts'
import { CountingRecorder } from './observe/record.ts'
import { ServedRecorder } from './observe/served.ts'
import { Sparing } from './observe/sparing.ts'
import { StreamRecorder } from './observe/streams.ts'
import { Acceptor } from './outbound/accept.ts'
import { CallerDesk } from './outbound/caller.ts'
import { Chooser } from './outbound/endpoint.ts'
import { Fuses } from './outbound/fuse.ts'
import { type Dial, dialDirect, Hop } from './outbound/hop.ts'
import { identityLine, outboundPath } from './outbound/relay.ts'
import type { Recorder } from './outbound/settle.ts'
import { Ports } from './ports.ts'
import { Relay } from './relay.ts'
import { Stream } from './stream.ts'
import { DataThread } from './thread.ts'
import { makeDialer } from './tunnel/dial.ts'
import { serveTunnel } from './tunnel/serve.ts'
import { threadHeaders } from './tunnel/spread.ts'

/** What tests may turn. */
export interface Surroundings {
  clock: Clock
  /** Numbers in [0, 1). */
  random: () => number
  /** How names of hosts outside are looked up. */
  lookup?: LookupFunction
  /** Told of each exchange beside counters and access log. */
  recorders?: readonly Recorder[]
}

/** Puts a data thread together. */
export function startThread(start: ThreadStart, post: Post, surroundings: Surroundings): DataThread {
  const { config, thread, threads } = start
  const { clock, random } = surroundings
  const state = { isDraining: false, isClosed: false }
  const holder = new Holder({ node: config.node, compile: compileAll, now: () => clock.now() }, post)
  const snapshot = () => holder.snapshot
  const isDraining = () => state.isDraining
  const deadlines = new Deadlines(clock)
  const counters = new Counters(post, config.limits.series)
  const log = threadLog(post, config.logLevel)
  const sparing = new Sparing(log, clock)
  const denials = new Denials(counters, sparing)
  const accessLog = config.accessLog ? new AccessRecorder(post, clock) : null
  const streams = new StreamRecorder(counters)
  const foreign = new Foreign({ snapshot, counters, log: sparing, notices: new NoticePoster(post, clock) })
  const counting = new CountingRecorder(counters)
  const recorders: Recorder[] = [counting, streams, denials, ...(surroundings.recorders ?? [])]
  if (accessLog !== null) recorders.push(accessLog)

  // --- identity, and the tunnel's client side
  const credentials = makeCredentials(clock, (account) => post({ type: 'need', account }))
  /** The agents' own account: what callers without identity travel under. */
  const agentAccount = () => snapshot().workloads.get(config.address)?.account ?? ''
  const isPeer = ({ address }: { address: string }) =>
    [...snapshot().peers.values()].some((peer) => peer.address === address)
  const dialer = makeDialer({ credentials, clock, random, connectMs: config.timeouts.connectMs, isPeer })
  const dial: Dial = (endpoint, source, protocol, _timeoutMs, done) => {
    const peer = snapshot().peers.get(endpoint.spec.node)
    if (peer === undefined) {
      done(new MeshError('no_peer', endpoint.spec.node), null)
      return () => {}
    }
    const target = {
      source: source === '' ? agentAccount() : source,
      destination: endpoint.spec.account,
      address: peer.address,
      port: peer.port,
      authority: endpoint.key,
      headers: [[protocolHeader, protocol]] as [string, string][],
    }
    return dialer.open(target, done)
  }
  /** Without a controller that speaks TLS there are no identities, and so no tunnels: for tries on one machine. */
  const isDirect = config.controller.startsWith('http:')
  const isPlain = ({ backend, spec }: Endpoint) => {
    const own = snapshot()
    if (isDirect || spec.node === '') return true
    if (own.peers.has(spec.node)) return false
    const service = own.services.get(backend.slice(0, backend.lastIndexOf(':')))
    return service?.policy.plaintext === true && isOpen(own, spec.account)
  }

  const served = config.metricsAs.length > 0 ? new ServedRecorder(counters, isPlain) : null
  if (served !== null) recorders.push(served)

  // --- the outbound path: accept, caller, destination, divide, endpoint, fuse, hop, relay, settle
  const limits = new SharedLimits(start.limits, thread, threads)
  const lag = new LagGate(clock, random)
  const admission = new Admission({ clock, shared: limits, ...config.limits })
  const retries = new Retries(config.retry, threads, random)
  const desk = new CallerDesk(snapshot(), {
    clock,
    own: config.addresses,
    waitMs: config.limits.callerWaitMs,
    maxWaiters: config.limits.callerWaiters,
  })
  const fuses = new Fuses(clock, random, config.breaker, ({ backend }, _from, to) => counters.breakerMoved(backend, to))
  const { lost } = dialer
  const chooser = new Chooser({ fuses, random, isDirect, lost, maxEjected: config.breaker.maxEjected })
  const hop = new Hop({
    clock,
    deadlines,
    limits: config.limits,
    connectMs: config.timeouts.connectMs,
    poolIdleMs: config.timeouts.poolIdleMs,
    poolMost: config.limits.poolPerEndpoint,
    isPlain,
    dial,
    lookup: surroundings.lookup ?? lookupOutside(config.addresses),
  })
  const mirror = new Mirror({
    snapshot,
    random,
    choose: (backend, { request }) => chooser.choose(snapshot(), backend, request, null, clock.now()),
    hopText: identityLine,
    sourceOf: (endpoint, account) => hop.sourceOf(endpoint, account),
    dial: (endpoint, source, done) => hop.dial(endpoint, source, 'http', config.timeouts.connectMs, done),
    headMs: config.timeouts.firstByteMs,
    count: ({ service, number }, target, outcome) => counters.mirrored(service.key, number, target, outcome),
  })
  const path = outboundPath({
    config,
    clock,
    deadlines,
    random,
    snapshot,
    isDraining,
    lag,
    limits,
    admission,
    chooser,
    fuses,
    hop,
    retries,
    mirror,
    recorders,
    onForeign: (kind, caller, meshPort) => foreign.tell(kind, caller, meshPort),
    onRetry: (exchange, reason) => {
      counting.retried(exchange, reason)
      served?.retried(exchange, reason, clock.now())
    },
  })
  const outbound: DataThread['outbound'] = new Acceptor({
    desk,
    most: config.limits.connections,
    snapshot,
    http: (wire, caller, meshPort, onClosed) => new Relay(path, wire, caller, meshPort, onClosed),
    opaque: (wire, caller, meshPort, onClosed) => new Stream(path, wire, caller, meshPort, onClosed),
  })

  // --- the inbound path: accept, caller, permit, relay, settle
  const inbound: DataThread['inbound'] = new InboundAcceptor({
    snapshot,
    isDraining: () => state.isClosed,
    most: config.limits.connections,
    agentAccount,
    own: config.address,
    now: () => clock.now(),
    connect: (endpoint, done) => dialDirect(deadlines, endpoint, config.timeouts.connectMs, done),
    attend: (entry, down, up, onClosed) =>
      attendInbound({ config, clock, deadlines, snapshot, isDraining, recorders }, entry, down, up, onClosed),
    onRefused: (error, ask, source, verdict) =>
      settleRefused({ denials, log: sparing }, snapshot(), error, ask, source, verdict),
  })
  const tunnel = serveTunnel({
    credentials,
    clock,
    connectionLimit: config.limits.connections,
    answerHeaders: threadHeaders(thread, threads),
    onAsk: (ask) => inbound.accept(ask),
    onRefused: (why, remoteAddress) =>
      sparing.warn(`tunnel ${remoteAddress}`, { peer: remoteAddress, why }, 'tunnel refused'),
  })

  const ports = new Ports({
    addresses: config.addresses,
    entryPort: config.ports.entry,
    isShared: threads > 1,
    onWire: (wire, meshPort) => outbound.accept(wire, meshPort),
    onChanged: (meshPort) => outbound.abortPort(meshPort),
    tunnel: isDirect ? null : { port: config.ports.hbone, server: tunnel.server },
    onSettled: (version, open, failed) => post({ type: 'listening', version, open, failed }),
  })
  return new DataThread({
    clock,
    post,
    state,
    holder,
    deadlines,
    counters,
    streams,
    log,
    accessLog,
    credentials,
    dialer,
    lag,
    admission,
    retries,
    desk,
    fuses,
    hop,
    mirror,
    outbound,
    inbound,
    tunnel,
    ports,
  })
}

if (parentPort !== null && workerData !== null && 'config' in workerData) {
  const port = parentPort
  const post: Post = (message) => port.postMessage(message)
  const thread = startThread(workerData as ThreadStart, post, { clock: systemClock, random: Math.random })
  port.on('message', (message: ToThread) => thread.handle(message))
}
