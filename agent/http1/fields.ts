// Header lines of requests and responses (RFC 9110 section 5, RFC 9112 section 5): the grammar that all of them must
// satisfy, and the block as it is forwarded: the bytes as they came, without the lines that were cut out.

/** A whole block of lines with the empty line behind it. Sticky: set `lastIndex` first. obs-fold, bare CR or LF, control
 * characters and white space before the colon don't fit. */
export const fieldBlock = /(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n/y

/**
 * A quick look that spares most lines a closer one: whether a name may be one of those that the parsers act on, by its
 * length and first letter. Must know every name in the switches of head.ts and status.ts.
 */
export function isInteresting(text: string, at: number, length: number): boolean {
  const first = text.charCodeAt(at) | 0x20
  switch (length) {
    case 2:
      return first === 0x74 // te
    case 3:
      return first === 0x76 // via
    case 4:
      return first === 0x68 || first === 0x64 // host, date
    case 6:
      return first === 0x65 // expect
    case 7:
      return first === 0x75 // upgrade
    case 10:
      return first === 0x63 || first === 0x6b // connection, keep-alive
    case 11:
      return first === 0x74 || first === 0x72 // traceparent, retry-after
    case 12:
      return first === 0x63 || first === 0x78 || first === 0x78 // content-type, x-request-id, x-weft-error
    case 13:
      return first === 0x77 // weft-deadline
    case 14:
      return first === 0x63 || first === 0x68 // content-length, http2-settings
    case 15:
      return first === 0x78 // x-forwarded-for
    case 16:
      return first === 0x70 // proxy-connection
    case 17:
      return first === 0x74 || first === 0x78 // transfer-encoding, x-forwarded-proto
    case 18:
      return first === 0x70 // proxy-authenticate
    case 19:
      return first === 0x70 // proxy-authorization
    case 23:
      return first === 0x78 // x-forwarded-client-cert
    default:
      return false
  }
}

const none: readonly string[] = []

/** The lines of one head. One object serves all heads of a connection, one after the other. */
export class FieldLines {
  /** How many lines there are. */
  count = 0
  private text = ''
  private from = 0
  /** Pairs of positions: what is not forwarded, in ascending order. */
  private cuts: number[] = []
  /** Lower-case names that were cut as a whole: neither forwarded nor found. */
  private removed: readonly string[] = none
  /** Lines that were put in, each with its CRLF. */
  private added = ''
  private values: Map<string, string[]> | null = null

  /** Begins with a new head, whose lines start at `from` and end with the empty line at the end of `text`. */
  start(text: string, from: number): void {
    this.text = text
    this.from = from
    this.count = 0
    this.values = null
    this.removed = none
    this.added = ''
    if (this.cuts.length > 0) this.cuts = []
  }

  /** Leaves a range out of what is forwarded. Ranges come in ascending order, whole lines. */
  cut(start: number, end: number): void {
    this.cuts.push(start, end)
  }

  nameAt(at: number, colon: number): string {
    return this.text.slice(at, colon).toLowerCase()
  }

  /** The value between a colon and the end of its line, without optional white space. */
  valueAt(colon: number, lineEnd: number): string {
    let start = colon + 1
    let end = lineEnd
    while (start < end && isSpace(this.text.charCodeAt(start))) start++
    while (end > start && isSpace(this.text.charCodeAt(end - 1))) end--
    return this.text.slice(start, end)
  }

  /** All values of a header by lower-case name, joined with ", "; null if it is absent. */
  value(name: string): string | null {
    const values = this.each(name)
    return values.length === 0 ? null : values.length === 1 ? values[0]! : values.join(', ')
  }

  /** The values of a header's lines by lower-case name, each for itself. */
  each(name: string): readonly string[] {
    this.values ??= this.index()
    return this.values.get(name) ?? none
  }

  /** Cuts all lines with one of these lower-case names. */
  cutNamed(names: readonly string[]): void {
    const ranges: [number, number][] = []
    this.walk((at, colon, lineEnd) => {
      if (this.isCut(at) || names.includes(this.nameAt(at, colon))) ranges.push([at, lineEnd + 2])
    })
    this.cuts = ranges.flat()
    this.removed = this.removed.length === 0 ? names : [...this.removed, ...names]
    this.values = null
  }

  /**
   * Cuts lines and puts others in their place.
   * @param names lower-case
   * @param lines each with its CRLF
   */
  edit(names: readonly string[], lines: string): void {
    if (names.length > 0) this.cutNamed(names)
    this.added += lines
    this.values = null
  }

  /** The lines as they are forwarded, each with its CRLF, without the empty line. */
  block(): string {
    const { text, cuts } = this
    let at = this.from
    let block = ''
    for (let pair = 0; pair < cuts.length; pair += 2) {
      if (cuts[pair]! > at) block += text.slice(at, cuts[pair])
      at = cuts[pair + 1]!
    }
    const end = text.length - 2
    if (cuts.length === 0) block = text.slice(at, end)
    else if (at < end) block += text.slice(at, end)
    return this.added === '' ? block : block + this.added
  }

  private isCut(at: number): boolean {
    for (let pair = 0; pair < this.cuts.length; pair += 2) {
      if (at >= this.cuts[pair]! && at < this.cuts[pair + 1]!) return true
    }
    return false
  }

  private walk(visit: (at: number, colon: number, lineEnd: number) => void): void {
    const end = this.text.length - 2
    for (let at = this.from; at < end; ) {
      const lineEnd = this.text.indexOf('\r\n', at)
      visit(at, this.text.indexOf(':', at), lineEnd)
      at = lineEnd + 2
    }
  }

  private index(): Map<string, string[]> {
    const values = new Map<string, string[]>()
    const put = (name: string, value: string) => {
      const before = values.get(name)
      if (before === undefined) values.set(name, [value])
      else before.push(value)
    }
    this.walk((at, colon, lineEnd) => {
      const name = this.nameAt(at, colon)
      if (!this.removed.includes(name)) put(name, this.valueAt(colon, lineEnd))
    })
    for (const line of this.added.split('\r\n')) {
      const colon = line.indexOf(':')
      if (colon > 0) put(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
    }
    return values
  }
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/**
 * Reads the value of Content-Length: digits alone, no sign, no leading zero, no list (RFC 9112 section 6.3).
 * @returns the length in bytes, or -1 for anything else
 */
export function readLength(value: string): number {
  return /^(?:0|[1-9]\d{0,14})$/.test(value) ? Number(value) : -1
}

/** The lower-case members of a comma-separated list, empty ones left out (RFC 9110 section 5.6.1). */
export function readTokens(value: string): string[] {
  if (!value.includes(',')) return value === '' ? [] : [value.trim().toLowerCase()]
  return value
    .split(',')
    .map((member) => member.trim().toLowerCase())
    .filter((member) => member !== '')
}
