// Consistent hash: a ring of points, several for each endpoint. Equal keys meet the same endpoint, on every agent, and an
// endpoint that comes or goes moves only the keys next to its points.

import type { MatchInput } from '../mesh/match.ts'

/** Points of an endpoint in a small ring; the more, the more even. */
const pointsEach = 128
/** Points of the whole ring: bounds the time to build it to about a millisecond. */
const pointsMax = 16_384
/** Longer keys are cut: they come from the caller. */
const maxKeyLength = 1_024

/** Points in the order of their hash, with the index of the endpoint that each belongs to. */
export interface Ring {
  readonly hashes: Uint32Array
  readonly owners: Uint32Array
}

/** 32 bits of a string: FNV-1a, with murmur3's finalizer for the evenness that it lacks on short keys. */
export function hash32(text: string, seed = 0): number {
  let hash = 0x811c9dc5 ^ seed
  const length = Math.min(text.length, maxKeyLength)
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Makes the ring of these names (an endpoint's is its `address:port`); the order of names changes nothing in it. */
export function makeRing(names: readonly string[]): Ring {
  const each = Math.max(1, Math.min(pointsEach, Math.floor(pointsMax / Math.max(1, names.length))))
  // Hash and owner in one double (32 + 21 bits): a typed array sorts as numbers, without a comparison function.
  const points = new Float64Array(names.length * each)
  const stride = 2 ** 21
  for (let owner = 0; owner < names.length; owner++) {
    for (let i = 0; i < each; i++) points[owner * each + i] = hash32(names[owner]!, i + 1) * stride + owner
  }
  points.sort()
  const hashes = new Uint32Array(points.length)
  const owners = new Uint32Array(points.length)
  for (let i = 0; i < points.length; i++) {
    hashes[i] = Math.floor(points[i]! / stride)
    owners[i] = points[i]! % stride
  }
  return { hashes, owners }
}

/**
 * Finds the owner of a key: that of the first point at or after it, going on around the ring past owners that are out.
 * @param isIn whether the owner with this index may be chosen
 * @returns the owner's index, or -1 if none may
 */
export function findOwner(ring: Ring, key: string, isIn: (owner: number) => boolean): number {
  const { hashes, owners } = ring
  const count = hashes.length
  const hash = hash32(key)
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (hashes[middle]! < hash) low = middle + 1
    else high = middle
  }
  for (let i = 0; i < count; i++) {
    const owner = owners[(low + i) % count]!
    if (isIn(owner)) return owner
  }
  return -1
}

/** What of a request is hashed: the value of a header or of a cookie; null if the request lacks it. */
export function hashKey(input: MatchInput, header: string | undefined, cookie: string | undefined): string | null {
  if (header !== undefined) return input.header(header.toLowerCase())
  if (cookie === undefined) return null
  const cookies = input.header('cookie')
  return cookies === null ? null : cookieValue(cookies, cookie)
}

/** One cookie's value out of a Cookie header (RFC 6265 section 4.2.1); several header lines come joined with ", ". */
function cookieValue(cookies: string, name: string): string | null {
  for (const pair of cookies.split(/[;,] ?/)) {
    const equals = pair.indexOf('=')
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1)
  }
  return null
}
