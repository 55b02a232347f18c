// Message bodies in transit (RFC 9112 sections 6 and 7): follows the framing byte by byte and hands on what is to be
// forwarded, as ranges of the lent buffer. A chunked body goes on as it came, but for chunk extensions, which are cut;
// or as its bare content, for a receiver that speaks HTTP/1.0.

import { fieldBlock } from './fields.ts'
import type { Framing } from './head.ts'

/** Where the forwarded bytes go. */
export interface BodySink {
  onBody(chunk: Buffer, start: number, end: number): void
  /** Framing that had to be written anew. */
  onBodyText(text: string): void
}

/** States of the chunked decoder, in the order of the grammar. */
const size = 0
const extension = 1
const sizeLf = 2
const data = 3
const dataCr = 4
const dataLf = 5
const trailer = 6

/** A chunk's size line, and the trailer section, may be this long. */
const lineMost = 1024
const trailerMost = 16 * 1024
const trailerEnd = Buffer.from('\r\n\r\n')
/** Names that a trailer must not have: framing, routing, authentication (RFC 9110 section 6.5.1). */
const forbiddenTrailer =
  /^(?:content-length|transfer-encoding|host|connection|te|trailer|upgrade|expect|authorization|content-encoding|x-forwarded-[a-z-]*|x-weft-[a-z-]*):/im

export class Body {
  /** The whole body has passed. */
  isDone = true
  /** What is wrong with it; empty while nothing is. Nothing after the flaw has been forwarded. */
  flaw = ''
  /** Content bytes that have passed. */
  contentBytes = 0
  private framing: Framing = 'none'
  /** Content left: of the body, or of the current chunk. */
  left = 0
  private state = size
  private digits = 0
  private lineBytes = 0
  private trailerText = ''
  private isBare = false

  /**
   * Begins a body.
   * @param length of the content in bytes, for framing `length`
   * @param isBare forwards the content of a chunked body without its framing
   */
  start(framing: Framing, length: number, isBare: boolean): void {
    this.framing = framing
    this.left = length
    this.isDone = framing === 'none' || (framing === 'length' && length === 0)
    this.flaw = ''
    this.contentBytes = 0
    this.state = size
    this.digits = 0
    this.lineBytes = 0
    this.trailerText = ''
    this.isBare = isBare
  }

  /**
   * Follows the next bytes.
   * @returns the position behind the last byte that belongs to the body; less than `end` once it is done or flawed
   */
  feed(chunk: Buffer, start: number, end: number, sink: BodySink): number {
    if (this.isDone) return start
    if (this.framing === 'chunked') return this.feedChunked(chunk, start, end, sink)
    const stop = this.framing === 'length' && end - start > this.left ? start + this.left : end
    this.contentBytes += stop - start
    if (this.framing === 'length') {
      this.left -= stop - start
      this.isDone = this.left === 0
    }
    if (stop > start) sink.onBody(chunk, start, stop)
    return stop
  }

  /**
   * The sender has closed its side.
   * @returns whether that is a proper end: only of a body that is framed by the end of the connection
   */
  finish(): boolean {
    if (this.framing === 'close' && this.flaw === '') this.isDone = true
    return this.isDone
  }

