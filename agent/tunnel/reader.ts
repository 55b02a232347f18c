// Cuts what a connection receives into frames: DATA is passed on as it comes, without waiting for its end, all other
// frames as a whole; header blocks are put together from their parts.

import { codes, flags, H2Error, headBytes, maxFrameBytes, maxHeaderBytes, preface, types } from './frame.ts'

/** Who understands the frames. What it throws ends the connection. */
export interface FrameSink {
  /** A DATA frame begins; its length counts against the connection's window. */
  onDataFrame(stream: number, length: number, isEmpty: boolean): void
  /** Bytes of a stream, lent for the call. */
  onData(stream: number, chunk: Buffer, start: number, end: number): void
  /** Padding of a stream: counts against the windows, means nothing. */
  onPadding(stream: number, bytes: number): void
  /** The peer has ended a stream by DATA. */
  onDataEnd(stream: number): void
  /** A whole header block. */
  onHeaders(stream: number, block: Buffer, isEnd: boolean): void
  /** Any other frame; its payload is lent for the call. */
  onFrame(type: number, flag: number, stream: number, payload: Buffer): void
}

const none = Buffer.alloc(0)

export class FrameReader {
  readonly #sink: FrameSink
  /** Bytes of a frame that is not whole yet. */
  #rest: Buffer = none
  #prefaceLeft: number
  #isFirst = true
  /** The DATA frame that is being passed on. */
  #dataLeft = 0
  #padLeft = 0
  #dataStream = 0
  #dataEnds = false
  /** Header block that goes on in CONTINUATION frames. */
  #block: { stream: number; isEnd: boolean; parts: Buffer[]; bytes: number } | null = null
  #isStopped = false

  /** @param isServer the client's preface comes first then */
  constructor(sink: FrameSink, isServer: boolean) {
    this.#sink = sink
    this.#prefaceLeft = isServer ? preface.length : 0
  }

  /** Nothing more is passed on, not even of the bytes at hand. */
  stop(): void {
    this.#isStopped = true
  }

  /** @throws H2Error where the peer breaks a rule */
  read(bytes: Buffer): void {
    let chunk = bytes
    if (this.#rest.length > 0) {
      chunk = Buffer.concat([this.#rest, bytes])
      this.#rest = none
    }
    let at = this.#prefaceLeft > 0 ? this.#skipPreface(chunk) : 0
    while (!this.#isStopped) {
      if (this.#dataLeft > 0 || this.#padLeft > 0) {
        at = this.#passData(chunk, at)
        if (at === chunk.length) return
      }
      if (chunk.length - at < headBytes) break
      const next = this.#frame(chunk, at)
      if (next < 0) break
      at = next
    }
    if (at < chunk.length) this.#rest = Buffer.copyBytesFrom(chunk, at)
  }

  #skipPreface(chunk: Buffer): number {
    const bytes = Math.min(this.#prefaceLeft, chunk.length)
    const from = preface.length - this.#prefaceLeft
    if (preface.compare(chunk, 0, bytes, from, from + bytes) !== 0)
      throw new H2Error(codes.protocol, 'no HTTP/2 preface')
    this.#prefaceLeft -= bytes
    return bytes
  }

  /** @returns where the next frame begins, or -1 if this one is not whole */
  #frame(chunk: Buffer, at: number): number {
    const length = (chunk[at]! << 16) | (chunk[at + 1]! << 8) | chunk[at + 2]!
    const type = chunk[at + 3]!
    const flag = chunk[at + 4]!
    const stream = chunk.readUInt32BE(at + 5) & 0x7fffffff
    const start = at + headBytes
    if (length > maxFrameBytes) throw new H2Error(codes.frameSize, `a frame of ${length} bytes`)
    if (this.#block !== null && (type !== types.continuation || stream !== this.#block.stream))
      throw new H2Error(codes.protocol, 'another frame amid a header block')
    if (this.#isFirst && (type !== types.settings || (flag & flags.ack) !== 0))
      throw new H2Error(codes.protocol, 'no SETTINGS at first')
    if (type === types.data) return this.#beginData(chunk, start, length, flag, stream)
    if (chunk.length - start < length) return -1
    this.#isFirst = false
    const payload = chunk.subarray(start, start + length)
    if (type === types.headers) this.#headers(flag, stream, payload)
    else if (type === types.continuation) this.#continuation(flag, payload)
    else this.#sink.onFrame(type, flag, stream, payload)
    return start + length
  }

  #beginData(chunk: Buffer, start: number, length: number, flag: number, stream: number): number {
    const isPadded = (flag & flags.padded) !== 0
    if (isPadded && chunk.length === start && length > 0) return -1
    // The length of the padding is a byte of it.
    const pad = isPadded ? (chunk[start] ?? 0) + 1 : 0
    if (pad > length) throw new H2Error(codes.protocol, 'more padding than frame')
    this.#dataStream = stream
    this.#dataLeft = length - pad
    this.#padLeft = isPadded ? pad - 1 : 0
    this.#dataEnds = (flag & flags.endStream) !== 0
    this.#sink.onDataFrame(stream, length, this.#dataLeft === 0 && !this.#dataEnds)
    if (isPadded) this.#sink.onPadding(stream, 1)
    this.#endData()
    return start + (isPadded ? 1 : 0)
  }

  /** Passes on what has come of a DATA frame. */
  #passData(chunk: Buffer, at: number): number {
    const end = Math.min(at + this.#dataLeft, chunk.length)
    if (end > at) {
      this.#dataLeft -= end - at
      this.#sink.onData(this.#dataStream, chunk, at, end)
    }
    const padEnd = this.#dataLeft > 0 ? end : Math.min(end + this.#padLeft, chunk.length)
    if (padEnd > end) {
      this.#padLeft -= padEnd - end
      this.#sink.onPadding(this.#dataStream, padEnd - end)
    }
    this.#endData()
    return padEnd
  }

  #endData(): void {
    if (!this.#dataEnds || this.#dataLeft > 0 || this.#padLeft > 0) return
    this.#dataEnds = false
    this.#sink.onDataEnd(this.#dataStream)
  }

  #headers(flag: number, stream: number, payload: Buffer): void {
    if (stream === 0) throw new H2Error(codes.protocol, 'HEADERS on stream 0')
    let start = 0
    let pad = 0
    if ((flag & flags.padded) !== 0) pad = payload[start++] ?? 0
    if ((flag & flags.priority) !== 0) start += 5
    const end = payload.length - pad
    if (start > end) throw new H2Error(codes.protocol, 'more padding than frame')
    this.#block = { stream, isEnd: (flag & flags.endStream) !== 0, parts: [], bytes: 0 }
    this.#continuation(flag, payload.subarray(start, end))
  }

  #continuation(flag: number, part: Buffer): void {
    const block = this.#block
    if (block === null) throw new H2Error(codes.protocol, 'CONTINUATION without HEADERS')
    block.bytes += part.length
    // Parts without end would cost memory and time, and never become a request (CVE-2024-27919).
    if (block.bytes > maxHeaderBytes || block.parts.length > 8) throw new H2Error(codes.calm, 'a header block too long')
    if ((flag & flags.endHeaders) === 0) {
      block.parts.push(Buffer.from(part))
      return
    }
    this.#block = null
    const whole = block.parts.length === 0 ? part : Buffer.concat([...block.parts, part])
    this.#sink.onHeaders(block.stream, whole, block.isEnd)
  }
}
