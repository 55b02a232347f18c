// A connection that leaves HTTP/1.1 for another protocol (WebSocket and others): reaches the endpoint, has the switch
// made, and watches over what follows: idle time, draining, bytes. One exchange from request to close.

import { MeshError, meshError, refusal } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { Timed } from '../http1/deadline.ts'
import { noHandler, type Wire } from '../http1/wire.ts'
import type { Connection, PathBase } from '../path.ts'
import type { WireDuplex } from './duplex.ts'

/** How long a refused caller may take to close its side. */
const lingerMs = 2_000

export interface UpgradePath extends PathBase {
  /** Opens a wire to the exchange's endpoint. */
  connect(exchange: Exchange, done: (error: MeshError | null, wire: Wire | null) => void): () => void
}

export class Upgrade implements Timed, Connection {
  deadlineAt: number
  private readonly path: UpgradePath
  private readonly exchange: Exchange
  private readonly wire: Wire
  private readonly head: string
  private readonly done: () => void
  private cancel: (() => void) | null = null
  private token = 0
  private isAnswered = false
  private isSwitched = false
  private isOver = false
  private down: WireDuplex | null = null

  /**
   * @param wire the caller's, which nobody else uses any more
   * @param head the request's head with its Connection and Upgrade lines, without its empty line
   * @param done called once, when all is over
   */
  constructor(path: UpgradePath, exchange: Exchange, wire: Wire, head: string, done: () => void) {
    this.path = path
    this.exchange = exchange
    this.wire = wire
    this.head = head
    this.done = done
    const timeouts = exchange.port?.service.policy.timeouts
    this.deadlineAt = path.deadlines.now + (timeouts?.headMs ?? path.timeouts.firstByteMs)
    path.deadlines.add(this)
    wire.handler = {
      ...noHandler,
      onClose: (error) => this.end(new MeshError('caller_gone', error?.message ?? '')),
    }
    wire.pause()
    this.reach()
  }

  /** Nobody knows whether it is idle. */
  closeIdle(): void {}

  abort(): void {
    this.wire.reset()
  }

  recheck(): void {
    if (this.isOver || !this.isSwitched) return
    const error = this.path.permitted(this.exchange)
    if (error === null) return
    this.end(error)
    this.wire.reset()
  }

  private reach(): void {
    const { path, exchange } = this
    const error = path.endpoint(exchange, null)
    if (error !== null) {
      this.refuse(error)
      return
    }
    exchange.attempts++
    exchange.attemptAt = path.clock.now()
    exchange.endpoint!.inFlight++
    this.token = path.fuse.begin(exchange)
    this.cancel = path.connect(exchange, (failure, wire) => {
      this.cancel = null
      if (failure === null) void this.negotiate(wire!)
      else {
        path.fuse.fail(exchange, this.token)
        this.isAnswered = true
        this.refuse(failure)
      }
    })
  }

  private async negotiate(upWire: Wire): Promise<void> {
    try {
      const [{ WireDuplex: Wrapped }, { switchProtocols }] = await Promise.all([
        import('./duplex.ts'),
        import('./switch.ts'),
      ])
      if (this.isOver) {
        upWire.destroy()
        return
      }
      const down = new Wrapped(this.wire, () => this.touch())
      const up = new Wrapped(upWire, () => this.touch())
      this.down = down
      // Errors on either side end in 'close', which is what counts.
      down.on('error', () => {})
      up.on('error', () => {})
      down.once('close', () => this.end(this.isAnswered ? null : new MeshError('caller_gone')))
      switchProtocols(down, up, `${this.head}${this.path.hopText(this.exchange)}\r\n`, {
        onSwitched: () => this.answered(101, true),
        onRefused: (status) => this.answered(status, false),
        onFailed: (error) => this.refuse(new MeshError('upstream_reset', error.message, { cause: error })),
      })
    } catch (thrown) {
      upWire.destroy()
      this.refuse(meshError(thrown))
    }
  }

  private answered(status: number, isSwitched: boolean): void {
    const { exchange, path } = this
    this.isAnswered = true
    this.isSwitched = isSwitched
    exchange.status = status
    if (status >= 500) path.fuse.fail(exchange, this.token)
    else path.fuse.succeed(exchange, this.token)
    this.touch()
  }

  private touch(): void {
    if (!this.isAnswered) return
    const idleMs = this.exchange.port?.service.policy.timeouts?.idleMs ?? this.path.timeouts.idleMs
    this.deadlineAt = this.path.deadlines.now + idleMs
  }

  onDeadline(): void {
    if (this.isAnswered) {
      this.end(new MeshError('upstream_timeout', 'no byte in either direction for too long'))
      this.wire.reset()
    } else this.refuse(new MeshError('upstream_timeout', 'no answer to the upgrade'))
  }

  private refuse(error: MeshError): void {
    if (this.isOver || this.isSwitched) return
    this.exchange.status = error.status
    this.wire.writeText(refusal(error, { close: true }))
    this.wire.resume()
    this.wire.end()
    this.path.clock.setTimeout(() => this.wire.destroy(), lingerMs).unref()
    this.end(error)
  }

  private end(error: MeshError | null): void {
    if (this.isOver) return
    this.isOver = true
    const { exchange, path, down } = this
    path.deadlines.remove(this)
    this.cancel?.()
    if (exchange.attemptAt !== 0) {
      if (!this.isAnswered) path.fuse.abandon(exchange, this.token)
      exchange.endpoint!.inFlight--
      exchange.attemptAt = 0
    }
    exchange.bytesUp = down?.bytesRead ?? 0
    exchange.bytesDown = down?.bytesWritten ?? 0
    if (error !== null) {
      exchange.reason = error.reason
      if (exchange.status === 0) exchange.status = error.status
    }
    this.done()
  }
}
