// Strict parser of request heads (RFC 9112 sections 2, 3, 5, 6). One latin1 slice per head, one regular expression that
// the whole block of lines must satisfy, then a look at the lines whose meaning matters to a proxy. What is not
// understood completely is refused.

import { MeshError } from '../errors.ts'
import { FieldLines, fieldBlock, isPlainKeepAlive, knownName, readLength, readTokens } from './fields.ts'
import { canonicalPath, isQuery, parseAuthority } from './target.ts'

export type Framing = 'none' | 'length' | 'chunked' | 'close'

export interface HeadLimits {
  readonly headBytes: number
  readonly headers: number
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}$/

/** A request head; one object serves all requests of a connection, one after the other. */
export class RequestHead {
  method = ''
  /** As it was sent. */
  rawTarget = ''
  /** Canonical path and query: what is forwarded. */
  target = ''
  /** Canonical, without the query; `*` for `OPTIONS *`. */
  path = ''
  /** Without the `?`; empty if there is none. */
  query = ''
  /** Lower case, without port and trailing dot; empty if the request named none. */
  host = ''
  hostPort = 0
  /** Host and port as they are forwarded. */
  authority = ''
  /** Minor version: 0 or 1. */
  version = 1
  framing: Framing = 'none'
  /** Of the body, where `framing` is `length`. */
  length = 0
  isKeepAlive = true
  expectsContinue = false
  /** The protocol that an Upgrade asks for; empty if none. */
  upgrade = ''
  isGrpc = false
  forwardedFor = ''
  traceparent = ''
  requestId = ''
  hasForwardedProto = false
  /** How often this mesh stands in Via already. */
  viaCount = 0
  /** Ms that the request may still take, as another agent has written it; 0: it says nothing. */
  deadlineMs = 0
  readonly lines = new FieldLines()

  /** All values of a header by lower-case name, joined with ", "; null if it is absent. */
  header(name: string): string | null {
    return this.lines.value(name)
  }

  /** The values of a header's lines by lower-case name, each for itself. */
  headerLines(name: string): readonly string[] {
    return this.lines.each(name)
  }

  /** Asks for another path from now on; the query stays. */
  rewrite(path: string): void {
    this.path = path
    this.target = this.query === '' ? path : `${path}?${this.query}`
  }

  get isHead(): boolean {
    return this.method === 'HEAD'
  }

  private reset(): void {
    this.host = ''
    this.hostPort = 0
    this.authority = ''
    this.framing = 'none'
    this.length = 0
    this.expectsContinue = false
    this.upgrade = ''
    this.isGrpc = false
    this.forwardedFor = ''
    this.traceparent = ''
    this.requestId = ''
    this.hasForwardedProto = false
    this.viaCount = 0
    this.deadlineMs = 0
  }

  /**
   * Parses a complete head.
   * @param text the head from the request line to the empty line, as latin1
   * @throws MeshError bad_request, head_too_large, not_implemented, version_refused, method_refused, expectation_failed
   */
  parse(text: string, limits: HeadLimits): void {
    this.reset()
    const lineEnd = text.indexOf('\r\n')
    this.parseLine(text, lineEnd)
    this.lines.start(text, lineEnd + 2)
    fieldBlock.lastIndex = lineEnd + 2
    if (!fieldBlock.test(text) || fieldBlock.lastIndex !== text.length) {
      throw new MeshError('bad_request', 'a header line is malformed')
    }
    const seen = {
      host: null as string | null,
      connection: null as string | null,
      upgrade: '',
      length: null as string | null,
      coding: null as string | null,
    }
    this.readLines(text, lineEnd + 2, limits, seen)
    this.settleTarget(seen.host)
    this.settleFraming(seen.length, seen.coding)
    this.settleConnection(seen.connection, seen.upgrade)
  }

  private parseLine(text: string, lineEnd: number): void {
    const methodEnd = text.indexOf(' ')
    const targetEnd = text.indexOf(' ', methodEnd + 1)
    if (methodEnd <= 0 || targetEnd <= methodEnd + 1 || targetEnd > lineEnd) {
      throw new MeshError('bad_request', 'the request line is malformed')
    }
    this.method = text.startsWith('GET ') ? 'GET' : text.slice(0, methodEnd)
    if (this.method !== 'GET' && !token.test(this.method)) throw new MeshError('bad_request', 'the method is malformed')
    this.rawTarget = text.slice(methodEnd + 1, targetEnd)
    if (lineEnd === targetEnd + 9 && text.startsWith('HTTP/1.1', targetEnd + 1)) {
      this.version = 1
      return
    }
    const version = text.slice(targetEnd + 1, lineEnd)
    if (version === 'HTTP/1.0') this.version = 0
    else if (/^HTTP\/\d\.\d$/.test(version)) throw new MeshError('version_refused', `${version} was asked for`)
    else throw new MeshError('bad_request', 'the HTTP version is malformed')
  }

