// Every way in which the mesh itself ends an exchange: the closed set of reasons, and the one place that turns a reason
// into a response. The reason is also a metric label and a field of the access log.

/** Whose fault it is, for whoever reads the log at night. */
export type Blame = 'caller' | 'mesh' | 'upstream' | 'policy'

interface ReasonFacts {
  readonly status: number
  /** grpc-status that says the same (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
  readonly grpc: number
  readonly blame: Blame
  /** True where no byte of the request can have been acted upon, so that another endpoint may be tried. */
  readonly retryable: boolean
  /** What an operator should look at first. */
  readonly advice: string
}

const facts = {
  bad_request: fact(400, 3, 'caller', false, 'the request is not well-formed HTTP/1.1'),
  denied: fact(403, 7, 'policy', false, 'no TrafficTarget permits this caller; ask /debug/permit which rule decided'),
  no_route: fact(404, 12, 'caller', false, 'the Host names no service of the mesh; use <service>-mesh.<namespace>'),
  not_enrolled: fact(404, 12, 'caller', false, 'the service is not in the mesh; label it weft.dev/mesh=enabled'),
  method_refused: fact(405, 12, 'caller', false, 'CONNECT and TRACE are not carried'),
  request_timeout: fact(408, 4, 'caller', false, 'the caller did not send its request in time'),
  body_too_large: fact(413, 8, 'caller', false, 'the request body exceeds the limit'),
  expectation_failed: fact(417, 3, 'caller', false, 'only Expect: 100-continue is understood'),
  rate_limited: fact(429, 8, 'policy', false, 'a rate limit of the service was reached'),
  head_too_large: fact(431, 8, 'caller', false, 'the request head exceeds 16 KiB or 100 headers'),
  internal: fact(500, 13, 'mesh', false, 'a bug in the agent; please report it with the log'),
  not_implemented: fact(501, 12, 'caller', false, 'a transfer coding other than chunked was used'),
  connect_failed: fact(502, 14, 'upstream', true, 'the endpoint refused or did not answer the connection'),
  tls_failed: fact(502, 14, 'mesh', true, 'the TLS handshake with the peer failed; compare the trust bundles'),
  upstream_reset: fact(502, 14, 'upstream', false, 'the endpoint closed the connection before its response ended'),
  upstream_invalid: fact(502, 14, 'upstream', false, 'the endpoint answered with something that is not HTTP'),
  draining: fact(503, 14, 'mesh', true, 'the agent is shutting down; its successor takes new connections'),
  overloaded: fact(503, 8, 'mesh', true, 'a connection, in-flight or queue limit of the agent was reached'),
  no_backend: fact(503, 14, 'policy', false, 'the TrafficSplit has no valid backend; see its Events'),
  no_endpoint: fact(503, 14, 'upstream', true, 'the backend has no ready endpoint'),
  breaker_open: fact(503, 14, 'upstream', true, 'circuit breakers of all endpoints are open'),
  no_peer: fact(503, 14, 'mesh', true, "no ready agent on the endpoint's node"),
  no_identity: fact(503, 14, 'mesh', true, 'the agent has no certificate for the caller yet'),
  fault_abort: fact(503, 14, 'policy', false, "aborted by the fault that the service's annotation injects"),
  upstream_timeout: fact(504, 4, 'upstream', false, 'the endpoint did not answer in time'),
  version_refused: fact(505, 12, 'caller', false, 'only HTTP/1.1 and HTTP/1.0 are spoken here'),
  loop: fact(508, 13, 'caller', false, 'the request came back to the mesh; a service must not route to its own alias'),
  // The caller went away: nobody reads this response, the log does.
  caller_gone: fact(499, 1, 'caller', false, 'the caller closed the connection before the response ended'),
} as const satisfies Record<string, ReasonFacts>

function fact(status: number, grpc: number, blame: Blame, retryable: boolean, advice: string): ReasonFacts {
  return { status, grpc, blame, retryable, advice }
}

