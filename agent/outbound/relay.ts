// Eighth step of the outbound path: carries an exchange's messages between the caller and the endpoint, in both
// directions with back-pressure, tries again where that is safe, and turns whatever fails into one answer. One Relay
// serves all exchanges of a caller's connection, one after the other.

import type { Timer } from '../clock.ts'
import { MeshError, refusal } from '../errors.ts'
import { type Caller, Exchange } from '../exchange.ts'
import type { Timed } from '../http1/deadline.ts'
import { Downstream, type DownstreamHandler } from '../http1/downstream.ts'
import { Kept } from '../http1/kept.ts'
import { Outbox } from '../http1/outbox.ts'
import type { ResponseHead } from '../http1/status.ts'
import type { Upstream, UpstreamHandler } from '../http1/upstream.ts'
import type { Wire } from '../http1/wire.ts'
import { informationalText, requestText, responseText } from '../http1/write.ts'
import type { Endpoint } from '../mesh/endpoint.ts'
import type { AttemptFailure, OutboundPath } from '../path.ts'

/** `idle`: between exchanges. `choosing`: up to a connection, or waiting to try again. `sent`: to the response's head. */
type Phase = 'idle' | 'choosing' | 'sent' | 'responding'

/** How long a closed connection may take to be closed by the caller too. */
const lingerMs = 2_000
/** A request that has passed so many agents of the mesh goes in a circle. */
const viaMost = 8

export class Relay implements DownstreamHandler, UpstreamHandler, Timed {
  deadlineAt: number
  private readonly path: OutboundPath
  private readonly down: Downstream
  private readonly caller: Caller
  private readonly meshPort: number
  private readonly onClosed: () => void
  private phase: Phase = 'idle'
  private exchange: Exchange | null = null
  private upstream: Upstream | null = null
  private token = 0
  private tried: Endpoint[] | null = null
  /** Why the last attempt failed. */
  private failure: MeshError | null = null
  private cancel: (() => void) | null = null
  private backoff: Timer | null = null
  private readonly kept: Kept
  private requestHead = ''
  private isRequestEnded = false
  private readonly up = new Outbox()
  private readonly back = new Outbox()
  private isLast = false
  /** Clock's ms after which the whole exchange is given up. */
  private limitAt = Number.POSITIVE_INFINITY

  /** @param onClosed called once, when the connection is closed */
  constructor(path: OutboundPath, wire: Wire, caller: Caller, meshPort: number, onClosed: () => void) {
    this.path = path
    this.caller = caller
    this.meshPort = meshPort
    this.onClosed = onClosed
    this.kept = new Kept(path.limits.bodyBufferBytes)
    this.down = new Downstream(wire, path.limits, this)
    this.deadlineAt = path.deadlines.now + path.timeouts.keepAliveMs
    path.deadlines.add(this)
  }

  /** The exchange in flight, if there is one: for /debug/exchanges. */
  get current(): Exchange | null {
    return this.exchange
  }

  /** Closes the connection if nothing is in flight. */
  closeIdle(): void {
    if (this.phase !== 'idle' || !this.down.isIdle) return
    this.down.close()
    this.deadlineAt = this.path.deadlines.now + lingerMs
  }

  /** Breaks off whatever is in flight. */
  abort(): void {
    this.down.wire.reset()
  }

  // --- what the caller sends

  onOpening(): boolean {
    return false
  }

  onHeadBegin(): void {
    if (this.phase === 'idle') this.deadlineAt = this.path.deadlines.now + this.path.timeouts.requestHeadMs
  }

  onRequest(): void {
    const { path, down } = this
    if (path.hasMoved(this.caller)) {
      this.abort()
      return
    }
    const exchange = this.begin()
    this.isRequestEnded = false
    this.isLast = !down.head.isKeepAlive
    const error =
      down.head.viaCount >= viaMost
        ? new MeshError('loop', `${down.head.viaCount} agents have passed it on`)
        : (path.destination(exchange, this.meshPort) ?? path.divide(exchange))
    if (error !== null) {
      this.refuse(error)
      return
    }
    const { policy, name, namespace } = exchange.port!.service
    const requestMs = policy.timeouts?.requestMs ?? Number.POSITIVE_INFINITY
    this.limitAt = path.deadlines.now + requestMs
    this.requestHead = requestText(down.head, {
      address: this.caller.address,
      defaultAuthority: `${name}.${namespace}`,
      lines: '',
    })
    this.attempt(false)
  }

  onBody(chunk: Buffer, start: number, end: number): void {
    this.kept.add(chunk, start, end)
    if (this.upstream === null) return
    this.setDeadline(this.path.timeouts.idleMs)
    if (!this.up.add(chunk, start, end)) this.down.hold()
  }

  onBodyText(text: string): void {
    this.kept.addText(text)
    this.up.addText(text)
  }

