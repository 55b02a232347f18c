// Carries the exchanges of one caller's connection, one after the other: this is the caller's half, attempt.ts the
// endpoint's. Both paths use it (outbound/relay.ts, inbound/relay.ts); what is decided on the way is their affair.

import { type AttemptOwner, Attempts } from './attempt.ts'
import { MeshError, refusal } from './errors.ts'
import { type Caller, Exchange } from './exchange.ts'
import type { Timed } from './http1/deadline.ts'
import { Downstream, type DownstreamHandler } from './http1/downstream.ts'
import { latin1 } from './http1/latin1.ts'
import type { Wire } from './http1/wire.ts'
import { answerText } from './http1/write.ts'
import type { Answer, Connection, HttpPath, Verdict } from './path.ts'

/** How long a closed connection may take to be closed by the caller too. */
const lingerMs = 2_000
/** A request that has passed so many agents of the mesh goes in a circle. */
const viaMost = 8
const preface = 'PRI * HT'
/** First byte of a TLS record that carries a handshake (RFC 8446 section 5.1). */
const tlsHandshake = 0x16

export class Relay implements DownstreamHandler, AttemptOwner, Timed, Connection {
  deadlineAt: number
  isRequestEnded = false
  isLast = false
  private readonly path: HttpPath
  private readonly down: Downstream
  private readonly attempts: Attempts
  private readonly caller: Caller
  private readonly meshPort: number
  private readonly onClosed: () => void
  private exchange: Exchange | null = null
  private cancel: (() => void) | null = null
  /** What has taken the wire over. */
  private successor: Connection | null = null

  /**
   * @param meshPort the mesh port of the connection; 0 for the entry port
   * @param onClosed called once, when the connection is closed
   */
  constructor(path: HttpPath, wire: Wire, caller: Caller, meshPort: number, onClosed: () => void) {
    this.path = path
    this.caller = caller
    this.meshPort = meshPort
    this.onClosed = onClosed
    this.down = new Downstream(wire, path.limits, this)
    this.attempts = new Attempts(path, this.down, this)
    this.deadlineAt = path.deadlines.now + path.timeouts.keepAliveMs
    path.deadlines.add(this)
    wire.resume()
  }

  get current(): Exchange | null {
    return this.exchange ?? this.successor?.current ?? null
  }

  closeIdle(): void {
    if (this.successor !== null) this.successor.closeIdle()
    else if (this.exchange === null && this.down.isIdle) {
      this.down.close()
      this.deadlineAt = this.path.deadlines.now + lingerMs
    }
  }

  abort(): void {
    if (this.successor !== null) this.successor.abort()
    else this.down.wire.reset()
  }

  /** Each request is permitted on its own; only what has left HTTP lives longer than a decision. */
  recheck(): void {
    if (this.path.isStale(this.caller)) this.abort()
    else this.successor?.recheck()
  }

  /** Nothing more is read as requests. */
  get isClosing(): boolean {
    return this.down.isClosing
  }

  // --- what the caller sends

  onOpening(chunk: Buffer, start: number, end: number): boolean {
    const isTls = chunk[start] === tlsHandshake
    const isH2 = end - start >= preface.length && latin1(chunk, start, start + preface.length) === preface
    if (!isTls && !isH2) return false
    const { path, down } = this
    const rest = Buffer.copyBytesFrom(chunk, start, end - start)
    path.deadlines.remove(this)
    this.successor = path.opening(isTls ? 'tls' : 'h2', down.wire, this.caller, this.meshPort, this.onClosed)
    if (this.successor === null) {
      down.wire.reset()
      this.onClosed()
    } else down.wire.handler.onBytes(rest, 0, rest.length)
    return true
  }

  onHeadBegin(): void {
    if (this.exchange === null) this.deadlineAt = this.path.deadlines.now + this.path.timeouts.requestHeadMs
  }

  onRequest(): void {
    const { path, down } = this
    if (path.isStale(this.caller)) {
      this.abort()
      return
    }
    const exchange = this.begin()
    this.isRequestEnded = down.body.isDone
    this.isLast = !down.head.isKeepAlive
    if (down.head.viaCount >= viaMost) {
      this.onFailed(new MeshError('loop', `${down.head.viaCount} agents have passed it on`))
      return
    }
    let isDecided = false
    const cancel = path.route(exchange, this.meshPort, (verdict) => {
      isDecided = true
      this.cancel = null
      this.onVerdict(exchange, verdict)
    })
    if (isDecided) return
    this.cancel = cancel
    if (!this.isRequestEnded) down.hold()
  }

