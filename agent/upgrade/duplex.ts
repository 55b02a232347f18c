// A wire as a Node stream, with what node:http and http-proxy ask of a socket.

import { Duplex } from 'node:stream'
import type { Wire } from '../http1/wire.ts'

export class WireDuplex extends Duplex {
  readonly remoteAddress: string
  /** Bytes in each direction. */
  bytesRead = 0
  bytesWritten = 0
  private readonly wire: Wire
  private readonly onActivity: () => void
  private drained: (() => void) | null = null

  /** @param onActivity called for every piece in either direction */
  constructor(wire: Wire, onActivity: () => void) {
    super({ allowHalfOpen: true })
    this.wire = wire
    this.remoteAddress = wire.remoteAddress
    this.onActivity = onActivity
    wire.handler = {
      onBytes: (chunk, start, end) => {
        this.bytesRead += end - start
        onActivity()
        if (!this.push(Buffer.copyBytesFrom(chunk, start, end - start))) wire.pause()
      },
      onEnd: () => this.push(null),
      onDrain: () => {
        const { drained } = this
        this.drained = null
        drained?.()
      },
      onClose: (error) => {
        if (error !== null) this.destroy(error)
        else if (!this.destroyed && !this.readableEnded) this.push(null)
      },
    }
  }

  override _read(): void {
    this.wire.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.bytesWritten += chunk.length
    this.onActivity()
    if (this.wire.writeBytes(chunk)) done()
    else this.drained = done
  }

  override _final(done: (error?: Error | null) => void): void {
    this.wire.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // A side that breaks off must not look like one that was done (hazard: a truncated message taken for whole).
    if (error !== null || !this.writableFinished || !this.readableEnded) this.wire.reset()
    else this.wire.destroy()
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
