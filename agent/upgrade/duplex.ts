// A wire as a Node stream, with what node:http and http-proxy ask of a socket.

import { Duplex } from 'node:stream'
import type { Wire, WireHandler } from '../http1/wire.ts'

export class WireDuplex extends Duplex implements WireHandler {
  readonly remoteAddress: string
  /** Bytes in each direction. */
  bytesRead = 0
  bytesWritten = 0
  /** null once it was given back. */
  private wire: Wire | null
  private readonly onActivity: () => void
  private isOpen = false
  private hasEnded = false
  private isDone = false
  private drained: ((error?: Error | null) => void) | null = null

  /**
   * Leaves the wire alone until `open`.
   * @param onActivity called for every piece in either direction
   */
  constructor(wire: Wire, onActivity: () => void) {
    super({ allowHalfOpen: true })
    this.wire = wire
    this.remoteAddress = wire.remoteAddress
    this.onActivity = onActivity
  }

  /** Takes the wire over: its bytes can be read from now on. */
  open(): this {
    this.isOpen = true
    this.wire!.handler = this
    this.wire!.resume()
    return this
  }

  /** Gives the wire back; whatever is written from now on is lost. */
  release(): void {
    this.wire = null
    this.destroy()
  }

  /** Closes in an orderly way, although the other side may still have something to say. */
  finish(): void {
    this.isDone = true
    this.destroy()
  }

  // --- the wire

  onBytes(chunk: Buffer, start: number, end: number): void {
    this.bytesRead += end - start
    this.onActivity()
    if (!this.push(Buffer.copyBytesFrom(chunk, start, end - start))) this.wire?.pause()
  }

  onEnd(): void {
    this.hasEnded = true
    this.push(null)
  }

  onDrain(): void {
    const { drained } = this
    this.drained = null
    drained?.()
  }

  onClose(error: Error | null): void {
    // After the other side's end there may still be something here that nobody has read.
    if (error !== null || !this.hasEnded) this.destroy(error ?? new Error('the connection was closed'))
  }

  // --- the stream

  override _read(): void {
    if (this.isOpen) this.wire?.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.bytesWritten += chunk.length
    this.onActivity()
    if (this.wire === null || this.wire.writeBytes(chunk)) done()
    else this.drained = done
  }

  override _final(done: (error?: Error | null) => void): void {
    this.wire?.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // A side that breaks off must not look like one that was done (hazard: a truncated message taken for whole).
    const isOrderly = this.isDone || (error === null && this.writableFinished && this.readableEnded)
    if (isOrderly) this.wire?.destroy()
    else if (this.isOpen) this.wire?.reset()
    done(error)
  }

  // What http and http-proxy call on sockets; our deadlines and the wire's own settings stand instead.
  setTimeout(): this {
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  destroySoon(): void {
    this.end()
  }
}
