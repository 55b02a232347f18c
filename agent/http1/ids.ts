// Identifiers of traces and requests: unique, not secret, and made for each request. A generator of its own is ten times
// as quick as asking the system for random bytes; each thread seeds it from there.

import { randomFillSync } from 'node:crypto'

/** All groups of three hexadecimal digits. */
const groups = Array.from({ length: 4096 }, (_, value) => value.toString(16).padStart(3, '0'))
const state = randomFillSync(new Uint32Array(4))

/** The next 32 bits of sfc32 (Chris Doty-Humphrey's small fast counting generator, period at least 2^32). */
function next(): number {
  const sum = (state[0]! + state[1]! + state[3]!) >>> 0
  state[3] = state[3]! + 1
  state[0] = state[1]! ^ (state[1]! >>> 9)
  state[1] = state[2]! + (state[2]! << 3)
  state[2] = ((state[2]! << 21) | (state[2]! >>> 11)) + sum
  return sum
}

function six(): string {
  const bits = next()
  return groups[bits & 0xfff]! + groups[(bits >>> 12) & 0xfff]!
}

/** A fresh W3C traceparent (Trace Context section 3.2), not sampled: sampling is for those who collect traces. */
export function newTraceparent(): string {
  // A digit that is not 0 keeps both ids from being all zeros, which the specification forbids.
  return `00-1${six()}${six()}${six()}${six()}${six()}1-1${six()}${six()}${groups[next() & 0xfff]!}-00`
}

/** A fresh request id in the form of a random UUID (RFC 9562 section 5.4). */
export function newRequestId(): string {
  const third = groups[next() & 0xfff]!
  const bits = next()
  const fourth = '89ab'[bits & 3]! + groups[(bits >>> 2) & 0xfff]!
  const first = six() + groups[next() & 0xfff]!.slice(1)
  const second = `${groups[next() & 0xfff]!}${'0123456789abcdef'[next() & 15]!}`
  return `${first}-${second}-4${third}-${fourth}-${six()}${six()}`
}
