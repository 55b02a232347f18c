// A connection that leaves HTTP/1.1 for another protocol (WebSocket and others): reaches the endpoint, has the switch
// made, and watches over what follows: idle time, draining, bytes. One exchange from request to close.

import type { IncomingMessage } from 'node:http'
import { headerPlan } from '../edit/headers.ts'
import { MeshError, meshError, type Reason, reasons, refusal } from '../errors.ts'
import { type Exchange, isSlow } from '../exchange.ts'
import type { Timed } from '../http1/deadline.ts'
import type { Wire, WireHandler } from '../http1/wire.ts'
import type { Connection } from '../path.ts'
import { Reach, verdictOn, type WirePath } from '../reach.ts'
import type { WireDuplex } from './duplex.ts'

/** How long a caller that was answered may take to close its side. */
const lingerMs = 2_000

/** What is needed for the first upgrade only: http-proxy takes 15 MB. */
const loadParts = async () => ({
  ...(await import('./duplex.ts')),
  ...(await import('./refuse.ts')),
  ...(await import('./switch.ts')),
})
type Parts = Awaited<ReturnType<typeof loadParts>>
let parts: Parts | null = null

export interface UpgradePath extends WirePath {
  /** Whether the endpoint is reached through another agent, whose word on its own failures counts. */
  isTunnelled?(exchange: Exchange): boolean
}

/**
 * `reaching`: up to a connection. `asking`: up to the endpoint's answer. Then it has `switched`, or a refusal is being
 * `passed` on, or the mesh's own has been written and it is `closing`.
 */
type Phase = 'reaching' | 'asking' | 'switched' | 'passing' | 'closing'

export class Upgrade implements WireHandler, Timed, Connection {
  deadlineAt: number
  private readonly path: UpgradePath
  private readonly exchange: Exchange
  private readonly wire: Wire
  private readonly head: string
  private readonly done: () => void
  private readonly reach: Reach
  private phase: Phase = 'reaching'
  /** Ends what goes on with the endpoint's wire until it has answered. */
  private cancel: (() => void) | null = null
  /** Bytes have come before the endpoint has answered. */
  private isHasty = false
  private isSettled = false
  private isDone = false
  private down: WireDuplex | null = null
  private up: WireDuplex | null = null

  /**
   * @param wire the caller's, which nobody else uses any more
   * @param head the request's head with its Connection and Upgrade lines, without its empty line
   * @param done called once, when the caller's wire is closed; the exchange is settled by then
   */
  constructor(path: UpgradePath, exchange: Exchange, wire: Wire, head: string, done: () => void) {
    this.path = path
    this.exchange = exchange
    this.wire = wire
    this.head = head
    this.done = done
    this.reach = new Reach(path, exchange, (error, up) => (error === null ? this.ask(up!) : this.fail(error)))
    const timeouts = exchange.port?.service.policy.timeouts
    this.deadlineAt = path.deadlines.now + (timeouts?.headMs ?? path.timeouts.firstByteMs)
    path.deadlines.add(this)
    wire.handler = this
    // Read while waiting: a paused wire shows neither FIN nor RST.
    wire.resume()
    this.reach.start()
  }

  get current(): Exchange | null {
    return this.isSettled ? null : this.exchange
  }

  /** Nobody knows whether it is idle. */
  closeIdle(): void {}

  abort(): void {
    this.wire.reset()
  }

  recheck(): void {
    if (this.phase !== 'switched' || this.isSettled) return
    const error = this.path.permitted(this.exchange)
    if (error === null) return
    this.settle(error.reason)
    this.wire.reset()
  }

  // --- the caller, until the switch

  /** Bytes before the 101 are never passed on: they may be a request in disguise, meant for after a refusal. */
  onBytes(): void {
    this.isHasty = true
  }

  /** Who has ended already can't switch. */
  onEnd(): void {
    if (this.phase !== 'closing') this.wire.destroy()
  }

  onDrain(): void {}

  onClose(error: Error | null): void {
    if (!this.isSettled) this.exchange.status = 499
    this.settle('caller_gone')
    this.letGo(error ?? new Error('the caller has gone'))
    this.close()
  }

  // --- the endpoint

  private ask(wire: Wire): void {
    this.phase = 'asking'
    if (parts !== null) {
      this.begin(parts, wire)
      return
    }
    wire.pause()
    this.cancel = () => wire.reset()
    loadParts().then(
      (loaded) => {
        parts = loaded
        if (this.phase === 'asking') this.begin(loaded, wire)
      },
      (thrown: unknown) => this.fail(meshError(thrown)),
    )
  }

