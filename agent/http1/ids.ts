// Identifiers of traces and requests, made for each request: slices of a stock of random hexadecimal digits, for which
// the system is asked once in a few hundred requests.

import { randomFillSync } from 'node:crypto'

/** For some 150 requests that bring no identifiers of their own. */
const stockBytes = 6 * 1024
const bytes = Buffer.allocUnsafeSlow(stockBytes)
let stock = ''
let used = 0

/** Random lower-case hexadecimal digits. */
function digits(count: number): string {
  if (used + count > stock.length) {
    stock = randomFillSync(bytes).toString('hex')
    used = 0
  }
  used += count
  return stock.slice(used - count, used)
}

/** A fresh W3C traceparent (Trace Context section 3.2), not sampled: sampling is for those who collect traces. */
export function newTraceparent(): string {
  // A digit that is not 0 keeps both ids from being all zeros, which the specification forbids.
  return `00-1${digits(31)}-1${digits(15)}-00`
}

/** A fresh request id in the form of a random UUID (RFC 9562 section 5.4). */
export function newRequestId(): string {
  const random = digits(31)
  const variant = '89ab'[random.charCodeAt(30) & 3]!
  return `${random.slice(0, 8)}-${random.slice(8, 12)}-4${random.slice(12, 15)}-${variant}${random.slice(15, 18)}-${random.slice(18, 30)}`
}