  private readLines(text: string, from: number, limits: HeadLimits, seen: Seen): void {
    const { lines } = this
    let at = from
    let count = 0
    const end = text.length - 2
    while (at < end) {
      const lineEnd = text.indexOf('\r\n', at)
      const colon = text.indexOf(':', at)
      if (++count > limits.headers) throw new MeshError('head_too_large', `more than ${limits.headers} headers`)
      const name = knownName(text, at, colon)
      if (name !== '') this.readField(name, at, colon, lineEnd, seen)
      at = lineEnd + 2
    }
    lines.count = count
  }

  private readField(name: string, at: number, colon: number, lineEnd: number, seen: Seen): void {
    const { lines } = this
    switch (name) {
      case 'host':
        if (seen.host !== null) throw new MeshError('bad_request', 'Host was sent twice')
        seen.host = lines.valueAt(colon, lineEnd)
        // Written anew, in canonical form, with the request line.
        lines.cut(at, lineEnd + 2)
        break
      case 'content-length':
        if (seen.length !== null) throw new MeshError('bad_request', 'Content-Length was sent twice')
        seen.length = lines.valueAt(colon, lineEnd)
        break
      case 'transfer-encoding':
        if (seen.coding !== null) throw new MeshError('bad_request', 'Transfer-Encoding was sent twice')
        seen.coding = lines.codingAt(colon, lineEnd)
        break
      case 'connection':
        seen.connection = joined(seen.connection, lines.valueAt(colon, lineEnd))
        lines.cut(at, lineEnd + 2)
        break
      case 'upgrade':
        seen.upgrade = joined(seen.upgrade === '' ? null : seen.upgrade, lines.valueAt(colon, lineEnd))
        lines.cut(at, lineEnd + 2)
        break
      case 'keep-alive':
      case 'proxy-connection':
      case 'proxy-authorization':
      case 'te':
      case 'http2-settings':
        lines.cut(at, lineEnd + 2)
        break
      case 'expect':
        if (lines.valueAt(colon, lineEnd).toLowerCase() !== '100-continue') throw new MeshError('expectation_failed')
        // RFC 9110 section 10.1.1: a 1.0 client can't have meant it.
        if (this.version === 0) lines.cut(at, lineEnd + 2)
        else this.expectsContinue = true
        break
      case 'content-type':
        this.isGrpc = /^application\/grpc(?:[+;]|$)/i.test(lines.valueAt(colon, lineEnd))
        break
      case 'via':
        this.viaCount += countVia(lines.valueAt(colon, lineEnd))
        break
      case 'traceparent':
        this.traceparent = lines.valueAt(colon, lineEnd)
        break
      case 'x-request-id':
        this.requestId = lines.valueAt(colon, lineEnd)
        break
      case 'x-forwarded-for':
        // Written anew with the caller's own address behind.
        this.forwardedFor = joined(this.forwardedFor === '' ? null : this.forwardedFor, lines.valueAt(colon, lineEnd))
        lines.cut(at, lineEnd + 2)
        break
      case 'x-forwarded-proto':
        this.hasForwardedProto = true
        break
      case 'x-forwarded-client-cert':
        lines.cut(at, lineEnd + 2)
        break
      case 'weft-deadline':
        this.deadlineMs = readDeadline(lines.valueAt(colon, lineEnd))
        lines.cut(at, lineEnd + 2)
        break
      default:
        // An underscore alias of one of these names, which some servers read as the name itself (CGI's habit).
        if (name.includes('_')) this.readAlias(name, at, lineEnd)
    }
  }

  private readAlias(name: string, at: number, lineEnd: number): void {
    const alias = name.replaceAll('_', '-')
    if (framingNames.has(alias)) throw new MeshError('bad_request', `${name} imitates ${alias}`)
    if (alias.startsWith('x-forwarded-')) this.lines.cut(at, lineEnd + 2)
  }

