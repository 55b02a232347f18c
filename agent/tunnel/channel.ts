// One stream of a tunnel as a wire: what the HTTP engine and raw TCP read and write without knowing of HTTP/2. A reset on
// either side arrives as a reset on the other, never as a clean end.

import { noHandler, type WireHandler } from '../http1/wire.ts'
import { codes, defaultWindowBytes, maxFrameBytes, streamWindowBytes } from './frame.ts'
import type { Output } from './output.ts'
import type { Answer, TunnelWire } from './session.ts'

/** What a channel needs of its connection. */
export interface ChannelHost {
  readonly output: Output
  readonly remoteAddress: string
  /** What may still be sent on the connection. */
  sendWindow: number
  /** Calls `pump` when there is room or window again. */
  waitForRoom(channel: Channel): void
  sendReset(id: number, code: number): void
  sendWindowUpdate(id: number, bytes: number): void
  /** Gives bytes back to the peer's window of the connection. */
  credit(bytes: number): void
  forget(channel: Channel): void
}

/** Bytes held for streams of this thread that nobody reads, and that can't be sent yet. */
export const held = { receivedBytes: 0, queuedBytes: 0 }

/** Above this a thread gives peers no more window than streams that are read free: memory stays bounded. */
const maxHeldBytes = 128 << 20
/** A writer is told to wait when so much is queued. */
const highWaterBytes = 64 << 10

export class Channel implements TunnelWire {
  handler: WireHandler = noHandler
  readonly id: number
  readonly #host: ChannelHost
  /** For a client: what becomes of its CONNECT; null once it is known. */
  opening: ((answer: Answer) => void) | null = null
  /** Called when its connection takes no more streams: an unused wire should be closed then. */
  onDraining: (() => void) | null = null
  isDraining = false
  isClosed = false
  sendWindow: number
  #receiveWindow = streamWindowBytes
  /** Read and not yet given back to the peer. */
  #unacknowledged = 0
  #inbox: Buffer[] = []
  #inboxBytes = 0
  /** Of the inbox: bytes that the connection's window waits for. */
  #owedBytes = 0
  #queue: Buffer[] = []
  #queueBytes = 0
  #isPaused: boolean
  #isReading = false
  #isEnding = false
  #isLocalEnded = false
  #isRemoteEnded = false
  #isEndTold = false
  #needsDrain = false

  constructor(host: ChannelHost, id: number, options: { sendWindow?: number; isPaused: boolean }) {
    this.#host = host
    this.id = id
    this.sendWindow = options.sendWindow ?? defaultWindowBytes
    this.#isPaused = options.isPaused
  }

  get remoteAddress(): string {
    return this.#host.remoteAddress
  }

  get backlogBytes(): number {
    return this.#queueBytes
  }

  get isRemoteEnded(): boolean {
    return this.#isRemoteEnded
  }

  writeText(text: string): boolean {
    // An empty frame would say nothing, and count as noise with the peer.
    if (text.length > 0 && this.#canSendWhole(text.length)) {
      this.#host.output.text(this.id, text)
      this.#spend(text.length)
      return this.#host.output.hasRoom || this.#askDrain()
    }
    return this.writeBytes(Buffer.from(text, 'latin1'))
  }

  writeCopy(chunk: Buffer, start: number, end: number): boolean {
    const sent = this.#sendNow(chunk, start, end)
    if (sent < end) return this.#enqueue(Buffer.copyBytesFrom(chunk, sent, end - sent))
    return this.#host.output.hasRoom || this.#askDrain()
  }

