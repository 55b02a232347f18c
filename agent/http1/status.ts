// Strict parser of response heads (RFC 9112 sections 4 and 6.3): what a pod may answer. Anything else becomes
// `upstream_invalid`, and its connection is not used again.

import { MeshError } from '../errors.ts'
import { FieldLines, fieldBlock, isPlainKeepAlive, knownName, readLength, readTokens } from './fields.ts'
import type { Framing, HeadLimits } from './head.ts'

const statusLine = /^HTTP\/1\.[01] [1-9]\d\d(?: [\t\x20-\x7e\x80-\xff]*)?$/

/** A response head; one object serves all responses of a connection, one after the other. */
export class ResponseHead {
  status = 0
  phrase = ''
  /** Minor version: 0 or 1. */
  version = 1
  framing: Framing = 'none'
  /** Of the body, where `framing` is `length`. */
  length = 0
  isKeepAlive = true
  hasDate = false
  /** Value of Retry-After; null if there is none. */
  retryAfter: string | null = null
  /** Whether another agent of the mesh is on the other side, whose word on its own failures counts. */
  isFromMesh = false
  /** Value of x-weft-error; null if there is none. */
  meshError: string | null = null
  /** The protocol that a 101 switches to. */
  upgrade = ''
  readonly lines = new FieldLines()

  get isInformational(): boolean {
    return this.status < 200
  }

  /**
   * Parses a complete head.
   * @param text the head from the status line to the empty line, as latin1
   * @param method of the request: a HEAD has a response without a body
   * @throws MeshError upstream_invalid
   */
  parse(text: string, method: string, limits: HeadLimits): void {
    const from = this.parseLine(text)
    this.hasDate = false
    this.retryAfter = null
    this.meshError = null
    this.upgrade = ''
    this.lines.start(text, from)
    fieldBlock.lastIndex = from
    if (!fieldBlock.test(text) || fieldBlock.lastIndex !== text.length) {
      throw new MeshError('upstream_invalid', 'a header line is malformed')
    }
    this.readLines(text, from, method, limits)
  }

  /** @returns the position behind the status line */
  private parseLine(text: string): number {
    const lineEnd = text.indexOf('\r\n')
    // The common line is compared, all others are matched.
    if (text.startsWith('HTTP/1.1 200 OK\r\n')) {
      this.version = 1
      this.status = 200
      this.phrase = 'OK'
      return lineEnd + 2
    }
    this.version = text.charCodeAt(7) - 0x30
    this.status = Number(text.slice(9, 12))
    this.phrase = text.slice(13, lineEnd)
    if (!statusLine.test(text.slice(0, lineEnd))) {
      throw new MeshError('upstream_invalid', 'the status line is malformed')
    }
    // HTTP/1.0 knows no interim responses (RFC 9110 section 15.2): for some readers the connection ends with it.
    if (this.version === 0 && this.status < 200) {
      throw new MeshError('upstream_invalid', 'an interim response of HTTP/1.0')
    }
    return lineEnd + 2
  }

  private readLines(text: string, from: number, method: string, limits: HeadLimits): void {
    const { lines } = this
    const seen: Seen = { connection: null, length: null, coding: null }
    let count = 0
    const end = text.length - 2
    for (let at = from; at < end; ) {
      const lineEnd = text.indexOf('\r\n', at)
      const colon = text.indexOf(':', at)
      if (++count > limits.headers) throw new MeshError('upstream_invalid', `more than ${limits.headers} headers`)
      const name = knownName(text, at, colon)
      if (name !== '') this.readField(name, at, colon, lineEnd, seen)
      at = lineEnd + 2
    }
    lines.count = count
    this.settleConnection(seen.connection)
    this.settleFraming(method, seen.length, seen.coding)
  }

  private readField(name: string, at: number, colon: number, lineEnd: number, seen: Seen): void {
    const { lines } = this
    switch (name) {
      case 'content-length':
        if (seen.length !== null) throw new MeshError('upstream_invalid', 'Content-Length was sent twice')
        seen.length = lines.valueAt(colon, lineEnd)
        break
      case 'transfer-encoding':
        if (seen.coding !== null) throw new MeshError('upstream_invalid', 'Transfer-Encoding was sent twice')
        seen.coding = lines.codingAt(colon, lineEnd)
        lines.cut(at, lineEnd + 2)
        break
      case 'connection': {
        const value = lines.valueAt(colon, lineEnd)
        seen.connection = seen.connection === null ? value : `${seen.connection}, ${value}`
        lines.cut(at, lineEnd + 2)
        break
      }
      case 'upgrade':
        this.upgrade = lines.valueAt(colon, lineEnd)
        lines.cut(at, lineEnd + 2)
        break
      case 'keep-alive':
      case 'proxy-connection':
      case 'te':
      case 'x-forwarded-client-cert':
        lines.cut(at, lineEnd + 2)
        break
      case 'x-weft-error':
        this.meshError = lines.valueAt(colon, lineEnd)
        // Only the mesh says that the mesh failed.
        if (!this.isFromMesh) lines.cut(at, lineEnd + 2)
        break
      case 'date':
        this.hasDate = true
        break
      case 'retry-after':
        this.retryAfter = lines.valueAt(colon, lineEnd)
        break
    }
  }

  private settleConnection(connection: string | null): void {
    this.isKeepAlive = this.version === 1
    if (connection === null) return
    if (isPlainKeepAlive(connection)) {
      this.isKeepAlive = true
      return
    }
    const options = readTokens(connection)
    if (options.includes('close')) this.isKeepAlive = false
    else if (options.includes('keep-alive')) this.isKeepAlive = true
    const names = options.filter((option) => !connectionOptions.has(option))
    // Without this line the caller would take another message for the response's body.
    if (names.includes('content-length')) throw new MeshError('upstream_invalid', 'Connection names Content-Length')
    if (names.length > 0) this.lines.cutNamed(names)
  }

  /** RFC 9112 section 6.3, stricter where it leaves a choice: whatever two readers may frame differently is refused. */
  private settleFraming(method: string, length: string | null, coding: string | null): void {
    this.framing = 'close'
    this.length = 0
    if (coding !== null) {
      if (length !== null)
        throw new MeshError('upstream_invalid', 'both Content-Length and Transfer-Encoding were sent')
      if (coding.toLowerCase() !== 'chunked' || this.version === 0) {
        throw new MeshError('upstream_invalid', 'Transfer-Encoding is not chunked')
      }
      // RFC 9112 section 6.1 forbids it; some readers wait for a body then.
      if (this.status < 200) throw new MeshError('upstream_invalid', 'an interim response with Transfer-Encoding')
      this.framing = 'chunked'
    } else if (length !== null) {
      this.length = readLength(length)
      if (this.length < 0) throw new MeshError('upstream_invalid', 'Content-Length is malformed')
      this.framing = 'length'
    }
    if (this.status === 204 && length !== null) this.lines.cutNamed(['content-length'])
    if (method === 'HEAD' || this.status < 200 || this.status === 204 || this.status === 304) this.framing = 'none'
  }
}

interface Seen {
  connection: string | null
  length: string | null
  coding: string | null
}

const connectionOptions = new Set(['close', 'keep-alive', 'upgrade'])
