// Follows a chunked body (RFC 9112 section 7.1). What goes on is the body as it came, without chunk extensions; a size
// line that came in pieces or with an extension is written anew. Or, for a receiver that speaks HTTP/1.0, the bare
// content. Nothing behind the first flaw goes on.

import type { BodySink } from './body.ts'
import { fieldBlock } from './fields.ts'
import { latin1 } from './latin1.ts'

/** Where in the grammar the decoder stands. */
type State = 'size' | 'extension' | 'sizeLf' | 'data' | 'dataCr' | 'dataLf' | 'trailer'

/** A size line with its extension may be this long, and a trailer section that long. */
const lineMost = 1024
const trailerMost = 16 * 1024
/** More digits than any body needs, and still exact in a double. */
const digitsMost = 12
/**
 * Chunk extensions (RFC 9112 section 7.1.1), without the white space that its grammar calls bad: no client sends it, and
 * readers have disagreed about it.
 */
const extensions =
  /^(?:;[!#$%&'*+\-.^_`|~\w]+(?:=(?:[!#$%&'*+\-.^_`|~\w]+|"(?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)+$/
/** What a trailer must not say: framing, routing, authentication (RFC 9110 section 6.5.1). */
const forbiddenTrailer =
  /^(?:content-length|transfer-encoding|host|connection|te|trailer|upgrade|expect|authorization|content-encoding|x-forwarded-[a-z-]*|x-weft-[a-z-]*):/im

export class Chunked {
  isDone = false
  /** What is wrong; empty while nothing is. */
  flaw = ''
  contentBytes = 0
  private state: State = 'size'
  /** Of the current chunk: content to come. */
  private left = 0
  private digits = 0
  private lineBytes = 0
  /** Of the current size line, from its semicolon on. */
  private extension = ''
  private trailerText = ''
  private isBare = false
  /** Start of the bytes of the current read that go on as they came and were not handed on yet. */
  private mark = 0

  /** @param isBare hands on the content alone */
  start(isBare: boolean): void {
    this.isDone = false
    this.flaw = ''
    this.contentBytes = 0
    this.state = 'size'
    this.left = 0
    this.digits = 0
    this.lineBytes = 0
    this.extension = ''
    this.trailerText = ''
    this.isBare = isBare
  }

  /** @returns the position behind the last byte that belongs to the body */
  feed(chunk: Buffer, start: number, end: number, sink: BodySink): number {
    let at = start
    this.mark = start
    while (at < end && !this.isDone && this.flaw === '') at = this.step(chunk, at, end, sink)
    // After a flaw, `at` is the flaw's place: what is before it was in order.
    this.handOn(chunk, at, sink)
    return at
  }

  private step(chunk: Buffer, at: number, end: number, sink: BodySink): number {
    switch (this.state) {
      case 'data':
        return this.stepData(chunk, at, end, sink)
      case 'dataCr':
        return this.expect(chunk, at, 0x0d, 'dataLf', 'a chunk is longer than its size says')
      case 'dataLf':
        return this.expect(chunk, at, 0x0a, 'size', 'a chunk does not end with CRLF')
      case 'trailer':
        return this.stepTrailer(chunk, at, end, sink)
      default:
        return this.stepSize(chunk, at, end, sink)
    }
  }

  /** Hands on the marked bytes up to `stop`. */
  private handOn(chunk: Buffer, stop: number, sink: BodySink): void {
    if (!this.isBare && stop > this.mark) sink.onBody(chunk, this.mark, stop)
    this.mark = stop
  }

  private expect(chunk: Buffer, at: number, code: number, next: State, flaw: string): number {
    if (chunk[at] !== code) {
      this.flaw = flaw
      return at
    }
    this.state = next
    return at + 1
  }

  private stepData(chunk: Buffer, at: number, end: number, sink: BodySink): number {
    const stop = Math.min(end, at + this.left)
    if (this.isBare) sink.onBody(chunk, at, stop)
    this.contentBytes += stop - at
    this.left -= stop - at
    if (this.left === 0) this.state = 'dataCr'
    return stop
  }

  private stepSize(chunk: Buffer, start: number, end: number, sink: BodySink): number {
    const isFirstPiece = this.lineBytes === 0
    let at = start
    let isWhole = false
    while (at < end && !isWhole && this.flaw === '') {
      isWhole = this.state === 'sizeLf' && chunk[at] === 0x0a
      if (!isWhole) this.readSizeByte(chunk[at]!)
      if (this.flaw === '') at++
    }
    this.lineBytes += at - start
    if (this.lineBytes > lineMost && this.flaw === '') this.flaw = 'a chunk extension is too long'
    if (this.flaw !== '') {
      this.handOn(chunk, start, sink)
      this.mark = at
      return at
    }
    // Digits and CRLF in one piece go on as they are, anything else is written anew once it is whole.
    if (!(isWhole && isFirstPiece && at - start === this.digits + 2)) {
      this.handOn(chunk, start, sink)
      this.mark = at
      if (isWhole && !this.isBare) sink.onBodyText(`${this.left.toString(16)}\r\n`)
    }
    if (isWhole) {
      this.state = this.left === 0 ? 'trailer' : 'data'
      this.digits = 0
      this.lineBytes = 0
      this.extension = ''
    }
    return at
  }

  private readSizeByte(code: number): void {
    if (this.state === 'sizeLf') this.flaw = 'a chunk size line does not end with CRLF'
    else if (code === 0x0d) {
      if (this.digits === 0) this.flaw = 'a chunk has no size'
      else if (this.extension !== '' && !extensions.test(this.extension)) this.flaw = 'a chunk extension is malformed'
      else this.state = 'sizeLf'
    } else if (this.state === 'extension' || (code === 0x3b && this.digits > 0)) {
      this.state = 'extension'
      this.extension += String.fromCharCode(code)
    } else this.readDigit(hexValue(code))
  }

  private readDigit(value: number): void {
    if (value < 0) this.flaw = 'a chunk size is malformed'
    else if (this.digits === digitsMost) this.flaw = 'a chunk size is too large'
    else {
      this.left = this.digits === 0 ? value : this.left * 16 + value
      this.digits++
    }
  }

  /** The trailer section is kept until it is whole, then checked, then forwarded. */
  private stepTrailer(chunk: Buffer, start: number, end: number, sink: BodySink): number {
    this.handOn(chunk, start, sink)
    const before = this.trailerText.length
    const text = this.trailerText + latin1(chunk, start, Math.min(end, start + trailerMost + 1))
    const lines = text.startsWith('\r\n') ? 0 : text.indexOf('\r\n\r\n') + 2
    if (lines === 1) {
      this.trailerText = text
      if (text.length > trailerMost) this.flaw = 'the trailer section is too long'
      this.mark = end
      return end
    }
    const section = text.slice(0, lines + 2)
    fieldBlock.lastIndex = 0
    if (!fieldBlock.test(section) || fieldBlock.lastIndex !== section.length) this.flaw = 'a trailer line is malformed'
    else if (forbiddenTrailer.test(section)) this.flaw = 'the trailer has a field that may not stand there'
    else {
      this.isDone = true
      if (!this.isBare) sink.onBodyText(section)
    }
    const at = start + section.length - before
    this.mark = at
    return at
  }
}

function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const lower = code | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}
