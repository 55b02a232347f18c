// What goes out on a wire within one read, gathered so that a head and a small body leave in one write.

import { latin1 } from './latin1.ts'
import type { Wire } from './wire.ts'

/** What is gathered up to this size goes out as one text: Node hands 16 KiB to the kernel without an allocation. */
const joinBytes = 15 * 1024

export class Outbox {
  private wire: Wire | null = null
  private text = ''

  /** Begins with a wire, or with none: then nothing is gathered. */
  open(wire: Wire | null): void {
    this.wire = wire
    this.text = ''
  }

  addText(text: string): void {
    this.text += text
  }

  /**
   * Adds a range of a lent buffer.
   * @returns false if the wire is slow: stop until it has drained
   */
  add(chunk: Buffer, start: number, end: number): boolean {
    if (this.wire === null) return true
    if (end - start + this.text.length <= joinBytes) {
      this.text += latin1(chunk, start, end)
      return true
    }
    const isQuick = this.flush()
    return this.wire.writeCopy(chunk, start, end) && isQuick
  }

  /** Adds bytes that nobody will change. */
  addBytes(bytes: Buffer): boolean {
    if (this.wire === null) return true
    const isQuick = this.flush()
    return this.wire.writeBytes(bytes) && isQuick
  }

  /**
   * Writes what was gathered.
   * @returns false if the wire is slow
   */
  flush(): boolean {
    const { text } = this
    if (text === '' || this.wire === null) return true
    this.text = ''
    return this.wire.writeText(text)
  }
}
