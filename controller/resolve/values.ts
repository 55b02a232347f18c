// Values of annotations: each reader takes the text and returns the value, or throws what is wrong and how to write it.

import { readProtocol, type Spoken } from './protocol.ts'

/** What is wrong with a value; `annotations.ts` makes a problem of it. */
export class BadValue extends Error {}

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }
const durationForm = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** Fields that frame messages, name their target or carry identity: never edited by configuration. */
const untouchable: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'x-forwarded-client-cert',
  'x-weft-error',
])

/** A duration as Go writes it, e.g. `1.5s`, `250ms`, `1m30s`; between 1 ms and `maxMs`. */
export function readDuration(text: string, maxMs: number): number {
  if (!durationForm.test(text)) throw new BadValue('is no duration; write e.g. "250ms", "1.5s" or "2m"')
  let ms = 0
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g))
    ms += Number(number) * (units[unit ?? ''] ?? 0)
  ms = Math.round(ms)
  if (ms < 1 || ms > maxMs) throw new BadValue(`must lie between 1ms and ${maxMs / 1_000}s`)
  return ms
}

/** A whole number. */
export function readWhole(text: string, least: number, most: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw new BadValue(`must be a whole number from ${least} to ${most}`)
}

/** A percentage with or without its sign: 0 to 100. */
export function readPercent(text: string): number {
  const value = /^\d{1,3}(\.\d{1,6})?%?$/.test(text) ? Number(text.replace('%', '')) : Number.NaN
  if (value >= 0 && value <= 100) return value
  throw new BadValue('must be a percentage from 0 to 100')
}

/** One of a few words. */
export function readChoice<T extends string>(text: string, choices: readonly T[]): T {
  const choice = choices.find((each) => each === text)
  if (choice !== undefined) return choice
  throw new BadValue(`must be one of ${choices.join(', ')}`)
}

/** Name of a header, in lower case; of a cookie, as it is. */
export function readHeaderName(text: string, of: 'header' | 'cookie' = 'header'): string {
  if (!token.test(text)) throw new BadValue(`must be the name of a ${of}`)
  return of === 'header' ? text.toLowerCase() : text
}

/** Name of a header that configuration may change. */
function readEditableName(text: string): string {
  const name = readHeaderName(text.trim())
  if (untouchable.has(name)) throw new BadValue(`"${name}" is set by the mesh alone and can't be edited`)
  return name
}

/** One `Name: value` a line. */
export function readHeaderLines(text: string): { name: string; value: string }[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  if (lines.length === 0 || lines.length > 50) throw new BadValue('must have 1 to 50 lines "Name: value"')
  return lines.map((line) => {
    const colon = line.indexOf(':')
    if (colon < 0) throw new BadValue('must have one "Name: value" a line')
    const value = line.slice(colon + 1).trim()
    // RFC 9110 section 5.5: visible characters, spaces and tabs.
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value))
      throw new BadValue('header values must not contain control characters')
    return { name: readEditableName(line.slice(0, colon)), value }
  })
}

/** Header names, separated by commas. */
export function readHeaderNames(text: string): string[] {
  return [...new Set(text.split(',').map(readEditableName))]
}

/** A path that a request's path may begin with. */
export function readPrefix(text: string | undefined): string {
  if (text !== undefined && /^\/[\x21\x22\x24-\x3e\x40-\x7e]*$/.test(text)) return text
  throw new BadValue('paths must begin with "/", without spaces, "?" and "#"')
}

/** `<prefix> <replacement>` */
export function readRewrite(text: string): { prefix: string; replacement: string } {
  const parts = text.split(/\s+/)
  if (parts.length !== 2) throw new BadValue('must be "<path prefix> <replacement>", e.g. "/v1 /"')
  return { prefix: readPrefix(parts[0]), replacement: readPrefix(parts[1]) }
}

/** `<status> <prefix> <location>` */
export function readRedirect(text: string): { status: number; prefix: string; location: string } {
  const [status = '', prefix, location = '', ...rest] = text.split(/\s+/)
  if (!/^30[12378]$/.test(status) || rest.length > 0 || !/^(\/|https?:\/\/)[\x21-\x7e]*$/.test(location)) {
    throw new BadValue(
      'must be "<301|302|303|307|308> <path prefix> <location>", e.g. "308 /old https://example.com/new"',
    )
  }
  return { status: Number(status), prefix: readPrefix(prefix), location }
}

/** What failures are worth another try: words and statuses, separated by commas. */
export function readRetryOn(text: string): string[] {
  const on = text.split(',').map((each) => each.trim())
  if (on.every((each) => /^(connect|reset|5xx|gateway-error|[45]\d\d)$/.test(each))) return [...new Set(on)]
  throw new BadValue('must list some of connect, reset, 5xx, gateway-error and statuses from 400 to 599')
}

/** Protocol of a Service's ports; Traefik Mesh's `udp` is not carried. */
export function readSpoken(text: string): Spoken {
  const spoken = readProtocol(text)
  if (spoken !== null) return spoken
  throw new BadValue(
    text.toLowerCase() === 'udp'
      ? 'is not carried by the mesh: UDP clients must use the plain Service'
      : 'names no protocol; write http, grpc, h2c or tcp',
  )
}

/** Traefik Mesh's `scheme`: how its proxies spoke to the pods. */
export function readScheme(text: string): Spoken {
  if (text === 'http' || text === 'h2c') return text
  throw new BadValue(
    text === 'https'
      ? 'is not supported: the mesh encrypts by itself; let the pods speak http, or name the port https-… to pass TLS through'
      : 'must be http or h2c',
  )
}