  private begin({ WireDuplex: Wrapped, passRefusal, switchProtocols }: Parts, wire: Wire): void {
    const touch = () => this.touch()
    const down = new Wrapped(this.wire, touch)
    const up = new Wrapped(wire, touch).open()
    this.down = down
    this.up = up
    down.on('error', () => this.onBroken('caller_gone'))
    up.on('error', () => this.onBroken('upstream_reset'))
    down.once('close', () => this.onDownClosed(down))
    this.cancel = switchProtocols({
      down,
      up,
      head: `${this.head}${this.path.hopText(this.exchange)}\r\n`,
      onSwitched: () => this.onSwitched(),
      onRefused: (response) => {
        this.answered('passing', response.statusCode!)
        this.readReason(response)
        this.pass(passRefusal, response, down.open())
      },
      onFailed: (error) => this.onUnanswered(error),
    })
  }

  /** Without what the caller has sent too early, the stream would be another than it means. */
  private onSwitched(): MeshError | null {
    if (this.isHasty) return new MeshError('bad_request', 'bytes came before the switch was agreed to')
    this.answered('switched', 101)
    return null
  }

  private answered(phase: Phase, status: number): void {
    this.phase = phase
    this.cancel = null
    const { exchange, path } = this
    exchange.status = status
    this.reach.judge(status >= 500 || isSlow(exchange, path.clock.now()) ? 'fail' : 'succeed')
    this.touch()
  }

  /** Another agent's refusal has a reason, which is the exchange's. */
  private readReason({ headers }: IncomingMessage): void {
    const given = headers['x-weft-error']
    const known = reasons.find((reason) => reason === given)
    if (known !== undefined && this.isTunnelled()) this.exchange.reason = known
  }

  private pass(passRefusal: Parts['passRefusal'], response: IncomingMessage, down: WireDuplex): void {
    const { direction } = this.path
    const edits = direction === 'outbound' ? this.exchange.port?.service.policy.headers?.response : undefined
    const plan = headerPlan(edits)
    const cuts = this.isTunnelled() ? plan.cuts : [...plan.cuts, 'x-weft-error']
    // What the caller still sends is nobody's.
    down.resume()
    passRefusal(response, down, cuts, plan.lines, () => {
      // An orderly end: another agent would take a close for a reset.
      this.up!.end()
      this.up!.resume()
      this.settle(null)
      this.phase = 'closing'
      this.deadlineAt = this.path.deadlines.now + lingerMs
    })
  }

  private isTunnelled(): boolean {
    return this.path.isTunnelled?.(this.exchange) ?? false
  }

  private onUnanswered(error: MeshError): void {
    this.reach.judge(verdictOn(error))
    this.fail(error)
  }

  private touch(): void {
    if (this.phase !== 'switched' && this.phase !== 'passing') return
    const idleMs = this.exchange.port?.service.policy.timeouts?.idleMs ?? this.path.timeouts.idleMs
    this.deadlineAt = this.path.deadlines.now + idleMs
  }

  // --- the end

  onDeadline(): void {
    if (this.phase === 'closing') this.wire.destroy()
    else if (this.phase === 'reaching') this.fail(new MeshError('upstream_timeout', 'no connection in time'))
    else if (this.phase === 'asking') {
      this.onUnanswered(
        new MeshError('upstream_timeout', `no answer to the upgrade from ${this.exchange.endpoint!.key}`),
      )
    } else {
      this.settle('upstream_timeout')
      this.wire.reset()
    }
  }

  /** One of the two sides has broken off; the other is broken off, too. */
  private onBroken(reason: Reason): void {
    if (this.phase === 'switched' || this.phase === 'passing') this.settle(reason)
  }

  private onDownClosed(down: WireDuplex): void {
    // Given back: the mesh's own refusal is on the wire.
    if (this.wire.handler !== down) return
    this.settle(null)
    this.close()
  }

  /** Answers the caller with the mesh's own refusal. */
  private fail(error: MeshError): void {
    if (this.phase !== 'reaching' && this.phase !== 'asking') return
    const { exchange, wire, path } = this
    this.phase = 'closing'
    this.letGo(error)
    wire.handler = this
    exchange.status = error.status
    wire.writeText(refusal(error, { close: true }))
    wire.end()
    this.deadlineAt = path.deadlines.now + lingerMs
    this.settle(error.reason)
  }

  /** The endpoint's connection goes, whatever it is doing. */
  private letGo(error: Error): void {
    this.cancel?.()
    this.cancel = null
    this.down?.release()
    this.up?.destroy(error)
  }

  private settle(reason: Reason | null): void {
    if (this.isSettled) return
    this.isSettled = true
    const { exchange, path } = this
    this.reach.leave()
    exchange.bytesUp = this.down?.bytesRead ?? 0
    exchange.bytesDown = this.down?.bytesWritten ?? 0
    exchange.reason ??= reason
    path.settle(exchange, path.clock.now())
  }

  private close(): void {
    if (this.isDone) return
    this.isDone = true
    // After a switch it may still have something to send.
    if (this.phase === 'closing') this.up?.finish()
    this.path.deadlines.remove(this)
    this.done()
  }
}