  private onVerdict(exchange: Exchange, verdict: Verdict): void {
    if (verdict instanceof MeshError) this.onFailed(verdict)
    else if (verdict !== null) this.answer(verdict)
    else if (this.down.head.upgrade !== '') this.upgrade(exchange)
    else this.attempts.start(exchange)
  }

  onBody(chunk: Buffer, start: number, end: number): void {
    this.path.onRequestBody?.(this.exchange!, chunk, start, end)
    this.attempts.add(chunk, start, end)
  }

  onBodyText(text: string): void {
    this.path.onRequestBody?.(this.exchange!, Buffer.from(text, 'latin1'), 0, text.length)
    this.attempts.addText(text)
  }

  onRequestEnd(): void {
    this.isRequestEnded = true
    this.path.onRequestBody?.(this.exchange!, null, 0, 0)
    this.attempts.onRequestEnd()
  }

  onReadEnd(): void {
    this.attempts.flush()
  }

  onRefusal(error: MeshError): void {
    this.isLast = true
    if (this.exchange === null) this.begin()
    const isResponding = this.attempts.phase === 'responding'
    this.stopWaiting()
    if (isResponding) this.onBroken(error)
    else this.onFailed(error)
  }

  onGone(error: Error | null): void {
    this.path.deadlines.remove(this)
    this.stopWaiting()
    if (this.exchange !== null) this.end(new MeshError('caller_gone', error?.message ?? ''))
    this.onClosed()
  }

  onDrain(): void {
    this.attempts.upstream?.wire.resume()
  }

  private begin(): Exchange {
    const { path } = this
    this.exchange = new Exchange(path.direction, path.snapshot(), this.caller, this.down.head, path.clock.now())
    this.deadlineAt = Number.POSITIVE_INFINITY
    return this.exchange
  }

  private stopWaiting(): void {
    this.cancel?.()
    this.cancel = null
    this.attempts.drop()
  }

  /** Leaves HTTP: from here on the connection is its successor's. */
  private upgrade(exchange: Exchange): void {
    const { path, down } = this
    const head = path.requestText(exchange)
    path.deadlines.remove(this)
    const rest = down.detach()
    this.successor = path.upgrade(exchange, down.wire, head, () => {
      this.exchange = null
      this.onClosed()
    })
    if (rest !== null) down.wire.handler.onBytes(rest, 0, rest.length)
  }

  // --- the end

  onFailed(error: MeshError): void {
    const { down } = this
    const { isGrpc, isHead } = down.head
    const isLast = this.isLastAnswer()
    this.exchange!.status = error.status
    down.wire.writeText(refusal(error, { close: isLast, grpc: isGrpc, head: isHead }))
    this.end(error)
    this.finish(isLast)
  }

  /** A response by the service's policy. */
  private answer({ status, phrase, lines }: Answer): void {
    const isLast = this.isLastAnswer()
    this.exchange!.status = status
    this.down.wire.writeText(answerText(status, phrase, lines, isLast))
    this.end(null)
    this.finish(isLast)
  }

  /** Whether the connection ends with an answer that is given before the request was read. */
  private isLastAnswer(): boolean {
    const { down } = this
    return this.isLast || this.path.isDraining() || !down.body.isDone || down.isHalfClosed || down.head.version === 0
  }

  onBroken(error: MeshError): void {
    this.end(error)
    // The caller must not take what it has for a whole response.
    this.down.wire.reset()
  }

  onAnswered(): void {
    this.end(null)
    this.finish(this.isLast)
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
    this.deadlineAt = path.deadlines.now + path.timeouts.keepAliveMs
  }

  onDeadline(): void {
    const { down } = this
    if (this.attempts.phase !== 'none') this.attempts.onDeadline()
    else if (down.isClosing) down.wire.destroy()
    else if (down.isIdle) this.closeIdle()
    else this.onRefusal(new MeshError('request_timeout', 'the head was not complete in time'))
  }
}