  onRequestEnd(): void {
    this.isRequestEnded = true
    if (this.phase === 'sent') this.awaitResponse()
  }

  onReadEnd(): void {
    this.flushUp()
  }

  onRefusal(error: MeshError): void {
    this.isLast = true
    if (this.exchange === null) this.begin()
    if (this.phase === 'responding') this.breakOff(error)
    else {
      this.dropAttempt()
      this.refuse(error)
    }
  }

  onGone(error: Error | null): void {
    this.path.deadlines.remove(this)
    if (this.exchange !== null) {
      this.dropAttempt()
      this.end(new MeshError('caller_gone', error?.message ?? ''))
    }
    this.onClosed()
  }

  onDrain(): void {
    this.upstream?.wire.resume()
  }

  // --- attempts

  private begin(): Exchange {
    const { path } = this
    this.exchange = new Exchange('outbound', path.snapshot(), this.caller, this.down.head, path.clock.now())
    this.phase = 'choosing'
    this.deadlineAt = Number.POSITIVE_INFINITY
    this.limitAt = Number.POSITIVE_INFINITY
    this.tried = null
    this.failure = null
    this.kept.start()
    return this.exchange
  }

  private attempt(isFresh: boolean): void {
    const { path } = this
    const exchange = this.exchange!
    const error = path.endpoint(exchange, this.tried)
    if (error !== null) {
      // Of a retry that finds no endpoint, the first attempt's failure is what the caller should learn.
      this.refuse(this.failure ?? error)
      return
    }
    exchange.attempts++
    exchange.attemptAt = path.clock.now()
    exchange.endpoint!.inFlight++
    this.token = path.fuse.begin(exchange)
    this.phase = 'choosing'
    this.deadlineAt = this.limitAt
    let isAnswered = false
    const cancel = path.hop.acquire(exchange, isFresh, (failure, upstream) => {
      isAnswered = true
      this.cancel = null
      if (failure === null) this.send(upstream!)
      else this.onAttemptFailed({ error: failure, status: 0, isSent: false })
    })
    if (isAnswered) return
    this.cancel = cancel
    if (!this.isRequestEnded) this.down.hold()
  }

  private send(upstream: Upstream): void {
    const { path, down } = this
    this.upstream = upstream
    this.phase = 'sent'
    upstream.start(this, down.head.method, down.head.version === 0)
    this.up.open(upstream.wire)
    this.up.addText(this.requestHead)
    for (const piece of this.kept.pieces) this.up.addBytes(piece)
    if (!path.isRepeatable(this.exchange!)) this.kept.drop()
    if (this.isRequestEnded || down.body.isDone) {
      this.flushUp()
      this.awaitResponse()
      return
    }
    this.setDeadline(path.timeouts.idleMs)
    down.release()
    if (!down.isReading) this.flushUp()
  }

  private awaitResponse(): void {
    const { port } = this.exchange!
    this.setDeadline(port!.service.policy.timeouts?.headMs ?? this.path.timeouts.firstByteMs)
  }

  private setDeadline(ms: number): void {
    this.deadlineAt = Math.min(this.limitAt, this.path.deadlines.now + ms)
  }

  private onAttemptFailed(failure: AttemptFailure): void {
    const { path } = this
    const exchange = this.exchange!
    const error = failure.error!
    if (error.blame === 'upstream') path.fuse.fail(exchange, this.token)
    else path.fuse.abandon(exchange, this.token)
    this.letGo()
    const delayMs = this.kept.isWhole ? path.retry(exchange, failure) : -1
    if (delayMs < 0) this.refuse(error)
    else this.tryAgain(error, delayMs)
  }

  private tryAgain(error: MeshError | null, delayMs: number): void {
    this.failure = error
    this.tried ??= []
    this.tried.push(this.exchange!.endpoint!)
    this.phase = 'choosing'
    this.deadlineAt = this.limitAt
    if (!this.isRequestEnded) this.down.hold()
    this.backoff = this.path.clock.setTimeout(() => {
      this.backoff = null
      this.attempt(true)
    }, delayMs)
  }

  /** Ends the attempt without an outcome. */
  private dropAttempt(): void {
    if (this.exchange!.attemptAt !== 0) this.path.fuse.abandon(this.exchange!, this.token)
    this.letGo()
  }

  /** Lets go of the attempt's connection and endpoint. */
  private letGo(): void {
    const exchange = this.exchange!
    const { upstream } = this
    this.cancel?.()
    this.cancel = null
    if (this.backoff !== null) this.path.clock.clearTimeout(this.backoff)
    this.backoff = null
    this.upstream = null
    this.up.open(null)
    upstream?.abandon()
    if (exchange.attemptAt !== 0) exchange.endpoint!.inFlight--
    exchange.attemptAt = 0
  }

  private flushUp(): void {
    if (!this.up.flush() && !this.isRequestEnded) this.down.hold()
  }

  // --- what the endpoint sends