  writeBytes(bytes: Buffer): boolean {
    const sent = this.#sendNow(bytes, 0, bytes.length)
    if (sent < bytes.length) return this.#enqueue(bytes.subarray(sent))
    return this.#host.output.hasRoom || this.#askDrain()
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    // Not within the caller's own call: what it sets up afterwards must be in place.
    if (this.#inboxBytes > 0 || (this.#isRemoteEnded && !this.#isEndTold)) process.nextTick(() => this.#readInbox())
  }

  end(): void {
    if (this.isClosed || this.#isEnding) return
    this.#isEnding = true
    if (this.#queueBytes === 0) this.#sendEnd()
  }

  reset(): void {
    if (this.isClosed) return
    this.#host.sendReset(this.id, codes.cancel)
    this.#closeSoon()
  }

  destroy(): void {
    if (this.isClosed) return
    // What was written but not sent makes it a truncation, which the other side must see as one.
    const isWhole = this.#queueBytes === 0
    if (isWhole && !this.#isLocalEnded) this.#host.output.endStream(this.id)
    if (!isWhole) this.#host.sendReset(this.id, codes.cancel)
    else if (!this.#isRemoteEnded) this.#host.sendReset(this.id, codes.none)
    this.#closeSoon()
  }

  /** A server has answered with headers that end the stream. */
  endedByHeaders(): void {
    if (!this.#isRemoteEnded) this.#host.sendReset(this.id, codes.none)
    this.#closeSoon()
  }

  /** Sends what is queued, as far as windows and socket allow; at most one frame if others wait too. */
  pump(isShared: boolean): void {
    const { output } = this.#host
    while (this.#queueBytes > 0) {
      const head = this.#queue[0]!
      const bytes = Math.min(head.length, maxFrameBytes, this.sendWindow, this.#host.sendWindow)
      if (bytes <= 0 || !output.hasRoom) {
        // Its own window is opened by the peer alone; for the rest the connection calls again.
        if (this.sendWindow > 0) this.#host.waitForRoom(this)
        return
      }
      output.data(this.id, head, 0, bytes)
      this.#spend(bytes)
      this.#queueBytes -= bytes
      held.queuedBytes -= bytes
      if (bytes === head.length) this.#queue.shift()
      else this.#queue[0] = head.subarray(bytes)
      if (isShared && this.#queueBytes > 0) {
        this.#host.waitForRoom(this)
        return
      }
    }
    if (this.#isEnding) this.#sendEnd()
    this.#tellDrain()
  }

  /** The connection has room again, and nothing is queued here. */
  #tellDrain(): void {
    if (!this.#needsDrain || this.isClosed) return
    this.#needsDrain = false
    this.handler.onDrain()
  }

  /**
   * Takes DATA from the connection.
   * @returns false if it exceeds the window that was given
   */
  receive(chunk: Buffer, start: number, end: number): boolean {
    const bytes = end - start
    this.#receiveWindow -= bytes
    if (this.#receiveWindow < 0) return false
    if (this.isClosed) {
      this.#host.credit(bytes)
    } else if (this.#isPaused || this.#inboxBytes > 0) {
      this.#inbox.push(Buffer.copyBytesFrom(chunk, start, bytes))
      this.#inboxBytes += bytes
      held.receivedBytes += bytes
      // One stream that is not read must not stop the others, unless all together hold too much.
      if (held.receivedBytes < maxHeldBytes) this.#host.credit(bytes)
      else this.#owedBytes += bytes
    } else {
      this.#host.credit(bytes)
      this.#deliver(chunk, start, end)
    }
    return true
  }

  /** Takes padding, which counts as if it were read. */
  receivePadding(bytes: number): boolean {
    this.#receiveWindow -= bytes
    this.#acknowledge(bytes)
    return this.#receiveWindow >= 0
  }

  /** The peer has ended its direction. */
  receiveEnd(): void {
    if (this.#isRemoteEnded || this.isClosed) return
    this.#isRemoteEnded = true
    if (!this.#isPaused && this.#inboxBytes === 0) this.#tellEnd()
  }

  /** The peer has reset the stream. */
  receiveReset(code: number): void {
    if (code === codes.none && this.#isRemoteEnded && this.#queueBytes === 0) {
      // After its end: it has all it wants, and we are spared the rest.
      this.#isEnding = true
      this.#isLocalEnded = true
      if (this.#isEndTold) this.#finish(null)
      return
    }
    this.fail(new Error(`the peer has reset the stream (HTTP/2 code ${code})`), code === codes.refused)
  }

  /**
   * The stream is broken, by the peer or together with its connection.
   * @param isUntouched the peer says that it has not looked at it
   */
  fail(error: Error, isUntouched = false): void {
    if (this.isClosed) return
    const { opening } = this
    this.opening = null
    this.#finish(error)
    opening?.({ error, isUntouched })
  }

  /** The connection takes no more streams. */
  tellDraining(): void {
    if (this.isDraining || this.isClosed) return
    this.isDraining = true
    this.onDraining?.()
  }

  // Sending

  #canSendWhole(bytes: number): boolean {
    return (
      this.#queueBytes === 0 &&
      bytes <= maxFrameBytes &&
      bytes <= this.sendWindow &&
      bytes <= this.#host.sendWindow &&
      !this.isClosed &&
      !this.#isEnding &&
      this.#host.output.hasRoom
    )
  }

  #spend(bytes: number): void {
    this.sendWindow -= bytes
    this.#host.sendWindow -= bytes
  }

  /** @returns how far it came */
  #sendNow(chunk: Buffer, start: number, end: number): number {
    // What is written to a closed wire goes nowhere, as with a socket.
    if (this.isClosed || this.#isEnding) return end
    if (this.#queueBytes > 0) return start
    let at = start
    while (at < end && this.#host.output.hasRoom) {
      const bytes = Math.min(end - at, maxFrameBytes, this.sendWindow, this.#host.sendWindow)
      if (bytes <= 0) break
      this.#host.output.data(this.id, chunk, at, at + bytes)
      this.#spend(bytes)
      at += bytes
    }
    return at
  }

  #enqueue(bytes: Buffer): boolean {
    const isFirst = this.#queueBytes === 0
    this.#queue.push(bytes)
    this.#queueBytes += bytes.length
    held.queuedBytes += bytes.length
    if (isFirst && this.sendWindow > 0) this.#host.waitForRoom(this)
    return this.#queueBytes < highWaterBytes || this.#askDrain()
  }

  #askDrain(): false {
    this.#needsDrain = true
    if (this.#queueBytes === 0) this.#host.waitForRoom(this)
    return false
  }

  #sendEnd(): void {
    if (this.#isLocalEnded || this.isClosed) return
    this.#isLocalEnded = true
    this.#host.output.endStream(this.id)
    if (this.#isEndTold) this.#closeSoon()
  }

  // Receiving

  #deliver(chunk: Buffer, start: number, end: number): void {
    this.handler.onBytes(chunk, start, end)
    this.#acknowledge(end - start)
  }

  #acknowledge(bytes: number): void {
    this.#unacknowledged += bytes
    if (this.#unacknowledged < streamWindowBytes / 2 || this.#isRemoteEnded || this.isClosed) return
    this.#receiveWindow += this.#unacknowledged
    this.#host.sendWindowUpdate(this.id, this.#unacknowledged)
    this.#unacknowledged = 0
  }

  #readInbox(): void {
    if (this.#isReading) return
    this.#isReading = true
    while (!this.#isPaused && !this.isClosed && this.#inbox.length > 0) {
      const chunk = this.#inbox.shift()!
      // Still counted while it is delivered, so that what arrives meanwhile stays behind it.
      this.#deliver(chunk, 0, chunk.length)
      if (this.isClosed) break
      this.#release(chunk.length)
    }
    this.#isReading = false
    if (this.#isRemoteEnded && !this.#isPaused && !this.isClosed && this.#inboxBytes === 0) this.#tellEnd()
  }

  #release(bytes: number): void {
    this.#inboxBytes -= bytes
    held.receivedBytes -= bytes
    const owed = Math.min(this.#owedBytes, bytes)
    this.#owedBytes -= owed
    if (owed > 0) this.#host.credit(owed)
  }

  #tellEnd(): void {
    if (this.#isEndTold) return
    this.#isEndTold = true
    this.handler.onEnd()
    if (this.#isLocalEnded) this.#finish(null)
  }

  // Closing

  #finish(error: Error | null): void {
    if (this.isClosed) return
    this.#close()
    this.handler.onClose(error)
  }

  /** As our own side wanted it; the handler hears of it after the call that did. */
  #closeSoon(): void {
    this.opening = null
    this.#close()
    process.nextTick(() => this.handler.onClose(null))
  }

  #close(): void {
    this.isClosed = true
    if (this.#inboxBytes > 0) this.#release(this.#inboxBytes)
    this.#inbox = []
    held.queuedBytes -= this.#queueBytes
    this.#queue = []
    this.#queueBytes = 0
    this.#host.forget(this)
  }
}
