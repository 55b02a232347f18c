// What the tunnel's client side keeps of each (source account, destination account, peer): its sessions, those on their way,
// and the streams that wait for one.

import type { TLSSocket } from 'node:tls'
import type { Key } from '../../controller/contract/resources.ts'
import type { Timer } from '../clock.ts'
import type { MeshError } from '../errors.ts'
import type { Header } from './hpack.ts'
import type { Session, TunnelWire } from './session.ts'

/** Where a stream is to lead, and for whom. */
export interface TunnelTarget {
  /** Account of the caller; the agent's own for a caller without identity. */
  source: Key
  /** Account that the peer must prove to serve. */
  destination: Key
  /** The peer: address and HBONE port. */
  address: string
  port: number
  /** Address and port of the endpoint, as `joinPort` writes them. */
  authority: string
  /** Sent with the CONNECT. */
  headers?: readonly Header[]
}

export interface Pending {
  readonly target: TunnelTarget
  readonly done: (error: MeshError | null, wire: TunnelWire | null) => void
  readonly timer: Timer
  cancelStream: (() => void) | null
  attempts: number
  isDone: boolean
}

export interface Live {
  readonly session: Session
  /** When our certificate or the peer's ends, ms since the epoch. */
  readonly expires: number
  /** Clock's ms since when it has no stream; 0 while it has. */
  idleSince: number
  /** The peer's data thread that it leads to, of how many; -1 until a stream was answered (spread.ts). */
  thread: number
  threads: number
}

export interface Group {
  readonly key: string
  readonly target: TunnelTarget
  readonly live: Set<Live>
  readonly queue: Set<Pending>
  readonly sockets: Set<TLSSocket>
  dialing: number
  /** Sessions opened to meet other threads of the peer. */
  tries: number
  failures: number
  /** Clock's ms. */
  retryAt: number
  error: MeshError | null
}