export type Reason = keyof typeof facts

/** All reasons; the position of one is its number in the counters. */
export const reasons = Object.keys(facts) as Reason[]

const numbers = new Map(reasons.map((reason, number) => [reason, number]))

/** The number of a reason, for tables indexed by it. */
export function reasonNumber(reason: Reason): number {
  return numbers.get(reason)!
}

/** What a reason means: status, grpc-status, blame, whether another endpoint may be tried, advice. */
export function reasonFacts(reason: Reason): ReasonFacts {
  return facts[reason]
}

/** An exchange that the mesh refuses or fails. Thrown or passed anywhere, answered by `refusal` alone. */
export class MeshError extends Error {
  override name = 'MeshError'
  readonly code: string
  readonly reason: Reason
  readonly status: number
  readonly grpcStatus: number
  readonly blame: Blame
  readonly retryable: boolean
  /** Seconds for a Retry-After header; 0: none. */
  readonly retryAfter: number

  /**
   * @param detail what exactly went wrong, with the address or name it concerns; the advice is added to it
   * @param options.status another status than the reason's own (an injected fault's)
   * @param options.retryAfter seconds
   */
  constructor(
    reason: Reason,
    detail = '',
    options: { cause?: unknown; status?: number; retryAfter?: number; retryable?: boolean } = {},
  ) {
    const { advice, ...rest } = facts[reason]
    super(detail === '' ? advice : `${detail} (${advice})`, options.cause === undefined ? {} : { cause: options.cause })
    this.code = `WEFT_${reason.toUpperCase()}`
    this.reason = reason
    this.status = options.status ?? rest.status
    this.grpcStatus = rest.grpc
    this.blame = rest.blame
    this.retryable = options.retryable ?? rest.retryable
    this.retryAfter = options.retryAfter ?? 0
  }
}

/** Turns whatever was thrown into a MeshError; what is not one becomes `internal`. */
export function meshError(thrown: unknown): MeshError {
  return thrown instanceof MeshError ? thrown : new MeshError('internal', String(thrown), { cause: thrown })
}

const phrases: Record<number, string> = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Content Too Large',
  417: 'Expectation Failed',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
  508: 'Loop Detected',
}

/**
 * The response that a refused caller gets, as latin1 text of a whole HTTP/1.1 message (RFC 9110 section 15).
 * @param options.close whether the connection is closed after it
 * @param options.grpc the caller speaks gRPC: a trailers-only response with status 200 carries the grpc-status
 * @param options.head the request was a HEAD: the body is announced, not sent
 */
export function refusal(error: MeshError, options: { close: boolean; grpc?: boolean; head?: boolean }): string {
  const connection = options.close ? 'connection: close\r\n' : ''
  const retry = error.retryAfter > 0 ? `retry-after: ${error.retryAfter}\r\n` : ''
  const date = `date: ${new Date().toUTCString()}\r\n`
  if (options.grpc) {
    const message = encodeURIComponent(`${error.reason}: ${error.message}`)
    return `HTTP/1.1 200 OK\r\n${date}content-type: application/grpc\r\ngrpc-status: ${error.grpcStatus}\r\ngrpc-message: ${message}\r\nx-weft-error: ${error.reason}\r\n${connection}content-length: 0\r\n\r\n`
  }
  const body = `${error.reason}: ${facts[error.reason].advice}\n`
  const length = Buffer.byteLength(body)
  const phrase = phrases[error.status] ?? 'Error'
  const allow = error.status === 405 ? 'allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n' : ''
  const head = `HTTP/1.1 ${error.status} ${phrase}\r\n${date}${allow}${retry}content-type: text/plain; charset=utf-8\r\ncontent-length: ${length}\r\nx-weft-error: ${error.reason}\r\n${connection}\r\n`
  return options.head ? head : head + body
}
