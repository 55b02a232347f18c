// Eighth step of the outbound path: the relay (agent/relay.ts) carries the messages; here stands what it asks on the
// outbound path, the steps in their order.

import { cool } from '../balance/cool.ts'
import { observe, observeFailure } from '../balance/load.ts'
import type { Clock, Timer } from '../clock.ts'
import type { AgentConfig } from '../config.ts'
import { editRequest, editResponse, redirect } from '../edit/apply.ts'
import { faultAbort, faultDelayMs } from '../edit/fault.ts'
import { MeshError } from '../errors.ts'
import { type Caller, type Exchange, isSlow } from '../exchange.ts'
import type { Deadlines } from '../http1/deadline.ts'
import { requestText, responseText } from '../http1/write.ts'
import { clientCertLine } from '../identity/header.ts'
import { sourceAccount } from '../inbound/caller.ts'
import { denied, permit } from '../inbound/permit.ts'
import { type Admission, callerKey } from '../limits/admission.ts'
import type { LagGate } from '../limits/lag.ts'
import { limitRate } from '../limits/rate.ts'
import type { Retries } from '../limits/retry.ts'
import type { SharedLimits } from '../limits/shared.ts'
import type { Endpoint } from '../mesh/endpoint.ts'
import type { Snapshot } from '../mesh/snapshot.ts'
import type { Mirror } from '../mirror/mirror.ts'
import type { AttemptFailure, HttpPath, Verdict } from '../path.ts'
import type { WirePath } from '../reach.ts'
import { Stream } from '../stream.ts'
import { Upgrade, type UpgradePath } from '../upgrade/upgrade.ts'
import { callerNamespace, hasMoved } from './caller.ts'
import { destination } from './destination.ts'
import { divide } from './divide.ts'
import type { Chooser } from './endpoint.ts'
import type { Fuse, Fuses } from './fuse.ts'
import type { Hop } from './hop.ts'
import { type Recorder, settle } from './settle.ts'

export interface OutboundParts {
  readonly config: AgentConfig
  readonly clock: Clock
  readonly deadlines: Deadlines
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly snapshot: () => Snapshot
  readonly isDraining: () => boolean
  readonly lag: LagGate
  readonly limits: SharedLimits
  readonly admission: Admission
  readonly chooser: Chooser
  readonly fuses: Fuses
  readonly hop: Hop
  readonly retries: Retries
  readonly mirror: Mirror
  readonly recorders: readonly Recorder[]
  /** A caller speaks what can't be carried on its port. @param meshPort 0: the entry port */
  readonly onForeign: (kind: 'h2' | 'tls', caller: Caller, meshPort: number) => void
  /** Told of each further attempt. */
  readonly onRetry: (exchange: Exchange, reason: string) => void
}

