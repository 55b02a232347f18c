// The listeners of a data thread: the entry port and the mesh ports that the snapshot names. Every thread opens the same
// ports (reusePort); the kernel divides the connections among them.

import type { Server } from 'node:net'
import { createTcpServer } from './http1/tcp.ts'
import type { Wire } from './http1/wire.ts'
import type { Snapshot } from './mesh/snapshot.ts'

export interface PortsOptions {
  readonly address: string
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
  readonly server: Server
  /** What the port stood for when it was opened. */
  meaning: string
  isOpen: boolean
}

export class Ports {
  private readonly options: PortsOptions
  /** By port as it is opened. */
  private readonly listeners = new Map<number, Listener>()
  private readonly failures = new Map<number, PortFailure>()
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
      if (listener.meaning !== fixed && !snapshot.ports.has(port)) this.shut(port, listener)
    }
    this.open(entryPort, 0, fixed)
    this.openTunnel()
    for (const [port, { service }] of snapshot.ports) {
      const meaning = service === null ? 'shared' : service.uid
      const listener = this.listeners.get(port)
      if (listener === undefined) this.open(port, port, meaning)
      else if (listener.meaning !== meaning) {
        listener.meaning = meaning
        this.options.onChanged(port)
      }
    }
    this.settle()
  }

  /** Closes all listeners; connections that are open stay. */
  close(): void {
    this.isClosed = true
    for (const { server } of this.listeners.values()) server.close()
    this.listeners.clear()
  }

  private open(port: number, meshPort: number, meaning: string): void {
    if (this.listeners.has(port)) return
    const { onWire } = this.options
    this.listen(
      port,
      createTcpServer((wire) => onWire(wire, meshPort)),
      meaning,
    )
  }

  private openTunnel(): void {
    const { tunnel } = this.options
    if (tunnel !== null && !this.listeners.has(tunnel.port)) this.listen(tunnel.port, tunnel.server, fixed)
  }

  private listen(port: number, server: Server, meaning: string): void {
    const { address, isShared } = this.options
    const listener: Listener = { server, meaning, isOpen: false }
    this.listeners.set(port, listener)
    server.on('error', (error) => {
      this.listeners.delete(port)
      this.failures.set(port, { port, message: error.message })
      this.settle()
    })
    server.listen({ host: address, port, backlog: 1024, reusePort: isShared }, () => {
      listener.isOpen = true
      this.settle()
    })
  }

  private shut(port: number, listener: Listener): void {
    this.listeners.delete(port)
    listener.server.close()
  }

  private settle(): void {
    let open = 0
    for (const { isOpen } of this.listeners.values()) if (isOpen) open++
    if (open === this.listeners.size) this.options.onSettled(this.version, open, [...this.failures.values()])
  }
}
