// The server's side of a connection: takes requests off a wire one after the other, pipelined ones in their order, and
// tells a handler. It knows framing, not meaning: what a request is answered with is the handler's affair.

import { MeshError, meshError } from '../errors.ts'
import { Body, type BodySink } from './body.ts'
import { type HeadLimits, RequestHead } from './head.ts'
import { headText } from './latin1.ts'
import type { Wire, WireHandler } from './wire.ts'

export interface DownstreamHandler extends BodySink {
  /** The first bytes of a connection, before they are read as HTTP; true takes the wire over. */
  onOpening(chunk: Buffer, start: number, end: number): boolean
  /** First byte of a head is there: from now on the request head's time runs. */
  onHeadBegin(): void
  /** A head is complete; `body` bytes follow, then `onRequestEnd`, which is not called for a request that was refused. */
  onRequest(): void
  onRequestEnd(): void
  /** What came is not a request that the engine understands; nothing more is read from this connection. */
  onRefusal(error: MeshError): void
  /** The caller has gone before the exchange was over, or between exchanges. The last call. */
  onGone(error: Error | null): void
  /** All that one read brought has been told: what was put off to be written in one piece may go now. */
  onReadEnd(): void
  onDrain(): void
}

/** Where the reading stands. `waiting`: the request is whole, its response is not. */
type Phase = 'head' | 'body' | 'waiting' | 'deaf'

/** Unread responses beyond this stop the reading of further requests. */
const chokeBytes = 64 * 1024

export class Downstream implements WireHandler {
  readonly wire: Wire
  readonly head = new RequestHead()
  readonly body = new Body()
  /** Requests that came on this connection. */
  requests = 0
  private readonly limits: HeadLimits
  private readonly handler: DownstreamHandler
  private phase: Phase = 'head'
  private isOpening = true
  /** Bytes that could not be used yet: a piece of a head, pipelined requests, a body while held. */
  private stash: Buffer | null = null
  /** A piece of a head is there. */
  private hasBegun = false
  /** The empty line that may come before a request line has come. */
  private hasSkipped = false
  private isHeld = false
  private isChoked = false
  private isWorking = false
  private hasEnded = false
  private isGone = false

  constructor(wire: Wire, limits: HeadLimits, handler: DownstreamHandler) {
    this.wire = wire
    this.limits = limits
    this.handler = handler
    wire.handler = this
  }

  /** The caller has sent its last byte, and none of a further request before it: this exchange is the last one. */
  get isHalfClosed(): boolean {
    return this.hasEnded && this.stash === null
  }

  /** Neither a piece of a request nor one in progress: may be closed without loss. */
  get isIdle(): boolean {
    return this.phase === 'head' && this.stash === null
  }

  /** Nothing more is read as requests: it is closing, or closed. */
  get isClosing(): boolean {
    return this.phase === 'deaf'
  }

  /** A read is being told: `onReadEnd` will follow. */
  get isReading(): boolean {
    return this.isWorking
  }

  /** Stops taking bytes, but for pipelined ones up to a head's size, until `release`. */
  hold(): void {
    this.isHeld = true
    if (!this.isWorking) this.wire.pause()
  }

  release(): void {
    if (!this.isHeld) return
    this.isHeld = false
    if (!this.isWorking) this.goOn()
  }

  /**
   * The response is written. Goes on with the next request, or closes.
   * @param isLast closes after it whatever the request asked for
   */
  finish(isLast: boolean): void {
    if (this.isGone) return
    if (isLast || this.phase !== 'waiting' || !this.head.isKeepAlive || this.isHalfClosed) {
      this.close()
      return
    }
    this.phase = 'head'
    // A caller that sends requests and reads no responses must not fill our memory with them.
    this.isChoked = this.wire.backlogBytes > chokeBytes
    this.isHeld = this.isChoked
    if (this.isHeld) this.hold()
    else if (!this.isWorking) this.goOn()
  }

  /**
   * Leaves the wire to whoever sets another handler.
   * @returns bytes that came behind the last head, if there are any; those of the current read go to the new handler
   */
  detach(): Buffer | null {
    const rest = this.stash
    this.phase = 'deaf'
    this.stash = null
    this.isGone = true
    return rest
  }

  /** Closes after what was written; what still comes is read and dropped, so that no reset overtakes the response. */
  close(): void {
    this.phase = 'deaf'
    this.isHeld = false
    this.stash = null
    this.wire.resume()
    this.wire.end()
  }

  onBytes(chunk: Buffer, start: number, end: number): void {
    if (this.phase === 'deaf') return
    if (this.stash === null) this.take(chunk, start, end)
    else {
      const before = this.stash
      const all = Buffer.allocUnsafe(before.length + end - start)
      before.copy(all, 0)
      chunk.copy(all, before.length, start, end)
      this.stash = null
      this.take(all, 0, all.length)
    }
  }

  onEnd(): void {
    this.hasEnded = true
    if (this.phase === 'waiting') return
    if (this.phase === 'body') {
      // A request that was cut short can't be answered, only forgotten.
      this.gone(new Error('the caller ended in the middle of a request'))
      this.wire.destroy()
    } else if (this.phase === 'head') this.close()
  }

  onDrain(): void {
    if (this.isChoked) {
      this.isChoked = false
      this.release()
    } else this.handler.onDrain()
  }

