// Fourth step of the inbound path: each stream is joined to one connection to its pod, and lives as long as that. HTTP is
// parsed again here, by the same engine, and every request is permitted on its own.

import type { Clock } from '../clock.ts'
import type { AgentConfig } from '../config.ts'
import type { MeshError } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { Deadlines } from '../http1/deadline.ts'
import { Upstream } from '../http1/upstream.ts'
import type { Wire } from '../http1/wire.ts'
import { requestText, responseText } from '../http1/write.ts'
import { clientCertLine } from '../identity/header.ts'
import { localBackend } from '../mesh/local.ts'
import type { Snapshot } from '../mesh/snapshot.ts'
import { type Recorder, settle } from '../outbound/settle.ts'
import type { Connection, HttpPath } from '../path.ts'
import type { WirePath } from '../reach.ts'
import { Relay } from '../relay.ts'
import { Stream } from '../stream.ts'
import { Upgrade } from '../upgrade/upgrade.ts'
import type { Inbound } from './accept.ts'
import { sourceAccount } from './caller.ts'
import { denied, permit } from './permit.ts'

export interface InboundParts {
  readonly config: AgentConfig
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly snapshot: () => Snapshot
  readonly isDraining: () => boolean
  readonly recorders: readonly Recorder[]
}

/** The one connection to the pod that a stream stands for. */
class PodHop {
  isLost = false
  private readonly upstream: Upstream
  private readonly onLost: () => void

  constructor(wire: Wire, config: AgentConfig, onLost: () => void) {
    this.onLost = onLost
    this.upstream = new Upstream(wire, config.limits, {
      onUseless: () => this.lose(),
      onClosed: () => {},
    })
  }

  acquire(done: (error: MeshError | null, upstream: Upstream | null) => void): void {
    if (this.isLost) this.onLost()
    else done(null, this.upstream)
  }

  release(): void {
    if (this.upstream.isReusable) this.upstream.rest()
    else this.lose()
  }

  /** The bare wire, for a connection that leaves HTTP. */
  take(): Wire {
    this.isLost = true
    return this.upstream.wire
  }

  close(): void {
    this.isLost = true
    this.upstream.close()
  }

  private lose(): void {
    if (this.isLost) return
    this.isLost = true
    this.upstream.close()
    this.onLost()
  }
}

/**
 * Joins a stream to its pod.
 * @param down the stream, from the other agent
 * @param up the connection to the pod
 * @param onClosed called once, when the stream is closed
 */
export function attendInbound(
  parts: InboundParts,
  inbound: Inbound,
  down: Wire,
  up: Wire,
  onClosed: () => void,
): Connection {
  const { config, clock, snapshot } = parts
  const { caller, endpoint, isHttp } = inbound
  const source = sourceAccount(caller)
  let relay: Relay | null = null
  // When the pod closes its side, the stream has no further use; a request that is just coming meets a reset, as it
  // would on the pod's own connection.
  const hop = new PodHop(up, config, () => {
    relay?.closeIdle()
    if (relay !== null && !relay.isClosing) relay.abort()
  })

  function permitted(exchange: Exchange): MeshError | null {
    const { account, port } = endpoint.spec
    const verdict = permit(snapshot(), source, account, port, exchange.request)
    exchange.verdict = verdict
    return verdict.isAllowed ? null : denied(verdict, source, account)
  }

  const identities = clientCertLine(snapshot().mesh.trustDomain, source, endpoint.spec.account)

  const path: HttpPath & WirePath = {
    direction: 'inbound',
    clock,
    deadlines: parts.deadlines,
    limits: config.limits,
    timeouts: config.timeouts,
    snapshot,
    isDraining: parts.isDraining,
    isStale: () => false,
    permitted,
    route: (exchange, _meshPort, done) => {
      exchange.endpoint = endpoint
      const local = localBackend(exchange.snapshot, endpoint.key)
      exchange.port = local?.port ?? null
      exchange.backend = local?.backend ?? null
      done(permitted(exchange))
      return nothing
    },
    endpoint: () => null,
    // Breakers are the caller's side's affair: here it would only hide the pod's state from it.
    fuse: { begin: () => 0, succeed: nothing, fail: nothing, abandon: nothing },
    unanswered: nothing,
    hop: {
      acquire: (_exchange, _isFresh, done) => {
        hop.acquire(done)
        return nothing
      },
      release: () => hop.release(),
    },
    // The caller's agent has counted from the start.
    requestMs: ({ request }) => request!.deadlineMs || Number.POSITIVE_INFINITY,
    requestText: (exchange) => {
      const { upgrade } = exchange.request!
      const switching = upgrade === '' ? '' : `connection: upgrade\r\nupgrade: ${upgrade}\r\n`
      return requestText(exchange.request!, {
        address: '',
        defaultAuthority: endpoint.key,
        isPassedOn: true,
        lines: switching,
      })
    },
    hopText: () => identities,
    responseText: (exchange, head, isLast) => responseText(head, exchange.request!, isLast),
    onRequestBody: null,
    observe: () => true,
    isRepeatable: () => false,
    retry: () => -1,
    upgrade: (exchange, wire, head, done) => new Upgrade(path, exchange, wire, head, done),
    opening: () => null,
    connect: (_exchange, done) => {
      done(null, isHttp ? hop.take() : up)
      return nothing
    },
    settle: (exchange, now) => settle(exchange, now, parts.recorders),
  }

  if (!isHttp) return new Stream(path, down, caller, 0, onClosed)
  relay = new Relay(path, down, caller, 0, () => {
    hop.close()
    onClosed()
  })
  return relay
}

function nothing(): void {}