  private feedChunked(chunk: Buffer, start: number, end: number, sink: BodySink): number {
    let at = start
    // Start of the bytes that are forwarded as they came and were not handed on yet.
    let mark = start
    while (at < end && !this.isDone && this.flaw === '') {
      switch (this.state) {
        case size:
        case extension:
        case sizeLf: {
          const lineStart = at
          const isWhole = this.lineBytes === 0
          at = this.readSizeLine(chunk, at, end)
          if (this.flaw !== '') {
            // Nothing of a flawed line goes on.
            if (!this.isBare && lineStart > mark) sink.onBody(chunk, mark, lineStart)
            return at
          }
          const isComplete = this.state === data || this.state === trailer
          // A line that came in one piece and is nothing but digits goes on as it is.
          const isPlain = isComplete && isWhole && at - lineStart === this.digits + 2
          if (!isPlain || this.isBare) {
            if (!this.isBare && lineStart > mark) sink.onBody(chunk, mark, lineStart)
            mark = at
            if (isComplete && !this.isBare) sink.onBodyText(`${this.left.toString(16)}\r\n`)
          }
          if (isComplete) {
            this.digits = 0
            this.lineBytes = 0
          }
          break
        }
        case data: {
          const stop = Math.min(end, at + this.left)
          if (this.isBare) sink.onBody(chunk, at, stop)
          this.contentBytes += stop - at
          this.left -= stop - at
          at = stop
          if (this.left === 0) this.state = dataCr
          break
        }
        case dataCr:
          if (chunk[at] !== 0x0d) this.flaw = 'a chunk is longer than its size says'
          else {
            this.state = dataLf
            at++
          }
          break
        case dataLf:
          if (chunk[at] !== 0x0a) this.flaw = 'a chunk does not end with CRLF'
          else {
            this.state = size
            at++
          }
          break
        default: {
          // The trailer section is kept until it is whole, then checked, then forwarded.
          if (!this.isBare && at > mark) sink.onBody(chunk, mark, at)
          at = this.readTrailer(chunk, at, end, sink)
          mark = at
        }
      }
    }
    if (!this.isBare && this.flaw === '' && at > mark) sink.onBody(chunk, mark, at)
    return at
  }

  /** Reads a size line as far as it is there; the state tells how far that is. */
  private readSizeLine(chunk: Buffer, start: number, end: number): number {
    let at = start
    while (at < end) {
      const code = chunk[at]!
      this.lineBytes++
      if (this.lineBytes > lineMost) {
        this.flaw = 'a chunk extension is too long'
        return at
      }
      if (this.state === sizeLf) {
        if (code !== 0x0a) this.flaw = 'a chunk size line does not end with CRLF'
        else {
          at++
          this.state = this.left === 0 ? trailer : data
        }
        return at
      }
      if (code === 0x0d) this.state = sizeLf
      else if (this.state === extension) {
        if ((code < 0x20 && code !== 0x09) || code === 0x7f) {
          this.flaw = 'a chunk extension has a control character'
          return at
        }
      } else if (!this.readDigit(code)) return at
      if (this.state === sizeLf && this.digits === 0) {
        this.flaw = 'a chunk has no size'
        return at
      }
      at++
    }
    return at
  }

  private readDigit(code: number): boolean {
    const value = hexValue(code)
    if (value >= 0) {
      // 12 digits stay far below 2^53.
      if (this.digits === 12) this.flaw = 'a chunk size is too large'
      else {
        this.left = this.digits === 0 ? value : this.left * 16 + value
        this.digits++
      }
    } else if (code === 0x3b && this.digits > 0) this.state = extension
    else this.flaw = 'a chunk size is malformed'
    return this.flaw === ''
  }

  private readTrailer(chunk: Buffer, start: number, end: number, sink: BodySink): number {
    const before = this.trailerText.length
    const text = this.trailerText + chunk.latin1Slice(start, Math.min(end, start + trailerMost + 1))
    const stop = text.startsWith('\r\n') ? 2 : endOfLines(text)
    if (stop === -1) {
      this.trailerText = text
      if (text.length > trailerMost) this.flaw = 'the trailer section is too long'
      return end
    }
    fieldBlock.lastIndex = 0
    const section = text.slice(0, stop)
    if (!fieldBlock.test(section) || fieldBlock.lastIndex !== stop) this.flaw = 'a trailer line is malformed'
    else if (forbiddenTrailer.test(section)) this.flaw = 'the trailer has a field that may not stand there'
    else {
      this.isDone = true
      if (!this.isBare) sink.onBodyText(section)
    }
    return start + stop - before
  }
}

function endOfLines(text: string): number {
  const at = text.indexOf(trailerEnd.latin1Slice())
  return at === -1 ? -1 : at + 4
}

function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const lower = code | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}