  onClose(error: Error | null): void {
    this.gone(error)
  }

  private gone(error: Error | null): void {
    if (this.isGone) return
    this.isGone = true
    this.phase = 'deaf'
    this.stash = null
    this.handler.onGone(error)
  }

  /** Takes up what was stashed, then reads on. */
  private goOn(): void {
    const stash = this.stash
    if (stash !== null) {
      this.stash = null
      this.take(stash, 0, stash.length)
    }
    if (this.isHeld || this.phase === 'deaf') return
    if (this.hasEnded && this.phase === 'head') this.onEnd()
    else this.wire.resume()
  }

  private take(chunk: Buffer, start: number, end: number): void {
    this.isWorking = true
    let at = start
    while (at < end) {
      const next = this.step(chunk, at, end)
      if (this.wire.handler !== this) {
        this.isWorking = false
        if (next < end) this.wire.handler.onBytes(chunk, next, end)
        return
      }
      if (next === at) {
        this.keep(chunk, at, end)
        break
      }
      at = next
    }
    this.isWorking = false
    if (this.isHeld) this.wire.pause()
    if (!this.isGone) this.handler.onReadEnd()
  }

  /** @returns how far it got; `at` if it can't go on now */
  private step(chunk: Buffer, at: number, end: number): number {
    switch (this.phase) {
      case 'deaf':
        return end
      case 'waiting':
        return at
      case 'body':
        return this.isHeld ? at : this.stepBody(chunk, at, end)
      default:
        return this.isHeld ? at : this.stepHead(chunk, at, end)
    }
  }

  private keep(chunk: Buffer, at: number, end: number): void {
    this.stash = Buffer.copyBytesFrom(chunk, at, end - at)
    if (this.phase === 'waiting' && this.stash.length >= this.limits.headBytes) this.wire.pause()
  }

  private stepHead(chunk: Buffer, at: number, end: number): number {
    if (this.isOpening) {
      this.isOpening = false
      if (this.handler.onOpening(chunk, at, end)) {
        this.phase = 'deaf'
        return end
      }
    }
    // RFC 9112 section 2.2: an empty line before the request line is ignored; one, not a stream of them.
    if (!this.hasSkipped && at + 2 <= end && chunk[at] === 0x0d && chunk[at + 1] === 0x0a) {
      this.hasSkipped = true
      this.hasBegun = false
      return at + 2
    }
    const { headBytes } = this.limits
    const text = headText(chunk, at, end, headBytes)
    if (text === '') {
      if (end - at > headBytes) {
        const isBare = hasBareFeed(chunk, at, at + headBytes)
        this.refuse(isBare ? bareFeed() : new MeshError('head_too_large', `more than ${headBytes} bytes`))
        return end
      }
      if (!this.hasBegun && chunk[at] !== 0x0d) this.handler.onHeadBegin()
      this.hasBegun = true
      return this.waitForMore(chunk, at, end)
    }
    this.hasBegun = false
    this.hasSkipped = false
    try {
      this.head.parse(text, this.limits)
    } catch (thrown) {
      // The same answer whether the head comes at once or in pieces.
      this.refuse(hasBareFeed(chunk, at, at + text.length) ? bareFeed() : meshError(thrown))
      return end
    }
    this.requests++
    this.body.start(this.head.framing, this.head.length, false)
    const isWhole = this.body.isDone
    this.phase = isWhole ? 'waiting' : 'body'
    const request = this.requests
    this.handler.onRequest()
    if (isWhole && this.requests === request && this.phase === 'waiting') this.handler.onRequestEnd()
    return at + text.length
  }

  /** A piece of a head: refused at once where it can't become one, else kept. */
  private waitForMore(chunk: Buffer, at: number, end: number): number {
    const first = chunk[at]!
    // A request begins with a method: a TLS ClientHello, a NUL or a line feed never becomes one.
    if ((first < 0x21 || first > 0x7e) && (this.hasSkipped || first !== 0x0d || end - at > 1)) {
      this.refuse(new MeshError('bad_request', 'the first byte is not that of a method'))
      return end
    }
    // The line that some end with LF alone never becomes one of ours: the sender would wait for its time to run out.
    if (hasBareFeed(chunk, at, end)) {
      this.refuse(bareFeed())
      return end
    }
    return at
  }

  private stepBody(chunk: Buffer, at: number, end: number): number {
    const stop = this.body.feed(chunk, at, end, this.handler)
    if (this.phase !== 'body') return end
    if (this.body.flaw !== '') {
      this.refuse(new MeshError('bad_request', this.body.flaw))
      return end
    }
    if (this.body.isDone) {
      this.phase = 'waiting'
      this.handler.onRequestEnd()
    }
    return stop
  }

  private refuse(error: MeshError): void {
    this.phase = 'deaf'
    this.handler.onRefusal(error)
  }
}

function bareFeed(): MeshError {
  return new MeshError('bad_request', 'a line ends with LF alone')
}

/** Whether a line feed stands there without the carriage return before it (RFC 9112 section 2.2). */
function hasBareFeed(chunk: Buffer, at: number, end: number): boolean {
  const piece = chunk.subarray(at, end)
  for (let feed = piece.indexOf(0x0a); feed !== -1; feed = piece.indexOf(0x0a, feed + 1)) {
    if (piece[feed - 1] !== 0x0d) return true
  }
  return false
}
