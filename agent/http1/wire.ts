// A byte channel in both directions, as the engine uses it: a TCP socket (tcp.ts) or a stream of the tunnel. Bytes come
// as a range of a buffer that is only lent for the call, text goes out as latin1, back-pressure is a return value.

/** Who uses a wire. Replaced freely: a pooled connection gets a new handler with each exchange. */
export interface WireHandler {
  /** The bytes are valid until this returns: keep a copy, never the buffer. */
  onBytes(chunk: Buffer, start: number, end: number): void
  /** The other side has sent its last byte; ours may still be sent. */
  onEnd(): void
  /** What a write had refused to take quickly is gone: more may be written. */
  onDrain(): void
  /** The last call. `error` is null after an orderly end on both sides, else says what broke the wire. */
  onClose(error: Error | null): void
}

export interface Wire {
  handler: WireHandler
  /** Address of the other side, an IPv4-mapped one as plain IPv4; empty once it is gone. */
  readonly remoteAddress: string
  readonly isClosed: boolean
  /** Bytes written and not yet handed to the kernel. */
  readonly backlogBytes: number
  /**
   * Writes latin1 text.
   * @returns false if the other side is slow: wait for `onDrain`
   */
  writeText(text: string): boolean
  /** Writes a range of a lent buffer, by copying it. */
  writeCopy(chunk: Buffer, start: number, end: number): boolean
  /** Writes bytes that the caller will not touch again. */
  writeBytes(bytes: Buffer): boolean
  /** No more `onBytes` until `resume`. Neither `onEnd` nor a reset is noticed meanwhile. */
  pause(): void
  resume(): void
  /** Sends what was written and then the end; the other direction goes on. */
  end(): void
  /** Breaks the wire so that the other side sees a reset, never a clean end. */
  reset(): void
  /** Closes at once; to be used where both sides are done with the wire. */
  destroy(): void
}

/** For a wire that nobody uses right now, and before the first handler. */
export const noHandler: WireHandler = {
  onBytes() {},
  onEnd() {},
  onDrain() {},
  onClose() {},
}
