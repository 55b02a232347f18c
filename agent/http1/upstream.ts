// The client's side of a connection: one request at a time goes out, its response comes back. What the pod sends without
// being asked, or behind the end of its response, makes the connection useless: it is never given to another exchange.

import { MeshError, meshError } from '../errors.ts'
import { Body, type BodySink } from './body.ts'
import type { HeadLimits } from './head.ts'
import { headText } from './latin1.ts'
import { ResponseHead } from './status.ts'
import type { Wire, WireHandler } from './wire.ts'

export interface UpstreamHandler {
  /** A 1xx response other than 101. */
  onInformational(head: ResponseHead): void
  /** The final response's head. */
  onResponse(head: ResponseHead): void
  onUpstreamBody(chunk: Buffer, start: number, end: number): void
  onUpstreamBodyText(text: string): void
  /** The response is whole. Called last in an exchange, if `onFailure` was not. */
  onResponseEnd(): void
  /** No response, or no whole one, will come. */
  onFailure(error: MeshError): void
  /** All that one read brought has been told. */
  onUpstreamReadEnd(): void
  onUpstreamDrain(): void
}

/** The pool that a connection belongs to. */
export interface UpstreamOwner {
  /** It was idle and is of no use any more. */
  onUseless(): void
  /** Its wire is closed. Called once, whatever it was doing. */
  onClosed(): void
}

export class Upstream implements WireHandler, BodySink {
  readonly wire: Wire
  readonly head = new ResponseHead()
  readonly body = new Body()
  /** Exchanges that it served before the current one. */
  served = 0
  /** Clock's ms at which it became idle; for the pool. */
  idleSince = 0
  private readonly limits: HeadLimits
  private readonly owner: UpstreamOwner
  private handler: UpstreamHandler | null = null
  private method = ''
  private isBare = false
  private phase: 'idle' | 'head' | 'body' | 'done' | 'useless' = 'idle'
  private stash: Buffer | null = null
  private hasAnswered = false

  constructor(wire: Wire, limits: HeadLimits, owner: UpstreamOwner) {
    this.wire = wire
    this.limits = limits
    this.owner = owner
    wire.handler = this
  }

  /**
   * Begins an exchange. The caller writes the request to `wire`.
   * @param isBare forwards a chunked body as its content alone
   */
  start(handler: UpstreamHandler, method: string, isBare: boolean): void {
    this.handler = handler
    this.method = method
    this.isBare = isBare
    this.phase = 'head'
    this.hasAnswered = false
  }

  /** Whether a byte of a response to the current request has come. */
  get isAnswered(): boolean {
    return this.hasAnswered
  }

  /** Whether another exchange may follow, once the response is whole. */
  get isReusable(): boolean {
    return this.phase === 'done' && this.head.isKeepAlive && !this.wire.isClosed
  }

  /** Gives it back after a whole exchange: unsolicited bytes are watched for. */
  rest(): void {
    this.handler = null
    this.served++
    this.phase = 'idle'
    this.wire.resume()
  }

  /** Ends the exchange without its end, and the connection with it. */
  abandon(): void {
    this.handler = null
    this.phase = 'useless'
    this.wire.reset()
  }

  /** Closes an idle connection. */
  close(): void {
    this.handler = null
    this.phase = 'useless'
    this.wire.destroy()
  }

  onBytes(chunk: Buffer, start: number, end: number): void {
    this.use(chunk, start, end)
    this.handler?.onUpstreamReadEnd()
  }

  private use(chunk: Buffer, start: number, end: number): void {
    if (this.phase === 'head') this.takeHead(chunk, start, end)
    else if (this.phase === 'body') this.takeBody(chunk, start, end)
    else if (this.phase !== 'useless') {
      // Nobody asked for these bytes.
      const wasIdle = this.phase === 'idle'
      this.phase = 'useless'
      this.wire.destroy()
      if (wasIdle) this.owner.onUseless()
    }
  }

  onBody(chunk: Buffer, start: number, end: number): void {
    this.handler?.onUpstreamBody(chunk, start, end)
  }

  onBodyText(text: string): void {
    this.handler?.onUpstreamBodyText(text)
  }

  onEnd(): void {
    if (this.phase === 'idle') {
      this.phase = 'useless'
      this.wire.destroy()
      this.owner.onUseless()
    } else if (this.phase === 'body' && this.body.finish()) this.complete()
    else if (this.phase === 'head' || this.phase === 'body') this.fail(resetError(null))
  }

  onDrain(): void {
    this.handler?.onUpstreamDrain()
  }

  onClose(error: Error | null): void {
    this.owner.onClosed()
    if (this.phase === 'idle') {
      this.phase = 'useless'
      this.owner.onUseless()
    } else if (this.phase === 'head' || this.phase === 'body') this.fail(resetError(error))
    else this.phase = 'useless'
  }

  private takeHead(chunk: Buffer, start: number, end: number): void {
    this.hasAnswered = true
    let bytes = chunk
    let at = start
    let stop = end
    const { headBytes } = this.limits
    if (this.stash !== null) {
      bytes = Buffer.concat([this.stash, chunk.subarray(start, end)])
      at = 0
      stop = bytes.length
      this.stash = null
    }
    while (this.phase === 'head' && at < stop) {
      const text = headText(bytes, at, stop, headBytes)
      if (text === '') {
        if (stop - at > headBytes) {
          this.fail(new MeshError('upstream_invalid', `the response head exceeds ${headBytes} bytes`))
          return
        }
        this.stash = Buffer.copyBytesFrom(bytes, at, stop - at)
        return
      }
      try {
        this.head.parse(text, this.method, this.limits)
      } catch (thrown) {
        this.fail(meshError(thrown))
        return
      }
      at += text.length
      this.useHead()
    }
    if (this.phase === 'body') this.takeBody(bytes, at, stop)
    else if (at < stop) this.use(bytes, at, stop)
  }

  private useHead(): void {
    const { head } = this
    if (head.status === 101) {
      // Upgrades go another way (tunnel/upgrade.ts): nobody here asked for one.
      this.fail(new MeshError('upstream_invalid', 'a 101 that nobody asked for'))
      return
    }
    if (head.isInformational) {
      this.handler?.onInformational(head)
      return
    }
    this.body.start(head.framing, head.length, this.isBare)
    this.phase = 'body'
    this.handler?.onResponse(head)
    // The handler may have abandoned it.
    if (this.phase === 'body' && this.body.isDone) this.complete()
  }

  private takeBody(chunk: Buffer, start: number, end: number): void {
    if (start === end || this.handler === null) return
    const stop = this.body.feed(chunk, start, end, this)
    if (this.phase !== 'body') return
    if (this.body.flaw !== '') this.fail(new MeshError('upstream_invalid', this.body.flaw))
    else if (this.body.isDone) {
      if (stop < end) this.head.isKeepAlive = false
      this.complete()
      // Bytes behind the end of the response: nobody's.
      if (stop < end) this.use(chunk, stop, end)
    }
  }

  private complete(): void {
    this.phase = 'done'
    const { handler } = this
    if (this.head.framing === 'close') this.head.isKeepAlive = false
    handler?.onResponseEnd()
  }

  private fail(error: MeshError): void {
    const { handler } = this
    this.handler = null
    this.phase = 'useless'
    this.stash = null
    this.wire.destroy()
    handler?.onFailure(error)
  }
}

function resetError(cause: Error | null): MeshError {
  return new MeshError('upstream_reset', cause === null ? '' : cause.message, cause === null ? {} : { cause })
}
