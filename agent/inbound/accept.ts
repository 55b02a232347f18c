// First step of the inbound path: another agent asks for a stream to a pod of this node. It must be a live pod, of the
// account whose certificate was shown; then the pod is connected, and only then is the stream accepted: until that
// answer every failure is one that the other agent may try elsewhere.

import type { Key, WorkloadResource } from '../../controller/contract/resources.ts'
import { joinPort, splitPort } from '../address.ts'
import { MeshError } from '../errors.ts'
import type { Caller } from '../exchange.ts'
import type { Wire } from '../http1/wire.ts'
import { Endpoint } from '../mesh/endpoint.ts'
import { localBackend } from '../mesh/local.ts'
import type { Snapshot } from '../mesh/snapshot.ts'
import type { Connection } from '../path.ts'
import type { TunnelAsk } from '../tunnel/serve.ts'
import { inboundCaller, sourceAccount } from './caller.ts'
import { anyRequest, denied, permit, type Verdict } from './permit.ts'

/** The header of a CONNECT that tells how its bytes are to be read; what it claims can only make the permit stricter. */
export const protocolHeader = 'weft-protocol'

/** A stream that was let in, before its relay. */
export interface Inbound {
  readonly caller: Caller
  readonly endpoint: Endpoint
  readonly isHttp: boolean
}

export interface InboundOptions {
  readonly snapshot: () => Snapshot
  readonly isDraining: () => boolean
  /** Streams at the most. */
  readonly most: number
  /** The agents' own account, under which callers without identity travel. */
  readonly agentAccount: () => Key
  /** The agent's own address: nothing of it is reached through a tunnel, though it is a pod of this node. */
  readonly own: string
  readonly now: () => number
  /** Connects to a pod of this node. */
  readonly connect: (endpoint: Endpoint, done: (error: MeshError | null, wire: Wire | null) => void) => () => void
  /** Makes the stream's relay, which resumes the wire when it can take bytes. */
  readonly attend: (inbound: Inbound, down: Wire, up: Wire, onClosed: () => void) => Connection
  /** A stream was refused: counted and logged. */
  readonly onRefused: (error: MeshError, ask: TunnelAsk, source: Key | null, verdict: Verdict | null) => void
}

export class InboundAcceptor {
  /** Streams accepted since the start. */
  accepted = 0
  /** Exchanges whose stream has closed before they were settled: always a bug. */
  unsettled = 0
  private readonly options: InboundOptions
  private readonly connections = new Set<Connection>()

  constructor(options: InboundOptions) {
    this.options = options
  }

  get open(): number {
    return this.connections.size
  }

  all(): IterableIterator<Connection> {
    return this.connections.values()
  }

  /** Takes a CONNECT. */
  accept(ask: TunnelAsk): void {
    const { options } = this
    const entry = this.letIn(ask)
    if (entry instanceof MeshError) {
      ask.refuse(entry.status, entry.reason)
      return
    }
    // The other agent may give up while the pod is being connected.
    let isGone = false
    ask.wire.handler = {
      onBytes() {},
      onEnd() {},
      onDrain() {},
      onClose: () => {
        isGone = true
        cancel()
      },
    }
    const cancel = options.connect(entry.endpoint, (error, wire) => {
      if (isGone) wire?.destroy()
      else if (error !== null) {
        options.onRefused(error, ask, sourceAccount(entry.caller), null)
        ask.refuse(error.status, error.reason)
      } else this.attend(entry, ask, wire!)
    })
  }

  private attend(inbound: Inbound, ask: TunnelAsk, up: Wire): void {
    this.accepted++
    ask.accept()
    const connection = this.options.attend(inbound, ask.wire, up, () => {
      this.connections.delete(connection)
      if (connection.current !== null) this.unsettled++
    })
    if (!ask.wire.isClosed) this.connections.add(connection)
  }

  private letIn(ask: TunnelAsk): Inbound | MeshError {
    const { options } = this
    const snapshot = options.snapshot()
    const caller = inboundCaller(ask.remoteAddress, ask.peer, options.agentAccount())
    const source = sourceAccount(caller)
    const refuse = (error: MeshError, verdict: Verdict | null = null) => {
      options.onRefused(error, ask, source, verdict)
      return error
    }
    if (options.isDraining()) return refuse(new MeshError('draining'))
    if (this.connections.size >= options.most) {
      return refuse(new MeshError('overloaded', `${options.most} streams are open`))
    }
    const asked = splitPort(ask.authority)
    const workload = asked === null ? null : podAt(asked.address, snapshot, options.own)
    if (asked === null || workload === null || workload.account !== ask.account) {
      return refuse(new MeshError('denied', `${ask.authority} is no pod of ${ask.account} on this node`))
    }
    const { address, port } = asked
    const isHttp = ask.headers.some(([name, value]) => name === protocolHeader && value === 'http')
    const verdict = permit(snapshot, source, workload.account, port, isHttp ? anyRequest : null)
    if (!verdict.isAllowed) return refuse(denied(verdict, source, workload.account), verdict)
    return { caller, endpoint: this.endpointOf(workload, address, port, snapshot), isHttp }
  }

  private endpointOf(workload: WorkloadResource, address: string, port: number, snapshot: Snapshot): Endpoint {
    const { pod, name, account } = workload
    const backend = localBackend(snapshot, joinPort(address, port))?.backend.key ?? ''
    const spec = { address, port, node: '', pod, podUid: name, account, workload: workload.workload }
    return new Endpoint(backend, spec, true, this.options.now())
  }
}

/** The live pod of this node that has an address, other than the agent's. */
function podAt(address: string, snapshot: Snapshot, own: string): WorkloadResource | null {
  const workload = snapshot.workloads.get(address)
  return workload?.live === true && workload.address !== own ? workload : null
}
