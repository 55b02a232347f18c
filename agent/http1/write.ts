// Heads as they go out: the lines as they came, what this hop alone says about itself added (RFC 9110 section 7.6).

import type { RequestHead } from './head.ts'
import { newRequestId, newTraceparent } from './ids.ts'
import type { ResponseHead } from './status.ts'

/** What a hop tells the upstream about the caller. */
export interface Forwarding {
  /** Address of the caller, added to x-forwarded-for. */
  readonly address: string
  /** Host for a request that named none. */
  readonly defaultAuthority: string
  /** More lines, each with its CRLF. */
  readonly lines: string
  /** Another agent has said all this already: nothing is added but `lines`. */
  readonly isPassedOn?: boolean
}

/**
 * A request head as it is forwarded.
 * @returns latin1 text without the empty line
 */
export function requestText(head: RequestHead, forwarding: Forwarding): string {
  const authority = head.authority === '' ? forwarding.defaultAuthority : head.authority
  const forwardedFor =
    head.forwardedFor === ''
      ? `x-forwarded-for: ${forwarding.address}\r\n`
      : `x-forwarded-for: ${head.forwardedFor}, ${forwarding.address}\r\n`
  if (forwarding.isPassedOn) {
    const own = keepLine('x-forwarded-for', head.forwardedFor) + forwarding.lines
    return `${head.method} ${head.target} HTTP/1.1\r\nhost: ${authority}\r\n${head.lines.block()}${own}`
  }
  const proto = head.hasForwardedProto ? '' : 'x-forwarded-proto: http\r\n'
  const trace = head.traceparent === '' ? `traceparent: ${newTraceparent()}\r\n` : ''
  const id = head.requestId === '' ? `x-request-id: ${newRequestId()}\r\n` : ''
  const via = head.version === 1 ? 'via: 1.1 weft\r\n' : 'via: 1.0 weft\r\n'
  return `${head.method} ${head.target} HTTP/1.1\r\nhost: ${authority}\r\n${head.lines.block()}${forwardedFor}${proto}${trace}${id}${via}${forwarding.lines}`
}

function keepLine(name: string, value: string): string {
  return value === '' ? '' : `${name}: ${value}\r\n`
}

let dateSecond = 0
let dateLine = ''

/** The Date line of this second. */
export function currentDate(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== dateSecond) {
    dateSecond = second
    dateLine = `date: ${new Date(second * 1000).toUTCString()}\r\n`
  }
  return dateLine
}

/**
 * A response head as it is forwarded.
 * @param request what it answers: decides on keep-alive lines and on how the body is framed
 * @param isLast the connection is closed after this response
 * @param lines more lines, each with its CRLF
 * @returns latin1 text with the empty line
 */
export function responseText(head: ResponseHead, request: RequestHead, isLast: boolean, lines = ''): string {
  const date = head.hasDate ? '' : currentDate()
  const coding = head.framing === 'chunked' && request.version === 1 ? 'transfer-encoding: chunked\r\n' : ''
  const connection = isLast ? 'connection: close\r\n' : request.version === 0 ? 'connection: keep-alive\r\n' : ''
  return `HTTP/1.1 ${head.status} ${head.phrase}\r\n${head.lines.block()}${coding}${date}${lines}${connection}\r\n`
}

/** A 1xx head as it is forwarded (RFC 9110 section 15.2). */
export function informationalText(head: ResponseHead): string {
  return `HTTP/1.1 ${head.status} ${head.phrase}\r\n${head.lines.block()}\r\n`
}

/** A whole response without a body that the proxy itself gives. */
export function answerText(status: number, phrase: string, lines: string, isLast: boolean): string {
  const connection = isLast ? 'connection: close\r\n' : ''
  return `HTTP/1.1 ${status} ${phrase}\r\n${currentDate()}${lines}content-length: 0\r\n${connection}\r\n`
}
