// First step of the outbound path: a connection has come in on the entry port or a mesh port. Admits it or not, waits
// until its caller is known, and hands it to the relay that fits the port's protocol.

import { MeshError, meshError, refusal } from '../errors.ts'
import type { Caller } from '../exchange.ts'
import type { Wire } from '../http1/wire.ts'
import type { Snapshot } from '../mesh/snapshot.ts'
import type { Connection } from '../path.ts'
import type { CallerDesk } from './caller.ts'

/** Makes the connection's relay, which resumes the wire when it can take bytes; `onClosed` is to be called once, when the wire is closed. */
export type Attend = (wire: Wire, caller: Caller, meshPort: number, onClosed: () => void) => Connection

export interface AcceptOptions {
  readonly desk: CallerDesk
  /** Connections at the most. */
  readonly most: number
  readonly snapshot: () => Snapshot
  readonly http: Attend
  readonly opaque: Attend
}

export class Acceptor {
  /** Connections accepted since the start. */
  accepted = 0
  /** Connections refused because there were too many. */
  refused = 0
  /** Exchanges whose connection has closed before they were settled: always a bug. */
  unsettled = 0
  private readonly options: AcceptOptions
  /** What is open, with the mesh port that it came in by (0: the entry port). */
  private readonly connections = new Map<Connection, number>()

  constructor(options: AcceptOptions) {
    this.options = options
  }

  /** Open connections. */
  get open(): number {
    return this.connections.size
  }

  /** All that are open. */
  all(): IterableIterator<Connection> {
    return this.connections.keys()
  }

  /**
   * Takes a connection, which must be paused.
   * @param meshPort the mesh port it came in by; 0 for the entry port
   */
  accept(wire: Wire, meshPort: number): void {
    const { options } = this
    this.accepted++
    if (this.connections.size >= options.most) {
      this.refused++
      const isOpaque = this.isOpaque(meshPort)
      refuse(wire, new MeshError('overloaded', `${options.most} connections are open`), isOpaque)
      return
    }
    const waiting = new Waiting(wire, () => this.connections.delete(waiting))
    this.connections.set(waiting, meshPort)
    try {
      waiting.cancel = options.desk.lookup(wire.remoteAddress, (caller) => {
        if (this.connections.delete(waiting)) this.attend(wire, caller, meshPort)
      })
    } catch (thrown) {
      this.connections.delete(waiting)
      refuse(wire, meshError(thrown), this.isOpaque(meshPort))
    }
  }

  /** Breaks off the connections of a mesh port that now stands for something else. */
  abortPort(meshPort: number): void {
    for (const [connection, port] of this.connections) if (port === meshPort) connection.abort()
  }

  private attend(wire: Wire, caller: Caller, meshPort: number): void {
    const attend = this.isOpaque(meshPort) ? this.options.opaque : this.options.http
    const connection = attend(wire, caller, meshPort, () => {
      this.connections.delete(connection)
      if (connection.current !== null) this.unsettled++
    })
    if (!wire.isClosed) this.connections.set(connection, meshPort)
  }

  /** Whether a mesh port carries bytes that are not HTTP. */
  private isOpaque(meshPort: number): boolean {
    const snapshot = this.options.snapshot()
    const port = meshPort === 0 ? undefined : snapshot.ports.get(meshPort)
    if (port === undefined || port.service === null) return false
    return snapshot.services.get(port.service.name)?.ports.get(port.port)?.protocol === 'tcp'
  }
}

/** A connection whose caller is not known yet. */
class Waiting implements Connection {
  /** No exchange has begun. */
  readonly current = null
  cancel: () => void = () => {}
  private readonly wire: Wire

  constructor(wire: Wire, onClosed: () => void) {
    this.wire = wire
    wire.handler = {
      onBytes() {},
      onEnd() {},
      onDrain() {},
      onClose: () => {
        this.cancel()
        onClosed()
      },
    }
  }

  closeIdle(): void {
    this.wire.destroy()
  }

  abort(): void {
    this.wire.reset()
  }

  recheck(): void {}
}

function refuse(wire: Wire, error: MeshError, isOpaque: boolean): void {
  if (isOpaque) wire.reset()
  else {
    wire.writeText(refusal(error, { close: true }))
    // Not read to its end: a caller that is refused for lack of room gets no more of it.
    wire.destroy()
  }
}