  onInformational(head: ResponseHead): void {
    const { head: request } = this.down
    const isWanted = request.version === 1 && (head.status !== 100 || request.expectsContinue)
    if (isWanted) this.down.wire.writeText(informationalText(head))
  }

  onResponse(head: ResponseHead): void {
    const { path, down } = this
    const exchange = this.exchange!
    path.observe(exchange, head, path.clock.now())
    if (head.status >= 500) {
      path.fuse.fail(exchange, this.token)
      const delayMs = this.kept.isWhole ? path.retry(exchange, { error: null, status: head.status, isSent: true }) : -1
      if (delayMs >= 0) {
        this.letGo()
        this.tryAgain(null, delayMs)
        return
      }
    } else path.fuse.succeed(exchange, this.token)
    this.phase = 'responding'
    exchange.status = head.status
    this.kept.drop()
    const isDelimited = head.framing !== 'close' && (head.framing !== 'chunked' || down.head.version === 1)
    if (!isDelimited || !this.isRequestEnded || path.isDraining() || down.isHalfClosed) this.isLast = true
    this.setDeadline(path.timeouts.idleMs)
    this.back.open(down.wire)
    this.back.addText(responseText(head, down.head, this.isLast))
  }

  onUpstreamBody(chunk: Buffer, start: number, end: number): void {
    this.setDeadline(this.path.timeouts.idleMs)
    if (!this.back.add(chunk, start, end)) this.upstream?.wire.pause()
  }

  onUpstreamBodyText(text: string): void {
    this.back.addText(text)
  }

  onUpstreamReadEnd(): void {
    if (!this.back.flush()) this.upstream?.wire.pause()
  }

  onResponseEnd(): void {
    const { path } = this
    const exchange = this.exchange!
    const upstream = this.upstream!
    this.back.flush()
    this.upstream = null
    this.up.open(null)
    exchange.bytesDown = upstream.body.contentBytes
    exchange.endpoint!.inFlight--
    exchange.attemptAt = 0
    // A request that is still on its way makes the connection useless: its rest would be taken for the next request.
    if (this.isRequestEnded) path.hop.release(exchange.endpoint!, upstream)
    else upstream.abandon()
    this.end(null)
    this.finish(this.isLast)
  }

  onFailure(error: MeshError): void {
    if (this.phase === 'responding') this.breakOff(error)
    else this.onAttemptFailed({ error, status: 0, isSent: true })
  }

  onUpstreamDrain(): void {
    this.down.release()
  }

  // --- the end

  /** A response that was begun can't be finished: the caller must not take it for whole. */
  private breakOff(error: MeshError): void {
    this.letGo()
    this.end(error)
    this.down.wire.reset()
  }

  private refuse(error: MeshError): void {
    const { down } = this
    const { isGrpc, isHead, version } = down.head
    const isLast = this.isLast || this.path.isDraining() || !down.body.isDone || down.isHalfClosed || version === 0
    this.exchange!.status = error.status
    down.wire.writeText(refusal(error, { close: isLast, grpc: isGrpc, head: isHead }))
    this.end(error)
    this.finish(isLast)
  }

  private finish(isLast: boolean): void {
    this.down.finish(isLast)
    if (this.down.isClosing) this.deadlineAt = this.path.deadlines.now + lingerMs
  }

  /** Settles the exchange, once, and waits for the next. */
  private end(error: MeshError | null): void {
    const { path } = this
    const exchange = this.exchange!
    exchange.bytesUp = this.down.body.contentBytes
    if (error !== null) {
      exchange.reason = error.reason
      if (exchange.status === 0) exchange.status = error.status
    }
    path.settle(exchange, path.clock.now())
    this.exchange = null
    this.kept.drop()
    this.phase = 'idle'
    this.deadlineAt = path.deadlines.now + path.timeouts.keepAliveMs
  }

  onDeadline(): void {
    const { down, upstream } = this
    if (this.phase === 'idle') {
      if (down.isClosing) down.wire.destroy()
      else if (down.isIdle) this.closeIdle()
      else this.onRefusal(new MeshError('request_timeout', 'the head was not complete in time'))
    } else if (this.phase === 'responding') {
      const isStuckHere = down.wire.backlogBytes > 0
      this.breakOff(new MeshError(isStuckHere ? 'caller_gone' : 'upstream_timeout', 'the response stalled'))
    } else if (this.phase === 'sent' && !this.isRequestEnded && upstream!.wire.backlogBytes === 0) {
      this.onRefusal(new MeshError('request_timeout', 'the body was not complete in time'))
    } else {
      const error = new MeshError('upstream_timeout', `no response from ${this.exchange!.endpoint?.key ?? 'anywhere'}`)
      if (this.phase === 'sent') this.onAttemptFailed({ error, status: 0, isSent: true })
      else {
        this.dropAttempt()
        this.refuse(error)
      }
    }
  }
}
