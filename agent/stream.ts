// Carries an opaque connection between a caller and an endpoint, byte for byte: half-close, back-pressure and resets
// pass in both directions. One exchange from connect to close; the bytes are nobody's business. Both paths use it.

import { MeshError } from './errors.ts'
import { type Caller, Exchange } from './exchange.ts'
import type { Timed } from './http1/deadline.ts'
import { noHandler, type Wire, type WireHandler } from './http1/wire.ts'
import type { Connection } from './path.ts'
import { Reach, type WirePath } from './reach.ts'

export class Stream implements WireHandler, Timed, Connection {
  deadlineAt = Number.POSITIVE_INFINITY
  private readonly path: WirePath
  private readonly down: Wire
  private readonly exchange: Exchange
  private readonly onClosed: () => void
  private readonly reach: Reach
  private up: Wire | null = null
  /** Ends what is still being decided before the first attempt. */
  private cancel: (() => void) | null = null
  /** The caller has closed its side before the endpoint was reached. */
  private hasEnded = false
  private isOver = false
  private early: Buffer | null = null

  /**
   * @param meshPort the mesh port of the connection: it alone says which service is meant
   * @param onClosed called once, when the caller's side is closed
   */
  constructor(path: WirePath, wire: Wire, caller: Caller, meshPort: number, onClosed: () => void) {
    this.path = path
    this.down = wire
    this.onClosed = onClosed
    this.exchange = new Exchange(path.direction, path.snapshot(), caller, null, path.clock.now())
    this.reach = new Reach(path, this.exchange, (error, up) => (error === null ? this.join(up!) : this.fail(error)))
    wire.handler = this
    wire.pause()
    path.deadlines.add(this)
    let isDecided = false
    const cancel = path.route(this.exchange, meshPort, (verdict) => {
      isDecided = true
      this.cancel = null
      if (verdict === null) this.reach.start()
      else this.fail(verdict instanceof MeshError ? verdict : new MeshError('internal', 'a redirect without HTTP'))
    })
    if (!isDecided) this.cancel = cancel
  }

  get current(): Exchange | null {
    return this.isOver ? null : this.exchange
  }

  /** An opaque connection is never idle: nobody knows what it waits for. */
  closeIdle(): void {}

  abort(): void {
    this.down.reset()
  }

  recheck(): void {
    if (this.isOver || this.up === null) return
    if (this.path.isStale(this.exchange.caller)) this.abort()
    else {
      const error = this.path.permitted(this.exchange)
      if (error !== null) this.fail(error)
    }
  }

  // --- what the caller sends

  onBytes(chunk: Buffer, start: number, end: number): void {
    this.exchange.bytesUp += end - start
    if (this.up === null) {
      // What was read before the connection was known to be opaque.
      this.early = Buffer.copyBytesFrom(chunk, start, end - start)
      return
    }
    this.touch()
    if (!this.up.writeCopy(chunk, start, end)) this.down.pause()
  }

  onEnd(): void {
    this.hasEnded = true
    this.up?.end()
  }

  onDrain(): void {
    this.up?.resume()
  }

  onClose(error: Error | null): void {
    const isCut = error !== null || !this.hasEnded
    this.settle(isCut && this.exchange.reason === null ? new MeshError('caller_gone', error?.message ?? '') : null)
    const { up } = this
    if (up !== null) {
      up.handler = noHandler
      // A caller that broke off must not look like one that was done.
      if (isCut) up.reset()
      else up.end()
    }
    this.onClosed()
  }

  // --- the endpoint

  private join(wire: Wire): void {
    this.up = wire
    this.reach.judge('succeed')
    wire.handler = {
      onBytes: (chunk, start, end) => {
        this.exchange.bytesDown += end - start
        this.touch()
        if (!this.down.writeCopy(chunk, start, end)) wire.pause()
      },
      onEnd: () => this.down.end(),
      onDrain: () => this.down.resume(),
      onClose: (error) => {
        if (error === null || this.isOver) return
        this.settle(new MeshError('upstream_reset', error.message))
        this.down.reset()
      },
    }
    this.touch()
    const isSlow = this.early !== null && !wire.writeBytes(this.early)
    this.early = null
    if (this.hasEnded) wire.end()
    if (!isSlow) this.down.resume()
  }

  private touch(): void {
    const idleMs = this.exchange.port?.service.policy.timeouts?.idleMs ?? this.path.timeouts.idleMs
    this.deadlineAt = this.path.deadlines.now + idleMs
  }

  onDeadline(): void {
    this.settle(new MeshError('upstream_timeout', 'no byte in either direction for too long'))
    this.down.reset()
  }

  // --- the end

  private fail(error: MeshError): void {
    this.settle(error)
    this.down.reset()
  }

  private settle(error: MeshError | null): void {
    if (this.isOver) return
    this.isOver = true
    const { exchange, path } = this
    path.deadlines.remove(this)
    this.cancel?.()
    this.cancel = null
    this.reach.leave()
    exchange.reason = error?.reason ?? null
    path.settle(exchange, path.clock.now())
  }
}
