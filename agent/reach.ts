// Gets a bare wire to an endpoint, for exchanges that are not relayed as HTTP (stream.ts, upgrade/). Nothing is sent before
// there is one, so another endpoint is tried at once, within the retry budget.

import type { MeshError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import type { Wire } from './http1/wire.ts'
import type { Endpoint } from './mesh/endpoint.ts'
import type { PathBase } from './path.ts'

/** A path as what carries bare bytes needs it. */
export interface WirePath extends PathBase {
  /** Opens a wire to the exchange's endpoint; see outbound/hop.ts. */
  connect(exchange: Exchange, done: (error: MeshError | null, wire: Wire | null) => void): () => void
}

/** What an attempt's end means to the endpoint's breaker. */
export type FuseVerdict = 'succeed' | 'fail' | 'abandon'

/** A failure counts against the endpoint where nobody else is to blame. */
export function verdictOn({ blame }: MeshError): FuseVerdict {
  return blame === 'upstream' ? 'fail' : 'abandon'
}

/** The attempts of one exchange. */
export class Reach {
  private readonly path: WirePath
  private readonly exchange: Exchange
  private readonly done: (error: MeshError | null, wire: Wire | null) => void
  private tried: Endpoint[] | null = null
  private token = 0
  private isJudged = false
  private cancel: (() => void) | null = null

  /**
   * @param done called once: with a wire, of which the breaker is still to be told how it went, or with the error that the
   *   last attempt failed with
   */
  constructor(path: WirePath, exchange: Exchange, done: (error: MeshError | null, wire: Wire | null) => void) {
    this.path = path
    this.exchange = exchange
    this.done = done
  }

  /** Makes the first attempt, and further ones by itself. */
  start(): void {
    const { path, exchange } = this
    const error = path.endpoint(exchange, this.tried)
    if (error !== null) {
      this.done(error, null)
      return
    }
    exchange.attempts++
    exchange.attemptAt = path.clock.now()
    exchange.endpoint!.inFlight++
    this.token = path.fuse.begin(exchange)
    this.isJudged = false
    let isAnswered = false
    const cancel = path.connect(exchange, (failure, wire) => {
      isAnswered = true
      this.cancel = null
      if (failure === null) this.done(null, wire)
      else this.onFailed(failure)
    })
    if (!isAnswered) this.cancel = cancel
  }

  private onFailed(error: MeshError): void {
    const { path, exchange } = this
    const verdict = verdictOn(error)
    if (verdict === 'fail') path.unanswered(exchange)
    this.judge(verdict)
    this.leave()
    if (path.retry(exchange, { error, status: 0, isSent: false }) < 0) {
      this.done(error, null)
      return
    }
    this.tried ??= []
    this.tried.push(exchange.endpoint!)
    this.start()
  }

  /** Tells the endpoint's breaker how the attempt went; only the first verdict counts. */
  judge(verdict: FuseVerdict): void {
    if (this.isJudged || this.exchange.attemptAt === 0) return
    this.isJudged = true
    this.path.fuse[verdict](this.exchange, this.token)
  }

  /** Ends the attempt in flight, if there is one: the exchange has no more to do with its endpoint. Harmless when repeated. */
  leave(): void {
    const { exchange } = this
    this.cancel?.()
    this.cancel = null
    this.judge('abandon')
    if (exchange.attemptAt === 0) return
    exchange.endpoint!.inFlight--
    exchange.attemptAt = 0
  }
}
