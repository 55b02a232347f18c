// Our own engine on a stream, without sockets: what it understood, and what it would send on.

import type { MeshError } from '../../agent/errors.ts'
import { Downstream } from '../../agent/http1/downstream.ts'
import { RequestHead } from '../../agent/http1/head.ts'
import type { ResponseHead } from '../../agent/http1/status.ts'
import { Upstream } from '../../agent/http1/upstream.ts'
import { noHandler, type Wire, type WireHandler } from '../../agent/http1/wire.ts'
import { informationalText, requestText, responseText } from '../../agent/http1/write.ts'
import { type Message, newMessage, type Reading } from './message.ts'

const limits = { headBytes: 16_384, headers: 100 }

/** A wire that goes nowhere. */
class BlindWire implements Wire {
  handler: WireHandler = noHandler
  remoteAddress = '127.0.0.1'
  isClosed = false
  backlogBytes = 0
  writeText(): boolean {
    return true
  }
  writeCopy(): boolean {
    return true
  }
  writeBytes(): boolean {
    return true
  }
  pause(): void {
    // Nothing is read from here.
  }
  resume(): void {
    // Nothing is read from here.
  }
  end(): void {
    this.isClosed = true
  }
  reset(): void {
    this.isClosed = true
  }
  destroy(): void {
    this.isClosed = true
  }
}

/** Hands the stream over in pieces; the buffer is overwritten after each, as a shared read buffer would be. */
function deliver(wire: BlindWire, stream: Buffer, cuts: (at: number) => number, onPiece: (end: number) => void): void {
  const lent = Buffer.alloc(stream.length)
  for (let at = 0; at < stream.length && !wire.isClosed; ) {
    const end = Math.min(stream.length, at + cuts(at))
    onPiece(end)
    stream.copy(lent, 0, at, end)
    wire.handler.onBytes(lent, 0, end - at)
    lent.fill(0x58)
    at = end
  }
}

/**
 * Parses a stream of requests.
 * @param cuts how many bytes come at once, from a position on
 */
export function readRequests(stream: Buffer, cuts: (at: number) => number): Reading {
  const wire = new BlindWire()
  const messages: Message[] = []
  let error = ''
  let position = 0
  const current = () => messages[messages.length - 1]!
  const downstream = new Downstream(wire, limits, {
    onOpening: () => false,
    onHeadBegin() {},
    onRequest() {
      const { head } = downstream
      const message = newMessage(`${head.method} ${head.rawTarget}`)
      message.fields = fieldsOf(head.lines.block())
      message.isKeepAlive = head.isKeepAlive
      message.isUpgrade = head.upgrade !== ''
      message.forwarded = `${requestText(head, { address: '127.0.0.1', defaultAuthority: 'a', lines: '' })}\r\n`
      messages.push(message)
    },
    onBody(chunk, start, end) {
      current().forwarded += chunk.toString('latin1', start, end)
    },
    onBodyText(text) {
      current().forwarded += text
    },
    onRequestEnd() {
      const message = current()
      message.end = position
      message.content = contentOf(message.forwarded, downstream.head.framing === 'chunked')
      downstream.finish(message.isUpgrade)
    },
    onRefusal(refused: MeshError) {
      error = refused.reason
      wire.isClosed = true
    },
    onGone() {},
    onReadEnd() {},
    onDrain() {},
  })
  deliver(wire, stream, cuts, (end) => {
    position = end
  })
  return { messages, error }
}

/** Parses the responses to one request: informational ones, then one. */
export function readResponses(stream: Buffer, method: string, cuts: (at: number) => number): Reading {
  const wire = new BlindWire()
  const messages: Message[] = []
  const request = new RequestHead()
  request.parse(`${method} / HTTP/1.1\r\nHost: a\r\n\r\n`, limits)
  let error = ''
  let position = 0
  let isChunked = false
  let message = newMessage('')
  const begin = (head: ResponseHead) => {
    message = newMessage(`${head.status}`)
    message.fields = fieldsOf(head.lines.block())
    message.isKeepAlive = head.isKeepAlive
    messages.push(message)
  }
  const upstream = new Upstream(wire, limits, { onUseless() {}, onClosed() {} })
  upstream.start(
    {
      onInformational(head) {
        begin(head)
        message.end = position
        message.forwarded = informationalText(head)
      },
      onResponse(head) {
        begin(head)
        isChunked = head.framing === 'chunked'
        message.forwarded = responseText(head, request, head.framing === 'close')
      },
      onUpstreamBody(chunk, start, end) {
        message.forwarded += chunk.toString('latin1', start, end)
      },
      onUpstreamBodyText(text) {
        message.forwarded += text
      },
      onResponseEnd() {
        message.end = position
        message.content = contentOf(message.forwarded, isChunked)
        message.isKeepAlive = upstream.isReusable
      },
      onFailure(failed) {
        error = failed.reason
        wire.isClosed = true
      },
      onUpstreamReadEnd() {},
      onUpstreamDrain() {},
    },
    method,
    false,
  )
  deliver(wire, stream, cuts, (end) => {
    position = end
  })
  if (!wire.isClosed) wire.handler.onEnd()
  return { messages, error }
}

/** The lines that go on. */
function fieldsOf(block: string): Message['fields'] {
  return block
    .split('\r\n')
    .filter((line) => line !== '')
    .map((line) => {
      const colon = line.indexOf(':')
      return { name: line.slice(0, colon).toLowerCase(), value: line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '') }
    })
}

/** The content of a forwarded message, its chunks joined. */
function contentOf(forwarded: string, isChunked: boolean): string {
  const body = forwarded.slice(forwarded.indexOf('\r\n\r\n') + 4)
  if (!isChunked) return body
  let content = ''
  for (let at = 0; ; ) {
    const lineEnd = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.slice(at, lineEnd), 16)
    if (!(size > 0)) return content
    content += body.slice(lineEnd + 2, lineEnd + 2 + size)
    at = lineEnd + 4 + size
  }
}
