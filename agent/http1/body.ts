// Message bodies in transit (RFC 9112 section 6): follows the framing and hands on what is to be forwarded, as ranges of
// the lent buffer.

import { Chunked } from './chunked.ts'
import type { Framing } from './head.ts'

/** Where the forwarded bytes go. */
export interface BodySink {
  onBody(chunk: Buffer, start: number, end: number): void
  /** Framing that had to be written anew. */
  onBodyText(text: string): void
}

export class Body {
  private framing: Framing = 'none'
  private left = 0
  private passed = 0
  private isEnded = true
  private chunked: Chunked | null = null

  /** The whole body has passed. */
  get isDone(): boolean {
    return this.framing === 'chunked' ? this.chunked!.isDone : this.isEnded
  }

  /** What is wrong with it; empty while nothing is. */
  get flaw(): string {
    return this.framing === 'chunked' ? this.chunked!.flaw : ''
  }

  /** Content bytes that have passed. */
  get contentBytes(): number {
    return this.framing === 'chunked' ? this.chunked!.contentBytes : this.passed
  }

  /**
   * Begins a body.
   * @param length of the content in bytes, for framing `length`
   * @param isBare forwards the content of a chunked body without its framing
   */
  start(framing: Framing, length: number, isBare: boolean): void {
    this.framing = framing
    this.left = length
    this.passed = 0
    this.isEnded = framing === 'none' || (framing === 'length' && length === 0)
    if (framing === 'chunked') {
      this.chunked ??= new Chunked()
      this.chunked.start(isBare)
    }
  }

  /**
   * Follows the next bytes.
   * @returns the position behind the last byte that belongs to the body: less than `end` once it is done or flawed
   */
  feed(chunk: Buffer, start: number, end: number, sink: BodySink): number {
    if (this.framing === 'chunked') return this.chunked!.feed(chunk, start, end, sink)
    if (this.isEnded) return start
    let stop = end
    if (this.framing === 'length') {
      if (end - start > this.left) stop = start + this.left
      this.left -= stop - start
      this.isEnded = this.left === 0
    }
    this.passed += stop - start
    if (stop > start) sink.onBody(chunk, start, stop)
    return stop
  }

  /**
   * The sender has closed its side.
   * @returns whether that is a proper end of the body
   */
  finish(): boolean {
    if (this.framing === 'close') this.isEnded = true
    return this.isDone
  }
}
