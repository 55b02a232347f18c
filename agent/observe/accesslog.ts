// The access log: one JSON line for each exchange that ended. The data thread formats and gathers, the control thread
// writes, and drops lines rather than fill the memory when nobody reads them.

import type { Writable } from 'node:stream'
import type { Clock } from '../clock.ts'
import type { Exchange } from '../exchange.ts'
import type { Post } from '../mesh/thread.ts'

/** A message to the control thread costs microseconds: one for each 32 KiB or tenth of a second. */
const gatherBytes = 32_768
const gatherMs = 100

/** What of a caller or endpoint is logged. */
function party(prefix: 'src' | 'dst', address: string, pod: string, account: string, trustDomain: string): string {
  if (pod === '' && account === '') return `"${prefix}.addr":${quote(address)}`
  const slash = account.indexOf('/')
  const namespace = account.slice(0, Math.max(0, slash))
  const identity = account === '' ? '' : `spiffe://${trustDomain}/ns/${namespace}/sa/${account.slice(slash + 1)}`
  return `"${prefix}.addr":${quote(address)},"${prefix}.workload":${quote(pod.slice(pod.indexOf('/') + 1))},"${prefix}.namespace":${quote(namespace)},"${prefix}.identity":${quote(identity)}`
}

/** What a caller can choose is escaped, so that a line stays a line. */
function quote(text: string): string {
  return JSON.stringify(text)
}

/** The trace that a request belongs to (W3C Trace Context section 3.2); '' if it names none. */
function traceOf(exchange: Exchange): string {
  const parent = exchange.request?.header('traceparent') ?? ''
  return /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-/.test(parent) ? parent.slice(3, 35) : ''
}

/**
 * The line of an exchange, with its line feed.
 * @param wall ms since the epoch
 */
export function accessLine(exchange: Exchange, durationMs: number, wall: number): string {
  const { direction, snapshot, caller, request, port, backend, endpoint } = exchange
  const { trustDomain } = snapshot.mesh
  const { pod = '', account = '' } = caller.workload ?? {}
  const src = party('src', caller.address, pod, account, trustDomain)
  const dst =
    endpoint === null
      ? '"dst.addr":""'
      : party('dst', endpoint.key, endpoint.spec.pod, endpoint.spec.account, trustDomain)
  const service = port === null ? '' : `${port.service.name}.${port.service.namespace}:${port.number}`
  const http =
    request === null
      ? ''
      : `,"method":${quote(request.method)},"host":${quote(request.host)},"path":${quote(request.path)},"status":${exchange.status}`
  const trace = traceOf(exchange)
  const reason = exchange.reason === null ? '' : `,"reason":"${exchange.reason}"`
  const retries = exchange.attempts > 1 ? exchange.attempts - 1 : 0
  return `{"time":"${new Date(wall).toISOString()}","direction":"${direction}",${src},${dst},"dst.service":${quote(service)},"upstream":${quote(backend === null ? '' : backend.key)}${http}${reason},"bytes_sent":${exchange.bytesUp},"bytes_recv":${exchange.bytesDown},"duration_ms":${durationMs.toFixed(3)},"retries":${retries}${trace === '' ? '' : `,"trace_id":"${trace}"`}}\n`
}

/** Data thread: logs exchanges; fits the Recorder of outbound/settle.ts. */
export class AccessRecorder {
  readonly #post: Post
  readonly #clock: Clock
  #text = ''

  constructor(post: Post, clock: Clock) {
    this.#post = post
    this.#clock = clock
  }

  record(exchange: Exchange, durationMs: number): void {
    if (this.#text === '') this.#clock.setTimeout(() => this.flush(), gatherMs).unref()
    this.#text += accessLine(exchange, durationMs, this.#clock.wall())
    if (this.#text.length >= gatherBytes) this.flush()
  }

  /** It has its line already. */
  recordTwice(): void {}

  /** Hands over what was gathered. */
  flush(): void {
    if (this.#text === '') return
    this.#post({ type: 'lines', text: this.#text })
    this.#text = ''
  }
}

/** Held for a reader that stalls; some 30,000 lines. */
const heldBytes = 8 * 1024 * 1024

/** Control thread: writes lines as long as somebody takes them. */
export class AccessSink {
  readonly #out: Writable
  /** Lines that nobody took. */
  dropped = 0

  constructor(out: Writable) {
    this.#out = out
  }

  write(lines: string): void {
    if (this.#out.writableLength + lines.length <= heldBytes) this.#out.write(lines)
    else for (let at = lines.indexOf('\n'); at >= 0; at = lines.indexOf('\n', at + 1)) this.dropped++
  }
}
