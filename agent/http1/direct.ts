// Writes handed to a socket's handle itself, past its stream: a message of a proxy is nearly always taken by the kernel at
// once, and then the stream's queue, callback and tick cost more than the write's own bookkeeping. What the kernel does
// not take, libuv queues in order. Node publishes none of this: it stands here alone, and only for the version whose
// handles were tried; `WEFT_NO_DIRECT_WRITES=1` goes back to the stream.

import type { Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'

/** A write that the kernel has not taken as a whole. */
interface PendingWrite {
  oncomplete: ((status: number) => void) | null
  /** Keeps the bytes alive. */
  buffer: Buffer | null
  /** Set if it ended before `oncomplete` was. */
  writeStatus: number | null
}

/** What is written to: 0 is success, less a system error. */
interface Handle {
  writeLatin1String(request: null, text: string): number | PendingWrite
  writeBuffer(request: null, bytes: Buffer): number | PendingWrite
  readonly writeQueueSize: number
}

interface SocketInside {
  _handle: Handle | null
}

const isUsed = process.env['WEFT_NO_DIRECT_WRITES'] !== '1' && process.versions.node.startsWith('26.')

/** The writing side of one socket. */
export class DirectWriter {
  private readonly socket: Socket
  private readonly onDrain: () => void
  /** Where writes go while nothing is in the way; else null. Kept here, as each look into the socket is one at cold memory. */
  private open: Handle | null = null
  private pending = 0
  private mustTell = false
  private readonly onComplete: (status: number) => void

  /** @param onDrain called once all is with the kernel, if a write had returned false */
  constructor(socket: Socket, onDrain: () => void) {
    this.socket = socket
    this.onDrain = onDrain
    this.onComplete = (status) => this.completed(status)
  }

  /** Bytes that the kernel has not taken. */
  get backlogBytes(): number {
    const { socket } = this
    const queued = this.pending === 0 ? 0 : ((socket as unknown as SocketInside)._handle?.writeQueueSize ?? 0)
    return socket.writableLength + queued
  }

  /** Nothing more is written: the socket is ended, or destroyed. */
  close(): void {
    this.open = null
  }

  /**
   * Writes latin1 text.
   * @returns false if more should wait for `onDrain`
   */
  text(text: string): boolean {
    const handle = this.open ?? this.look()
    if (handle === null) return this.socket.write(text, 'latin1')
    return this.dispatched(handle.writeLatin1String(null, text), null)
  }

  /** Writes bytes that nobody changes before they are sent. */
  bytes(bytes: Buffer): boolean {
    const handle = this.open ?? this.look()
    if (handle === null) return this.socket.write(bytes)
    return this.dispatched(handle.writeBuffer(null, bytes), bytes)
  }

  /** null: what is written must go by the stream, which is connecting, has a queue, or is ended. */
  private look(): Handle | null {
    const { socket } = this
    if (!isUsed || socket.connecting || socket.writableLength > 0 || socket.writableEnded) return null
    this.open = (socket as unknown as SocketInside)._handle
    return this.open
  }

  private dispatched(result: number | PendingWrite, bytes: Buffer | null): boolean {
    if (result === 0) return true
    if (typeof result === 'number') {
      this.fail(result)
      return false
    }
    this.pending++
    result.buffer = bytes
    result.oncomplete = this.onComplete
    if (result.writeStatus !== null) this.completed(result.writeStatus)
    const isQuick = this.backlogBytes < this.socket.writableHighWaterMark
    if (!isQuick) this.mustTell = true
    return isQuick
  }

  private completed(status: number): void {
    this.pending--
    if (status < 0) this.fail(status)
    else if (this.pending === 0 && this.mustTell) {
      this.mustTell = false
      this.onDrain()
    }
  }

  private fail(status: number): void {
    this.open = null
    // Whoever destroyed it has its reason already.
    if (this.socket.destroyed) return
    const code = getSystemErrorName(status)
    this.socket.destroy(Object.assign(new Error(`write ${code}`), { code, errno: status, syscall: 'write' }))
  }
}
