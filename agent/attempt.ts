// The endpoint's half of a relay: makes attempts, sends the request, hands the response back. Used by both paths.

import type { Timer } from './clock.ts'
import { MeshError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import type { Downstream } from './http1/downstream.ts'
import { Kept } from './http1/kept.ts'
import { Outbox } from './http1/outbox.ts'
import type { ResponseHead } from './http1/status.ts'
import type { Upstream, UpstreamHandler } from './http1/upstream.ts'
import { informationalText } from './http1/write.ts'
import type { Endpoint } from './mesh/endpoint.ts'
import type { AttemptFailure, HttpPath } from './path.ts'

/** The caller's half, as this one sees it. */
export interface AttemptOwner {
  deadlineAt: number
  /** The caller's whole request has been read. */
  readonly isRequestEnded: boolean
  /** The connection is closed after this response. */
  isLast: boolean
  /** No (further) attempt is made: the caller gets this error. */
  onFailed(error: MeshError): void
  /** A response that was begun can't be finished. */
  onBroken(error: MeshError): void
  /** The response is written. */
  onAnswered(): void
}

/** `choosing`: up to a connection, or waiting to try again. `sent`: to the response's head. */
export type AttemptPhase = 'none' | 'choosing' | 'sent' | 'responding'

export class Attempts implements UpstreamHandler {
  phase: AttemptPhase = 'none'
  upstream: Upstream | null = null
  private readonly path: HttpPath
  private readonly down: Downstream
  private readonly owner: AttemptOwner
  private readonly kept: Kept
  private readonly up = new Outbox()
  private readonly back = new Outbox()
  private exchange: Exchange | null = null
  private token = 0
  private tried: Endpoint[] | null = null
  /** Why the last attempt failed. */
  private failure: MeshError | null = null
  private cancel: (() => void) | null = null
  private backoff: Timer | null = null
  private requestHead = ''
  private idleMs = 0
  private headMs = 0

  constructor(path: HttpPath, down: Downstream, owner: AttemptOwner) {
    this.path = path
    this.down = down
    this.owner = owner
    this.kept = new Kept(path.limits.bodyBufferBytes)
  }

  /** Begins with an exchange whose route is decided. */
  start(exchange: Exchange): void {
    const { path } = this
    this.exchange = exchange
    this.tried = null
    this.failure = null
    this.kept.start()
    const policy = exchange.port?.service.policy
    const timeouts = policy?.timeouts
    exchange.limitAt = path.deadlines.now + path.requestMs(exchange)
    this.idleMs = timeouts?.idleMs ?? path.timeouts.idleMs
    this.headMs = policy?.retry?.perTryMs ?? timeouts?.headMs ?? path.timeouts.firstByteMs
    this.requestHead = path.requestText(exchange)
    this.attempt(false)
  }

  /** A piece of the request's body. */
  add(chunk: Buffer, start: number, end: number): void {
    this.kept.add(chunk, start, end)
    if (this.upstream === null) return
    this.setDeadline(this.idleMs)
    if (!this.up.add(chunk, start, end)) this.down.hold()
  }

  addText(text: string): void {
    this.kept.addText(text)
    this.up.addText(text)
  }

  /** The request is whole. */
  onRequestEnd(): void {
    if (this.phase === 'sent') this.awaitResponse()
  }

  flush(): void {
    if (!this.up.flush() && !this.owner.isRequestEnded) this.down.hold()
  }

  /** Ends without an outcome: the caller is gone, or what it sent is flawed. */
  drop(): void {
    if (this.exchange === null) return
    if (this.exchange.attemptAt !== 0) this.path.fuse.abandon(this.exchange, this.token)
    this.letGo()
    this.finish()
  }

  private attempt(isFresh: boolean): void {
    const { path } = this
    const exchange = this.exchange!
    this.phase = 'choosing'
    const error = path.endpoint(exchange, this.tried)
    if (error !== null) {
      // Of a retry that finds no endpoint, the first attempt's failure is what the caller should learn.
      this.giveUp(this.failure ?? error)
      return
    }
    exchange.attempts++
    exchange.attemptAt = path.clock.now()
    exchange.endpoint!.inFlight++
    this.token = path.fuse.begin(exchange)
    this.owner.deadlineAt = exchange.limitAt
    let isAnswered = false
    const cancel = path.hop.acquire(exchange, isFresh, (failure, upstream) => {
      isAnswered = true
      this.cancel = null
      if (failure === null) this.send(upstream!)
      else this.onAttemptFailed({ error: failure, status: 0, isSent: false })
    })
    if (isAnswered) return
    this.cancel = cancel
    if (!this.owner.isRequestEnded) this.down.hold()
  }

  private send(upstream: Upstream): void {
    const { path, down } = this
    this.upstream = upstream
    this.phase = 'sent'
    upstream.start(this, down.head.method, down.head.version === 0)
    this.up.open(upstream.wire)
    this.up.addText(`${this.requestHead}${path.hopText(this.exchange!)}\r\n`)
    for (const piece of this.kept.pieces) this.up.addBytes(piece)
    if (!path.isRepeatable(this.exchange!)) this.kept.drop()
    if (this.owner.isRequestEnded || down.body.isDone) {
      this.up.flush()
      this.awaitResponse()
      return
    }
    this.setDeadline(this.idleMs)
    down.release()
    if (!down.isReading) this.flush()
  }

  private awaitResponse(): void {
    this.setDeadline(this.headMs)
  }

  private setDeadline(ms: number): void {
    this.owner.deadlineAt = Math.min(this.exchange!.limitAt, this.path.deadlines.now + ms)
  }

  private onAttemptFailed(failure: AttemptFailure): void {
    const { path } = this
    const exchange = this.exchange!
    const error = failure.error!
    if (error.blame === 'upstream') {
      path.unanswered(exchange)
      path.fuse.fail(exchange, this.token)
    } else path.fuse.abandon(exchange, this.token)
    this.letGo()
    const delayMs = this.kept.isWhole ? path.retry(exchange, failure) : -1
    if (delayMs < 0) this.giveUp(error)
    else this.tryAgain(error, delayMs)
  }

  private tryAgain(error: MeshError | null, delayMs: number): void {
    this.failure = error
    this.tried ??= []
    this.tried.push(this.exchange!.endpoint!)
    this.phase = 'choosing'
    this.owner.deadlineAt = this.exchange!.limitAt
    if (!this.owner.isRequestEnded) this.down.hold()
    this.backoff = this.path.clock.setTimeout(() => {
      this.backoff = null
      this.attempt(true)
    }, delayMs)
  }

  private giveUp(error: MeshError): void {
    this.finish()
    this.owner.onFailed(error)
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

  private finish(): void {
    this.phase = 'none'
    this.exchange = null
    this.kept.drop()
  }

  /** The owner's deadline has passed while an attempt is going on. */
  onDeadline(): void {
    const { upstream } = this
    if (this.phase === 'responding') {
      const isStuckHere = this.down.wire.backlogBytes > 0
      this.breakOff(new MeshError(isStuckHere ? 'caller_gone' : 'upstream_timeout', 'the response stalled'))
    } else if (this.phase === 'sent' && !this.owner.isRequestEnded && upstream!.wire.backlogBytes === 0) {
      this.drop()
      this.owner.onFailed(new MeshError('request_timeout', 'the body was not complete in time'))
    } else {
      const where = this.exchange!.endpoint?.key ?? 'anywhere'
      const error = new MeshError('upstream_timeout', `no response from ${where}`)
      if (this.phase === 'sent') this.onAttemptFailed({ error, status: 0, isSent: true })
      else {
        this.drop()
        this.owner.onFailed(error)
      }
    }
  }

  // --- what the endpoint sends

  onInformational(head: ResponseHead): void {
    const { head: request } = this.down
    const isWanted = request.version === 1 && (head.status !== 100 || request.expectsContinue)
    if (isWanted) this.down.wire.writeText(informationalText(head))
  }

  onResponse(head: ResponseHead): void {
    const { path, down, owner } = this
    const exchange = this.exchange!
    if (path.observe(exchange, head, path.clock.now())) path.fuse.succeed(exchange, this.token)
    else path.fuse.fail(exchange, this.token)
    if (head.status >= 400) {
      const delayMs = this.kept.isWhole ? path.retry(exchange, { error: null, status: head.status, isSent: true }) : -1
      if (delayMs >= 0) {
        this.letGo()
        this.tryAgain(null, delayMs)
        return
      }
    }
    this.phase = 'responding'
    exchange.status = head.status
    this.kept.drop()
    const isDelimited = head.framing !== 'close' && (head.framing !== 'chunked' || down.head.version === 1)
    // A stream of the tunnel ends with the pod's connection.
    if (path.direction === 'inbound' && !head.isKeepAlive) owner.isLast = true
    if (!isDelimited || !owner.isRequestEnded || path.isDraining() || down.isHalfClosed) owner.isLast = true
    this.setDeadline(this.idleMs)
    this.back.open(down.wire)
    this.back.addText(path.responseText(exchange, head, owner.isLast))
  }

  onUpstreamBody(chunk: Buffer, start: number, end: number): void {
    this.setDeadline(this.idleMs)
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
    if (this.owner.isRequestEnded) path.hop.release(exchange, upstream)
    else upstream.abandon()
    this.finish()
    this.owner.onAnswered()
  }

  onFailure(error: MeshError): void {
    if (this.phase === 'responding') this.breakOff(error)
    else this.onAttemptFailed({ error, status: 0, isSent: true })
  }

  onUpstreamDrain(): void {
    this.down.release()
  }

  private breakOff(error: MeshError): void {
    this.letGo()
    this.finish()
    this.owner.onBroken(error)
  }
}
