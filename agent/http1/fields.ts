// Header lines of requests and responses (RFC 9110 section 5, RFC 9112 section 5): the grammar that all of them must
// satisfy, and the block as it is forwarded: the bytes as they came, without the lines that were cut out.

/** A whole block of lines with the empty line behind it. Sticky: set `lastIndex` first. obs-fold, bare CR or LF, control
 * characters and white space before the colon don't fit. */
export const fieldBlock = /(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n/y

/** The names that the parsers act on: all that stand in the switches of head.ts and status.ts. */
const known = [
  'te',
  'via',
  'host',
  'date',
  'expect',
  'upgrade',
  'connection',
  'keep-alive',
  'traceparent',
  'retry-after',
  'content-type',
  'x-request-id',
  'x-weft-error',
  'weft-deadline',
  'content-length',
  'http2-settings',
  'x-forwarded-for',
  'proxy-connection',
  'transfer-encoding',
  'x-forwarded-proto',
  'proxy-authorization',
  'x-forwarded-client-cert',
]
/** By length, as most names are told apart by that and one more look. */
const byLength: readonly (readonly string[])[] = Array.from({ length: 24 }, (_, length) =>
  known.filter((name) => name.length === length),
)

/**
 * The name of a header line, for the parsers: the known name that stands there in whatever case, at the price of a few
 * comparisons and without a string of its own.
 * @returns empty for a name that nobody acts on
 */
export function knownName(text: string, at: number, colon: number): string {
  const length = colon - at
  if (length >= byLength.length) return ''
  const names = byLength[length]!
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!
    const differs = differsAt(text, at, name)
    if (differs === length) return name
    if (text.charCodeAt(at + differs) === underscore) return alias(text, at, names)
  }
  return ''
}

const underscore = 0x5f

/** Position of the first character of a lower-case name that differs from the text, whose letters may be in any case. */
function differsAt(text: string, at: number, name: string): number {
  let i = 0
  for (; i < name.length; i++) {
    const code = text.charCodeAt(at + i)
    const wanted = name.charCodeAt(i)
    if (code !== wanted && (code | 0x20) !== wanted) break
    // Only letters have a second case: CR would pass for a hyphen.
    if (code !== wanted && (wanted < 0x61 || wanted > 0x7a)) break
  }
  return i
}

/** A name that differs from a known one in underscores alone; empty if it differs otherwise. */
function alias(text: string, at: number, names: readonly string[]): string {
  const length = names[0]!.length
  const name = text.slice(at, at + length).toLowerCase()
  return names.includes(name.replaceAll('_', '-')) ? name : ''
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

  /**
   * The value of Transfer-Encoding. A tab around it is left in, so that it is refused: readers disagree about what it is
   * then (RFC 9112 section 5 allows it, llhttp reads another coding).
   */
  codingAt(colon: number, lineEnd: number): string {
    const tab = this.text.indexOf('\t', colon)
    return tab === -1 || tab > lineEnd ? this.valueAt(colon, lineEnd) : this.text.slice(colon + 1, lineEnd)
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
  const { length } = value
  if (length === 0 || length > 15 || (length > 1 && value.charCodeAt(0) === 0x30)) return -1
  let number = 0
  for (let i = 0; i < length; i++) {
    const digit = value.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return -1
    number = number * 10 + digit
  }
  return number
}

/** Whether a Connection line says what nearly all of them say, and nothing else. */
export function isPlainKeepAlive(value: string): boolean {
  return value === 'keep-alive' || value === 'Keep-Alive'
}

/** The lower-case members of a comma-separated list, empty ones left out (RFC 9110 section 5.6.1). */
export function readTokens(value: string): string[] {
  if (!value.includes(',')) return value === '' ? [] : [value.trim().toLowerCase()]
  return value
    .split(',')
    .map((member) => member.trim().toLowerCase())
    .filter((member) => member !== '')
}
