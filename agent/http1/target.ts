// Request targets and hosts, made canonical once: the strings that come out are matched, authorised, logged and
// forwarded, so that no two parties ever read a different path or host (RFC 9110 section 4.2.3, RFC 3986 section 6.2.2).

import { isIPv6 } from 'node:net'

/** Paths that are canonical as they stand: no empty or dotted segment, nothing encoded, no parameters. */
const plainPath = /^(?:\/(?![./])[\w\-.~!$&'()*+,=:@]*)+$/
/** A path that one may look at at all: visible ASCII without fragment and backslash. */
const allowedPath = /^\/[!"$-[\]-~]*$/
const allowedQuery = /^[!"$-~]*$/
const encoded = /%(?:([0-9A-Fa-f]{2})|)/g
const unreserved = /[\w\-.~]/
/** Overlong forms of UTF-8, which lenient decoders take for `/`, `.` or NUL (RFC 3629 section 3). */
const overlong = /%C[01]|%E0%[89]|%F0%8/i

/**
 * Makes a path canonical: unreserved characters decoded, other escapes in upper case, dot segments resolved, repeated
 * slashes merged.
 * @param path the path alone, beginning with `/`
 * @returns the canonical path, or null for one that two readers may take differently
 */
export function canonicalPath(path: string): string | null {
  if (path === '/' || plainPath.test(path)) return path
  if (!allowedPath.test(path) || overlong.test(path)) return null
  let isBad = false
  const decoded = path.replace(encoded, (triplet, hex: string | undefined) => {
    const code = hex === undefined ? 0 : Number.parseInt(hex, 16)
    // NUL, a control character, a backslash or a broken escape.
    if (code < 0x20 || code === 0x7f || code === 0x5c) isBad = true
    const character = String.fromCharCode(code)
    return unreserved.test(character) && code < 0x80 ? character : triplet.toUpperCase()
  })
  if (isBad) return null
  const segments: string[] = []
  const parts = decoded.split('/')
  for (let at = 1; at < parts.length; at++) {
    const segment = parts[at]!
    const isLast = at === parts.length - 1
    if (segment === '..') segments.pop()
    else if (segment !== '' && segment !== '.') {
      if (isAmbiguous(segment)) return null
      segments.push(segment)
    }
    if (isLast && (segment === '' || segment === '.' || segment === '..')) segments.push('')
  }
  return `/${segments.join('/')}`
}

/** A segment that becomes a dot segment for those who decode `%2F` or cut `;parameters` first. */
function isAmbiguous(segment: string): boolean {
  if (!segment.includes('.')) return false
  return segment.split(/%2F|;/).some((piece, _, all) => all.length > 1 && (piece === '.' || piece === '..'))
}

/** Whether a query (without its `?`) has nothing but visible ASCII, and no fragment. */
export function isQuery(query: string): boolean {
  return allowedQuery.test(query)
}

export interface Authority {
  /** Lower case, without port and trailing dot. */
  readonly host: string
  /** 0 if there is none. */
  readonly port: number
  /** Host and port, as they are forwarded. */
  readonly text: string
}

const authorityForm = /^([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])\.?(?::(\d{1,5}))?$/
const known = new Map<string, Authority | null>()
/** Hosts are remembered up to this many; random ones then only cost their parsing. */
const knownMost = 4096

/**
 * Parses the value of Host or the authority of an absolute-form target.
 * @returns null if it is not `host[:port]`
 */
export function parseAuthority(raw: string): Authority | null {
  const hit = known.get(raw)
  if (hit !== undefined) return hit
  const authority = readAuthority(raw)
  if (known.size >= knownMost) known.clear()
  if (raw.length <= 300) known.set(raw, authority)
  return authority
}

function readAuthority(raw: string): Authority | null {
  if (raw.length > 300) return null
  const found = authorityForm.exec(raw.toLowerCase())
  if (found === null) return null
  const host = found[1]!
  const port = found[2] === undefined ? 0 : Number(found[2])
  // A trailing dot belongs to names; what stands in brackets must be an address (RFC 3986 section 3.2.2).
  if (host.startsWith('[') && (!isIPv6(host.slice(1, -1)) || raw[host.length] === '.')) return null
  if (host.includes('..') || port > 65535 || (found[2] !== undefined && port === 0)) return null
  return { host, port, text: port === 0 ? host : `${host}:${port}` }
}
