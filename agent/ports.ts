// The listeners of a data thread: the entry port and the mesh ports that the snapshot names. Every thread opens the same
// ports (reusePort); the kernel divides the connections among them.

import type { Server } from 'node:net'
import { listenOn } from './address.ts'
import { createTcpServer } from './http1/tcp.ts'
import type { Wire } from './http1/wire.ts'
import type { Snapshot } from './mesh/snapshot.ts'

export interface PortsOptions {
  /** Callers come by any of them, other agents by the first. */
  readonly addresses: readonly string[]
  readonly entryPort: number
  /** Whether other threads open the same ports. */
  readonly isShared: boolean
  /** @param meshPort 0 for the entry port */
  readonly onWire: (wire: Wire, meshPort: number) => void
  /** A mesh port stands for something else now: its connections are not what they were. */
  readonly onChanged: (meshPort: number) => void
  /** Where other agents connect to; null: nowhere. */
  readonly tunnel: { readonly port: number; readonly server: Server } | null
  /** The last change has settled: all ports are open, but for the failed ones. */
  readonly onSettled: (version: string, open: number, failed: PortFailure[]) => void
}

export interface PortFailure {
  port: number
  message: string
}

/** The meaning of ports that are open whatever the snapshot says. */
const fixed = 'fixed'

interface Listener {
  /** One for each address. */
  readonly servers: readonly Server[]
  /** What the port stood for when it was opened. */
  meaning: string
  /** Servers that don't listen yet. */
  closed: number
}

export class Ports {
  private readonly options: PortsOptions
  /** By port as it is opened. */
  private readonly listeners = new Map<number, Listener>()
  private readonly failures = new Map<number, PortFailure>()
  /** What ports stood for that are closed now; connections of then may still be open. */
  private readonly former = new Map<number, string>()
  private version = ''
  private isClosed = false

  constructor(options: PortsOptions) {
    this.options = options
  }

  /** Opens what the snapshot names and is not open, closes what it names no more. */
  update(snapshot: Snapshot): void {
    if (this.isClosed) return
    this.version = snapshot.version
    const { entryPort } = this.options
    this.failures.clear()
    for (const [port, listener] of this.listeners) {
      if (listener.meaning === fixed || snapshot.ports.has(port)) continue
      this.former.set(port, listener.meaning)
      this.shut(port, listener)
    }
    this.open(entryPort, 0, fixed)
    this.openTunnel()
    for (const [port, { service }] of snapshot.ports) {
      const meaning = service === null ? 'shared' : service.uid
      const listener = this.listeners.get(port)
      const before = listener?.meaning ?? this.former.get(port) ?? meaning
      this.former.delete(port)
      if (listener === undefined) this.open(port, port, meaning)
      else listener.meaning = meaning
      if (before !== meaning) this.options.onChanged(port)
    }
    this.settle()
  }

  /** Closes all listeners; connections that are open stay. */
  close(): void {
    this.isClosed = true
    for (const { servers } of this.listeners.values()) for (const server of servers) server.close()
    this.listeners.clear()
  }

  private open(port: number, meshPort: number, meaning: string): void {
    if (this.listeners.has(port)) return
    const { onWire, addresses } = this.options
    const servers = addresses.map(() => createTcpServer((wire) => onWire(wire, meshPort)))
    this.listen(port, servers, meaning)
  }

  private openTunnel(): void {
    const { tunnel } = this.options
    if (tunnel !== null && !this.listeners.has(tunnel.port)) this.listen(tunnel.port, [tunnel.server], fixed)
  }

  private listen(port: number, servers: readonly Server[], meaning: string): void {
    const { addresses, isShared } = this.options
    const listener: Listener = { servers, meaning, closed: servers.length }
    this.listeners.set(port, listener)
    for (const [index, server] of servers.entries()) {
      const onListening = () => {
        listener.closed--
        this.settle()
      }
      const onError = (error: Error) => {
        // The tunnel's server is tried again with every snapshot: what was said of this try must not pile up.
        server.off('listening', onListening)
        server.off('error', onError)
        if (!server.listeners('error').includes(ignore)) server.on('error', ignore)
        if (this.listeners.get(port) === listener) this.shut(port, listener)
        this.failures.set(port, { port, message: error.message })
        this.settle()
      }
      server.on('error', onError)
      server.once('listening', onListening)
      server.listen({ ...listenOn(addresses[index]!, port), backlog: 1024, reusePort: isShared })
    }
  }

  private shut(port: number, { servers }: Listener): void {
    this.listeners.delete(port)
    for (const server of servers) server.close()
  }

  private settle(): void {
    let open = 0
    for (const { closed } of this.listeners.values()) if (closed === 0) open++
    if (open === this.listeners.size) this.options.onSettled(this.version, open, [...this.failures.values()])
  }
}

/** For a server that has failed and may fail again. */
function ignore(): void {}