  private settleTarget(hostLine: string | null): void {
    if (this.method !== 'GET' && refusedMethods.has(this.method)) throw new MeshError('method_refused', this.method)
    if (hostLine === null && this.version === 1) throw new MeshError('bad_request', 'Host is missing')
    const raw = this.rawTarget
    if (raw === '*') {
      if (this.method !== 'OPTIONS') throw new MeshError('bad_request', 'only OPTIONS may ask for *')
      this.settleAuthority(hostLine, hostLine)
      this.path = '*'
      this.target = '*'
      this.query = ''
    } else if (raw.charCodeAt(0) === 0x2f) {
      this.settleAuthority(hostLine, hostLine)
      this.settlePath(raw)
    } else {
      const absolute = /^http:\/\/([^/?#@\\]+)(.*)$/i.exec(raw)
      if (absolute === null) throw new MeshError('bad_request', 'the target is neither a path nor an http URL')
      this.settleAuthority(absolute[1]!, hostLine)
      this.settlePath(absolute[2]!.startsWith('/') ? absolute[2]! : `/${absolute[2]}`)
    }
  }

  private settlePath(raw: string): void {
    const mark = raw.indexOf('?')
    const path = mark === -1 ? raw : raw.slice(0, mark)
    this.query = mark === -1 ? '' : raw.slice(mark + 1)
    const canonical = canonicalPath(path)
    if (canonical === null || (mark !== -1 && !isQuery(this.query))) {
      throw new MeshError('bad_request', 'the path is malformed or ambiguous')
    }
    this.path = canonical
    this.target = canonical === path ? raw : mark === -1 ? canonical : `${canonical}?${this.query}`
  }

  private settleAuthority(text: string | null, hostLine: string | null): void {
    // An empty Host is legal and names nothing (RFC 9110 section 7.2).
    if (text === null || text === '') return
    const authority = parseAuthority(text)
    if (authority === null) throw new MeshError('bad_request', 'Host is malformed')
    if (hostLine !== null && hostLine !== text && parseAuthority(hostLine)?.text !== authority.text) {
      throw new MeshError('bad_request', 'Host differs from the target')
    }
    this.host = authority.host
    this.hostPort = authority.port
    this.authority = authority.text
  }

  private settleFraming(length: string | null, coding: string | null): void {
    if (coding !== null) {
      if (length !== null) throw new MeshError('bad_request', 'both Content-Length and Transfer-Encoding were sent')
      if (this.version === 0) throw new MeshError('bad_request', 'HTTP/1.0 has no Transfer-Encoding')
      const wanted = coding.toLowerCase()
      if (wanted === 'chunked') {
        this.framing = 'chunked'
        return
      }
      if (
        /^(?:gzip|x-gzip|deflate|compress|x-compress)(?: ?, ?(?:gzip|deflate|compress))*(?: ?, ?chunked)?$/.test(wanted)
      ) {
        throw new MeshError('not_implemented', `Transfer-Encoding: ${wanted}`)
      }
      throw new MeshError('bad_request', 'Transfer-Encoding is malformed')
    }
    if (length === null) return
    this.length = readLength(length)
    if (this.length < 0) throw new MeshError('bad_request', 'Content-Length is malformed')
    this.framing = 'length'
  }

  private settleConnection(connection: string | null, upgrade: string): void {
    this.isKeepAlive = this.version === 1
    if (connection === null) return
    if (isPlainKeepAlive(connection)) {
      this.isKeepAlive = true
      return
    }
    const options = readTokens(connection)
    this.isKeepAlive = !options.includes('close') && (this.version === 1 || options.includes('keep-alive'))
    if (upgrade !== '' && options.includes('upgrade') && this.canSwitch(upgrade)) this.upgrade = upgrade
    const names = options.filter((option) => !connectionOptions.has(option))
    if (names.length > 0) this.cutOptions(names)
  }

  /**
   * Whether an Upgrade is looked at; else the request is answered as if it had not been asked for, which RFC 9110 section
   * 7.8 allows. h2c is not: common clients always ask for it. Nor is what has a body: it would have to be read first.
   */
  private canSwitch(upgrade: string): boolean {
    const isBodiless = this.framing === 'none' || (this.framing === 'length' && this.length === 0)
    return this.version === 1 && this.method === 'GET' && isBodiless && !readTokens(upgrade).includes('h2c')
  }

  /** Cuts the lines that Connection names as meant for this hop only (RFC 9110 section 7.6.1). */
  private cutOptions(names: string[]): void {
    for (const name of names) {
      if (unnameable.has(name)) throw new MeshError('bad_request', `Connection must not name ${name}`)
    }
    if (names.includes('x-forwarded-for')) this.forwardedFor = ''
    if (names.includes('x-forwarded-proto')) this.hasForwardedProto = false
    if (names.includes('traceparent')) this.traceparent = ''
    if (names.includes('x-request-id')) this.requestId = ''
    this.lines.cutNamed(names)
  }
}

const connectionOptions = new Set(['close', 'keep-alive', 'upgrade', 'te', 'http2-settings'])

interface Seen {
  host: string | null
  connection: string | null
  upgrade: string
  length: string | null
  coding: string | null
}

/** PRI opens HTTP/2 and is no method of a request (RFC 9113 section 11.6). */
const refusedMethods = new Set(['CONNECT', 'TRACE', 'PRI'])
const framingNames = new Set(['content-length', 'transfer-encoding'])
const unnameable = new Set([...framingNames, 'host'])

function joined(before: string | null, value: string): string {
  return before === null ? value : `${before}, ${value}`
}

/** Ms; 0 for what is no number of at most 9 digits. */
function readDeadline(value: string): number {
  return /^\d{1,9}$/.test(value) ? Number(value) : 0
}

function countVia(value: string): number {
  if (value === '1.1 weft') return 1
  return value.split(',').filter((entry) => entry.trim().toLowerCase() === '1.1 weft').length
}
