// Mirroring: a share of a service's requests is sent to another Service of the mesh as well, and its answers are dropped.
// It stands beside the outbound path: the request itself neither waits for its copy nor learns of its fate.

import type { Key } from '../../controller/contract/resources.ts'
import type { Exchange } from '../exchange.ts'
import { sourceAccount } from '../inbound/caller.ts'
import { permit } from '../inbound/permit.ts'
import type { Endpoint } from '../mesh/endpoint.ts'
import type { Backend, Port, Snapshot } from '../mesh/snapshot.ts'
import { divide } from '../outbound/divide.ts'
import type { Copy, Dial, Sender } from './send.ts'

/** A longer body is not copied: the copy is given up. */
const bodyMostBytes = 64 * 1024
/** Copies at a time, those that wait for their body among them: at most 16 MiB of bodies for each data thread. */
const copiesMost = 256

/**
 * What became of a copy. `answered`: with any status; `failed`: it was not. Never sent were those that are `too_large`,
 * that were `cut_short` by the caller, that came while the thread was `busy` with others, whose caller is `denied` there
 * by the access rules, or for which the other service is `unreachable`: not in the mesh, without this port or endpoints.
 */
export type MirrorOutcome = 'answered' | 'failed' | 'too_large' | 'cut_short' | 'busy' | 'denied' | 'unreachable'

export interface MirrorParts {
  readonly snapshot: () => Snapshot
  /** Numbers in [0, 1). */
  readonly random: () => number
  /** Chooses an endpoint; see outbound/endpoint.ts. */
  readonly choose: (backend: Backend, exchange: Exchange) => Endpoint | Error
  /** Lines of the head that depend on the endpoint, each with its CRLF. */
  readonly hopText: (exchange: Exchange, endpoint: Endpoint) => string
  /** In whose name an endpoint is reached for a caller's account. */
  readonly sourceOf: (endpoint: Endpoint, account: Key) => string
  readonly dial: Dial
  /** The longest wait for the head of an answer. */
  readonly headMs: number
  /** @param target the Service that gets the copies */
  readonly count: (port: Port, target: Key, outcome: MirrorOutcome) => void
}

export class Mirror {
  private readonly parts: MirrorParts
  /** Copies whose body is still coming. */
  private readonly waiting = new Map<Exchange, Copy>()
  private sender: Sender | null = null
  private loading: Promise<Sender> | null = null
  private sending = 0
  private isClosed = false

  constructor(parts: MirrorParts) {
    this.parts = parts
  }

  /** Copies that are on their way. */
  get open(): number {
    return this.waiting.size + this.sending
  }

  /**
   * A request is about to be sent. Takes a copy if the policy wants one.
   * @param head as it goes to the endpoint, without its empty line
   */
  begin(exchange: Exchange, head: string): void {
    const { port, request } = exchange
    const { mirror } = port!.service.policy
    if (mirror === undefined || request === null || request.upgrade !== '') return
    if (this.parts.random() * 100 >= mirror.percent) return
    const endpoint = this.open < copiesMost && !this.isClosed ? this.endpoint(exchange, mirror.service) : 'busy'
    if (typeof endpoint === 'string') {
      this.parts.count(port!, mirror.service, endpoint)
      return
    }
    const copy: Copy = {
      port: port!,
      target: mirror.service,
      endpoint,
      source: this.parts.sourceOf(endpoint, sourceAccount(exchange.caller) ?? ''),
      head: `${head}${this.parts.hopText(exchange, endpoint)}`,
      isChunked: request.framing === 'chunked',
      pieces: [],
      bytes: 0,
    }
    const hasBody = request.framing === 'chunked' || (request.framing === 'length' && request.length > 0)
    if (request.framing === 'length' && request.length > bodyMostBytes) this.count(copy, 'too_large')
    else if (hasBody) this.waiting.set(exchange, copy)
    else this.send(copy)
  }

  /** A piece of a request's body, with its framing; null: it was the last. */
  onBody(exchange: Exchange, chunk: Buffer | null, start: number, end: number): void {
    if (this.waiting.size === 0) return
    const copy = this.waiting.get(exchange)
    if (copy === undefined) return
    if (chunk === null) {
      this.waiting.delete(exchange)
      this.send(copy)
      return
    }
    copy.bytes += end - start
    if (copy.bytes > bodyMostBytes) {
      this.waiting.delete(exchange)
      this.count(copy, 'too_large')
    } else copy.pieces.push(Buffer.copyBytesFrom(chunk, start, end - start))
  }

  /** The request has ended: if its body never did, neither does its copy's. */
  forget(exchange: Exchange): void {
    if (this.waiting.size === 0) return
    const copy = this.waiting.get(exchange)
    if (copy === undefined) return
    this.waiting.delete(exchange)
    this.count(copy, 'cut_short')
  }

  /** Gives up whatever is on its way. */
  close(): void {
    this.isClosed = true
    this.waiting.clear()
    this.sender?.close()
  }

  private endpoint(exchange: Exchange, target: Key): Endpoint | MirrorOutcome {
    const snapshot = this.parts.snapshot()
    const port = snapshot.services.get(target)?.ports.get(exchange.port!.number)
    if (port === undefined || port.protocol !== 'http') return 'unreachable'
    const backend = divide(port, exchange.request, this.parts.random())
    if (backend instanceof Error) return 'unreachable'
    const endpoint = this.parts.choose(backend, exchange)
    if (endpoint instanceof Error) return 'unreachable'
    const { account, port: number } = endpoint.spec
    const verdict = permit(snapshot, sourceAccount(exchange.caller), account, number, exchange.request)
    return verdict.isAllowed ? endpoint : 'denied'
  }

  private send(copy: Copy): void {
    this.sending++
    copy.endpoint.inFlight++
    const done = (isAnswered: boolean) => {
      this.sending--
      copy.endpoint.inFlight--
      this.count(copy, isAnswered ? 'answered' : 'failed')
    }
    if (this.sender !== null) this.sender.send(copy, done)
    else {
      this.load().then(
        (sender) => sender.send(copy, done),
        () => done(false),
      )
    }
  }

  private count({ port, target }: Copy, outcome: MirrorOutcome): void {
    this.parts.count(port, target, outcome)
  }

  /** undici takes 31 MB: whoever mirrors nothing does without it. */
  private load(): Promise<Sender> {
    const { dial, headMs } = this.parts
    this.loading ??= import('./send.ts').then(({ makeSender }) => {
      this.sender = makeSender(dial, headMs)
      if (this.isClosed) this.sender.close()
      return this.sender
    })
    return this.loading
  }
}
