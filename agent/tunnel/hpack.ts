// Header compression (RFC 7541): decodes whatever a peer sends; encodes with the static table and plain literals alone,
// since a tunnel's few headers come once in the life of a stream.

import { codes, H2Error, maxHeaderBytes } from './frame.ts'
import { huffmanDecode } from './huffman.ts'

export type Header = [name: string, value: string]

/** RFC 7541 appendix A. */
const statics: Header[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ...(
    'accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control ' +
    'content-disposition content-encoding content-language content-length content-location content-range content-type ' +
    'cookie date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since ' +
    'last-modified link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after ' +
    'server set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate'
  )
    .split(' ')
    .map((name): Header => [name, '']),
]

/** What a table entry counts for (section 4.1). */
const entryBytes = ([name, value]: Header): number => name.length + value.length + 32

/** A prefix integer of at most so many bytes after the first: no length in a header block needs more. */
const maxIntegerBytes = 4

/** Decodes the header blocks of one connection, in their order. */
export class HeaderDecoder {
  #at = 0
  #block: Buffer = Buffer.alloc(0)
  /** Newest first. */
  readonly #table: Header[] = []
  #tableBytes = 0
  /** The most that our settings allow: the protocol's default, which a peer may use before it has read them. */
  readonly #maxTableBytes = 4_096
  #tableLimit = 4_096

  /** @throws H2Error: the state is lost then, and the connection with it */
  decode(block: Buffer): Header[] {
    this.#block = block
    this.#at = 0
    const headers: Header[] = []
    let bytes = 0
    while (this.#at < block.length) {
      const header = this.#next(headers.length === 0)
      if (header === null) continue
      bytes += entryBytes(header)
      // A small block can stand for a large list, by repeating an entry of the table.
      if (bytes > maxHeaderBytes * 2) throw new H2Error(codes.calm, 'the header list is too long')
      headers.push(header)
    }
    return headers
  }

  /** One representation (section 6); null for a change of the table's size. */
  #next(isFirst: boolean): Header | null {
    const byte = this.#block[this.#at]!
    if (byte >= 0x80) return this.#entry(this.#integer(7))
    if (byte >= 0x40) {
      const header = this.#literal(6)
      this.#insert(header)
      return header
    }
    if (byte >= 0x20) {
      if (!isFirst) throw new H2Error(codes.compression, 'a table size amid headers')
      const limit = this.#integer(5)
      if (limit > this.#maxTableBytes) throw new H2Error(codes.compression, 'a table size beyond the setting')
      this.#tableLimit = limit
      this.#evict(0)
      return null
    }
    return this.#literal(4)
  }

  #literal(bits: number): Header {
    const index = this.#integer(bits)
    const name = index === 0 ? this.#string() : this.#entry(index)[0]
    return [name, this.#string()]
  }

  #entry(index: number): Header {
    const found = index <= statics.length ? statics[index - 1] : this.#table[index - statics.length - 1]
    if (found === undefined) throw new H2Error(codes.compression, `no header has the index ${index}`)
    return found
  }

  #insert(header: Header): void {
    const bytes = entryBytes(header)
    this.#evict(bytes)
    if (bytes > this.#tableLimit) return
    this.#table.unshift(header)
    this.#tableBytes += bytes
  }

  /** Makes room. */
  #evict(bytes: number): void {
    while (this.#table.length > 0 && this.#tableBytes + bytes > this.#tableLimit)
      this.#tableBytes -= entryBytes(this.#table.pop()!)
  }

  #byte(): number {
    const byte = this.#block[this.#at++]
    if (byte === undefined) throw new H2Error(codes.compression, 'a truncated header block')
    return byte
  }

  /** Section 5.1. */
  #integer(bits: number): number {
    const most = 2 ** bits - 1
    let value = this.#byte() & most
    if (value < most) return value
    for (let count = 0; count < maxIntegerBytes; count++) {
      const byte = this.#byte()
      value += (byte & 0x7f) * 2 ** (7 * count)
      if (byte < 0x80) return value
    }
    throw new H2Error(codes.compression, 'an integer without end')
  }

  /** Section 5.2. */
  #string(): string {
    const isHuffman = (this.#block[this.#at] ?? 0) >= 0x80
    const length = this.#integer(7)
    const start = this.#at
    const end = start + length
    if (end > this.#block.length) throw new H2Error(codes.compression, 'a truncated header string')
    this.#at = end
    return isHuffman ? huffmanDecode(this.#block, start, end) : this.#block.toString('latin1', start, end)
  }
}

const indexes = new Map(statics.map(([name, value], index) => [`${name}\0${value}`, index + 1]))
const names = new Map(statics.map(([name], index): [string, number] => [name, index + 1]).reverse())

function integer(value: number, bits: number, first: number, into: number[]): void {
  const most = 2 ** bits - 1
  if (value < most) {
    into.push(first | value)
    return
  }
  into.push(first | most)
  let rest = value - most
  while (rest >= 0x80) {
    into.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  into.push(rest)
}

function string(text: string, into: number[]): void {
  integer(text.length, 7, 0, into)
  for (let at = 0; at < text.length; at++) into.push(text.charCodeAt(at) & 0xff)
}

/** Encodes a header block; values are latin1, names in lower case. */
export function encodeHeaders(headers: readonly Header[]): Buffer {
  const bytes: number[] = []
  for (const [name, value] of headers) {
    const index = indexes.get(`${name}\0${value}`)
    if (index !== undefined) {
      integer(index, 7, 0x80, bytes)
      continue
    }
    // Literal without indexing: nothing that we send is worth a place in the peer's table.
    const known = names.get(name) ?? 0
    integer(known, 4, 0, bytes)
    if (known === 0) string(name, bytes)
    string(value, bytes)
  }
  return Buffer.from(bytes)
}
