// What dialling and serving need of an HTTP/2 implementation: the seam at which it can be exchanged. Only CONNECT is
// spoken, and each side knows its role.

import type { TLSSocket } from 'node:tls'
import type { Wire } from '../http1/wire.ts'
import type { Header } from './hpack.ts'

/** A wire that is a stream of a session. */
export interface TunnelWire extends Wire {
  /** Its session takes no more streams: once it is unused it should be closed. */
  readonly isDraining: boolean
  /** Called once when that becomes so. */
  onDraining: (() => void) | null
}

/** What became of a CONNECT. */
export type Answer =
  | { wire: TunnelWire; headers: readonly Header[] }
  /** The other side refused with a status; reason as it stands in x-weft-error, or empty. */
  | { status: number; reason: string }
  /**
   * The session or the stream ended before there was an answer: nothing was carried. `isUntouched`: the peer says that
   * another session may be tried.
   */
  | { error: Error; isUntouched: boolean }

/** A CONNECT that a server has got. */
export interface Ask {
  /** `address:port`, as the peer wrote it. */
  readonly authority: string
  readonly headers: readonly Header[]
  /** Paused until `resume`. Set its handler at once, to hear when the peer gives up. */
  readonly wire: TunnelWire
  /** Answers 200; bytes can be carried. */
  accept(): void
  /** Answers with a status and a reason for x-weft-error, and ends the stream. */
  refuse(status: number, reason: string): void
}

export interface SessionEvents {
  /** For a server. */
  onAsk(ask: Ask): void
  /** For a server: sent with each stream that is accepted. */
  readonly answerHeaders?: readonly Header[]
  /** There is room for another stream, or none is left. */
  onChange(): void
  /** No new streams from now on. */
  onDraining(): void
  /** The last call; `error` is null after an orderly end. */
  onClose(error: Error | null): void
}

export interface Session {
  readonly openStreams: number
  /** How many the peer allows. */
  readonly streamLimit: number
  readonly isDraining: boolean
  readonly isClosed: boolean
  /** The peer has been heard. */
  readonly isConfirmed: boolean
  /**
   * Asks for a stream.
   * @param done called once, unless cancelled
   * @returns gives it up
   */
  open(authority: string, headers: readonly Header[], done: (answer: Answer) => void): () => void
  /** Tells the peer that no new streams are taken, and closes when the last one has ended. */
  drain(): void
  /** Breaks it: all streams are reset. */
  destroy(error: Error): void
  /**
   * To be called a few times a second: asks peers that are silent, and ends the session of one that stays silent for long.
   * @param now clock's ms
   * @returns false if it is worth a look whether the peer can be reached at all
   */
  check(now: number): boolean
}

/** Begins a session on a connection whose handshake is complete. */
export type StartSession = (socket: TLSSocket, role: 'client' | 'server', events: SessionEvents) => Session
