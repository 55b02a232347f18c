// All that the streams of one connection write in one turn of the event loop, as one write: one system call and few TLS
// records for many small messages is what makes the encrypted hop cheap.

import type { Writable } from 'node:stream'
import { flags, headBytes, maxFrameBytes, types, writeHead } from './frame.ts'
import { encodeHeaders, type Header } from './hpack.ts'

/** Size of the buffers that turns are gathered in; a fuller turn is several writes. */
const chunkBytes = 64 << 10
/** Beyond this the socket is behind, and streams keep what they have to say. */
const roomBytes = 128 << 10
/** Buffers kept for the next turns of this thread. */
const maxFree = 32

const u32 = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

const free: Buffer[] = []
let dirty: Output[] = []

/** Runs after the poll phase, in which all sockets that had something to read were served. */
function flushDirty(): void {
  const due = dirty
  dirty = []
  for (const output of due) output.flush()
}

function recycle(buffer: Buffer): void {
  if (free.length < maxFree) free.push(buffer)
}

export class Output {
  readonly #socket: Writable
  #buffer: Buffer | null = null
  #end = 0
  #isDirty = false
  #isBlocked = false
  /** Head of the DATA frame that ends the buffer and may still grow; -1: there is none. */
  #openAt = -1
  #openStream = 0

  /** @param onRoom called when a socket that was behind has caught up */
  constructor(socket: Writable, onRoom: () => void) {
    this.#socket = socket
    socket.on('drain', () => {
      this.#isBlocked = false
      onRoom()
    })
  }

  /** Whether streams may add DATA; control frames always may. */
  get hasRoom(): boolean {
    return !this.#isBlocked && this.pendingBytes < roomBytes
  }

  /** Bytes not yet handed to the kernel. */
  get pendingBytes(): number {
    return this.#end + this.#socket.writableLength
  }

  /** Adds a whole frame. */
  frame(type: number, flag: number, stream: number, payload: Buffer | null): void {
    const length = payload === null ? 0 : payload.length
    const at = this.#reserve(headBytes + length)
    writeHead(this.#buffer!, at, length, type, flag, stream)
    payload?.copy(this.#buffer!, at + headBytes)
  }

  /** Adds HEADERS, whole in one frame. */
  headers(stream: number, headers: readonly Header[], isEnd: boolean): void {
    const flag = isEnd ? flags.endHeaders | flags.endStream : flags.endHeaders
    this.frame(types.headers, flag, stream, encodeHeaders(headers))
  }

  /** Adds RST_STREAM. */
  reset(stream: number, code: number): void {
    this.frame(types.reset, 0, stream, u32(code))
  }

  /** Adds WINDOW_UPDATE. */
  windowUpdate(stream: number, bytes: number): void {
    this.frame(types.windowUpdate, 0, stream, u32(bytes))
  }

  /** Adds GOAWAY: streams of the peer after `last` were not looked at. */
  goaway(last: number, code: number, text: string): void {
    this.frame(types.goaway, 0, 0, Buffer.concat([u32(last), u32(code), Buffer.from(text, 'latin1')]))
  }

  /** Adds bytes that stand outside of frames: the preface. */
  raw(bytes: Buffer): void {
    const at = this.#reserve(bytes.length)
    bytes.copy(this.#buffer!, at)
  }

  /** Adds DATA by copying; at most `maxFrameBytes`. */
  data(stream: number, chunk: Buffer, start: number, end: number): void {
    const at = this.#reserveData(stream, end - start)
    chunk.copy(this.#buffer!, at, start, end)
  }

  /** Adds DATA from latin1 text, without a buffer in between; at most `maxFrameBytes`. */
  text(stream: number, text: string): void {
    const at = this.#reserveData(stream, text.length)
    this.#buffer!.write(text, at, 'latin1')
  }

  /** Adds the end of a stream, to its last frame if that can still be changed. */
  endStream(stream: number): void {
    if (this.#openAt >= 0 && this.#openStream === stream) {
      this.#buffer![this.#openAt + 4] = flags.endStream
      this.#openAt = -1
    } else {
      this.frame(types.data, flags.endStream, stream, null)
    }
  }

  /** Hands the turn's bytes to the socket. */
  flush(): void {
    this.#isDirty = false
    const buffer = this.#buffer
    if (buffer === null) return
    const bytes = buffer.subarray(0, this.#end)
    this.#buffer = null
    this.#end = 0
    this.#openAt = -1
    if (this.#socket.destroyed || this.#socket.writableEnded) return
    if (!this.#socket.write(bytes, () => recycle(buffer))) this.#isBlocked = true
  }

  /** Where so many bytes go. */
  #reserve(bytes: number): number {
    if (this.#buffer !== null && this.#end + bytes > chunkBytes) this.flush()
    this.#buffer ??= free.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)
    if (!this.#isDirty) {
      this.#isDirty = true
      if (dirty.length === 0) setImmediate(flushDirty)
      dirty.push(this)
    }
    const at = this.#end
    this.#end += bytes
    this.#openAt = -1
    return at
  }

  /** Where so many bytes of DATA go: behind those of the same stream, or in a new frame. */
  #reserveData(stream: number, bytes: number): number {
    const openAt = this.#openAt
    if (openAt >= 0 && this.#openStream === stream && this.#end + bytes <= chunkBytes) {
      const length = this.#end - openAt - headBytes + bytes
      if (length <= maxFrameBytes) {
        const at = this.#reserve(bytes)
        writeHead(this.#buffer!, openAt, length, types.data, 0, stream)
        this.#openAt = openAt
        return at
      }
    }
    const at = this.#reserve(headBytes + bytes)
    writeHead(this.#buffer!, at, bytes, types.data, 0, stream)
    this.#openAt = at
    this.#openStream = stream
    return at + headBytes
  }
}