/** Puts the outbound path together. */
export function outboundPath(parts: OutboundParts): HttpPath & WirePath {
  const { config, clock, random, snapshot, admission, chooser, hop, mirror } = parts
  const fuseOf = (exchange: Exchange): Fuse => parts.fuses.of(exchange.endpoint!, exchange.backend!.policy)

  /** destination, a redirect if the service has one, then divide. */
  function choose(exchange: Exchange, meshPort: number): Verdict {
    const { request, snapshot: own, caller } = exchange
    const port = destination(own, meshPort, request?.host ?? '', request?.hostPort ?? 0, callerNamespace(caller))
    if (port instanceof MeshError) return port
    exchange.port = port
    const answer = request === null ? null : redirect(port.service.policy, request)
    if (answer !== null) return answer
    const backend = divide(port, request, random())
    if (backend instanceof MeshError) return backend
    exchange.backend = backend
    return null
  }

  function limit(exchange: Exchange): MeshError | null {
    const { key, policy } = exchange.port!.service
    if (policy.limits === undefined) return null
    return limitRate(parts.limits, policy.limits, key, callerKey(exchange.caller), clock.wall())
  }

  /** Takes a place in flight for the caller, or waits for one. */
  function admit(exchange: Exchange, done: (verdict: Verdict) => void): () => void {
    const { key, policy } = exchange.port!.service
    const caller = callerKey(exchange.caller)
    exchange.admitted = admission.enter(caller, key, policy.limits)
    if (exchange.admitted >= 0) return onAdmitted(exchange, done)
    let cancel = admission.wait(caller, key, policy.limits, (error, admitted) => {
      exchange.admitted = admitted
      if (error === null) cancel = onAdmitted(exchange, done)
      else done(error)
    })
    return () => cancel()
  }

  function onAdmitted(exchange: Exchange, done: (verdict: Verdict) => void): () => void {
    const { key, policy } = exchange.port!.service
    parts.retries.count(key, exchange.startedAt)
    if (policy.fault !== undefined) return disturb(exchange, done)
    prepare(exchange, done)
    return nothing
  }

  /** The faults of the service's policy. A delayed request keeps its place in flight, as at a slow service. */
  function disturb(exchange: Exchange, done: (verdict: Verdict) => void): () => void {
    const { request, port } = exchange
    const { policy } = port!.service
    const delayMs = request === null ? 0 : faultDelayMs(policy, request, random())
    const abort = request === null ? null : faultAbort(policy, request, random())
    const goOn = () => (abort === null ? prepare(exchange, done) : done(abort))
    if (delayMs === 0) {
      goOn()
      return nothing
    }
    const timer: Timer = clock.setTimeout(goOn, delayMs)
    return () => clock.clearTimeout(timer)
  }

  /** Last of all the request becomes what the endpoint is to see: what was decided before went by what the caller sent. */
  function prepare({ request, port }: Exchange, done: (verdict: Verdict) => void): void {
    if (request !== null) editRequest(port!.service.policy, request)
    done(null)
  }

  /** What stays on this node, or travels in plain text, is permitted here; all else by the endpoint's own agent. */
  function permitted(exchange: Exchange): MeshError | null {
    const { isLocal, spec } = exchange.endpoint!
    if (!isLocal && !hop.isPlain(exchange.endpoint!)) return null
    const source = sourceAccount(exchange.caller)
    const verdict = permit(snapshot(), source, spec.account, spec.port, exchange.request)
    exchange.verdict = verdict
    return verdict.isAllowed ? null : denied(verdict, source, spec.account)
  }

  function retry(exchange: Exchange, { error, status, isSent }: AttemptFailure): number {
    const { port, request, attempts } = exchange
    const { key, policy } = port!.service
    if (error === null && !parts.retries.isRetriableStatus(policy, status)) return -1
    const reason = error === null ? null : error.reason
    const failure = { reason, status, isSent }
    const delayMs = parts.retries.decide(policy, key, request?.method ?? '', attempts, failure, clock.now())
    if (delayMs >= 0) parts.onRetry(exchange, reason ?? String(status))
    return delayMs
  }

  const isTunnelled = ({ endpoint }: Exchange) => !endpoint!.isLocal && !hop.isPlain(endpoint!)

  /** What is left of the time of the whole request, for the endpoint's agent. */
  function deadlineLine(exchange: Exchange): string {
    const leftMs = exchange.limitAt - parts.deadlines.now
    return leftMs < Number.POSITIVE_INFINITY && isTunnelled(exchange)
      ? `weft-deadline: ${Math.max(1, Math.ceil(leftMs))}\r\n`
      : ''
  }

  const path: HttpPath & WirePath & UpgradePath = {
    direction: 'outbound',
    clock,
    deadlines: parts.deadlines,
    limits: config.limits,
    timeouts: config.timeouts,
    snapshot,
    isDraining: parts.isDraining,
    isStale: (caller) => hasMoved(caller, snapshot()),
    route: (exchange, meshPort, done) => {
      const verdict = parts.lag.check() ?? choose(exchange, meshPort) ?? limit(exchange)
      if (verdict === null) return admit(exchange, done)
      done(verdict)
      return nothing
    },
    permitted,
    endpoint: (exchange, tried) => {
      const { snapshot: own, backend, request, attempts, startedAt } = exchange
      // A clock that stands since the request came is good enough for the first choice, and spares a reading.
      const now = attempts === 0 ? startedAt : clock.now()
      const endpoint = chooser.choose(own, backend!, request, tried, now)
      if (endpoint instanceof MeshError) return endpoint
      exchange.endpoint = endpoint
      return permitted(exchange)
    },
    fuse: {
      begin: (exchange) => fuseOf(exchange).begin(),
      succeed: (exchange, token) => fuseOf(exchange).succeed(token),
      fail: (exchange, token) => fuseOf(exchange).fail(token),
      abandon: (exchange, token) => fuseOf(exchange).abandon(token),
    },
    unanswered: ({ endpoint, attemptAt }) => {
      const now = clock.now()
      observeFailure(endpoint!, now - attemptAt, now)
    },
    hop,
    requestMs: ({ port }) => port!.service.policy.timeouts?.requestMs ?? Number.POSITIVE_INFINITY,
    requestText: (exchange) => {
      const { name, namespace } = exchange.port!.service
      const { upgrade } = exchange.request!
      const text = requestText(exchange.request!, {
        address: exchange.caller.address,
        defaultAuthority: `${name}.${namespace}`,
        lines: upgrade === '' ? '' : `connection: upgrade\r\nupgrade: ${upgrade}\r\n`,
      })
      mirror.begin(exchange, text)
      return text
    },
    hopText: (exchange) => identityLine(exchange, exchange.endpoint!) + deadlineLine(exchange),
    responseText: (exchange, head, isLast) => {
      editResponse(exchange.port!.service.policy, head)
      return responseText(head, exchange.request!, isLast)
    },
    onRequestBody: (exchange, chunk, start, end) => mirror.onBody(exchange, chunk, start, end),
    observe: (exchange, head, now) => {
      const rttMs = now - exchange.attemptAt
      observe(exchange.endpoint!, rttMs, now)
      if (head.retryAfter !== null) cool(exchange.endpoint!, head.status, head.retryAfter, now, clock.wall())
      return head.status < 500 && !isSlow(exchange, now)
    },
    isRepeatable: ({ port, request }) => parts.retries.isRepeatable(port!.service.policy, request!.method),
    retry,
    upgrade: (exchange, wire, head, done) => new Upgrade(path, exchange, wire, head, done),
    opening: (kind, wire, caller, meshPort, onClosed) => {
      // Only where the port alone says which service is meant can HTTP/2 be carried without reading it.
      const isDedicated = snapshot().ports.get(meshPort)?.service != null
      if (kind === 'h2' && isDedicated) return new Stream(path, wire, caller, meshPort, onClosed)
      parts.onForeign(kind, caller, meshPort)
      return null
    },
    connect: (exchange, done) => hop.connect(exchange, done),
    isTunnelled,
    settle: (exchange, now) => {
      mirror.forget(exchange)
      if (exchange.admitted >= 0) admission.leave(exchange.admitted)
      exchange.admitted = -1
      settle(exchange, now, parts.recorders)
    },
  }
  return path
}

/** Who calls, for a pod of this node; on another node its agent says so, from the certificate. */
export function identityLine({ caller, snapshot: { mesh } }: Exchange, endpoint: Endpoint): string {
  return endpoint.isLocal ? clientCertLine(mesh.trustDomain, sourceAccount(caller), endpoint.spec.account) : ''
}

function nothing(): void {}
