// Parsers for the values of flags and environment variables. Each takes the text and gives the value, or throws an
// OptionError that says what would be right; config.ts has the table and adds the flag's name.

import { isIP } from 'node:net'

/** A value that can't be used. */
export class OptionError extends Error {
  override name = 'OptionError'
}

export type Parse<T> = (text: string) => T

function refuse(text: string, wanted: string): never {
  throw new OptionError(`'${text}' is not ${wanted}`)
}

/** One of a closed set of words. */
export function oneOf<T extends string>(...choices: T[]): Parse<T> {
  return (text) => choices.find((choice) => choice === text) ?? refuse(text, `one of ${choices.join(', ')}`)
}

/** A whole number within limits, both included. */
export function whole(least: number, most: number): Parse<number> {
  return (text) => {
    const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    return number >= least && number <= most ? number : refuse(text, `a whole number from ${least} to ${most}`)
  }
}

/** A TCP port; 0 lets the system choose. */
export const port: Parse<number> = whole(0, 65_535)

/** `first-last`, both included. */
export function portRange(text: string): { first: number; last: number } {
  const [, first = '', last = ''] = /^(\d+)-(\d+)$/.exec(text) ?? refuse(text, 'a range such as 16384-32767')
  const range = { first: whole(1, 65_535)(first), last: whole(1, 65_535)(last) }
  return range.first <= range.last ? range : refuse(text, 'a range: its first port is above its last')
}

const labelForm = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/

/** A DNS label: the name of a Namespace or a Service. */
export function label(text: string): string {
  return labelForm.test(text) ? text : refuse(text, 'a name of lower-case letters, digits and dashes, at most 63 long')
}

/** A DNS name of one or more labels. */
export function domain(text: string): string {
  const isDomain = text.length <= 253 && text.split('.').every((part) => labelForm.test(part))
  return isDomain ? text : refuse(text, 'a DNS name such as cluster.local')
}

/** A DNS name whose first label may be a star. */
export function wildcardDomain(text: string): string {
  domain(text.replace(/^\*\./, ''))
  return text
}

/** What is added to a Service's name: so that the result is a name again. */
export function suffix(text: string): string {
  return /^-[-a-z0-9]{0,30}[a-z0-9]$/.test(text)
    ? text
    : refuse(text, 'a suffix such as -mesh: a dash, then lower-case letters, digits and dashes, at most 32 long')
}

export function ip(text: string): string {
  return isIP(text) !== 0 ? text : refuse(text, 'an IP address such as 10.1.2.3')
}

/** An IP address; empty: all there are. */
export function addressOrAny(text: string): string {
  return text === '' ? '' : ip(text)
}

/** `address/bits` */
export function cidr(text: string): string {
  const [, address = '', bits = ''] = /^(.+)\/(\d{1,3})$/.exec(text) ?? refuse(text, 'a CIDR such as 192.0.2.0/24')
  const family = isIP(address)
  const isValid = family !== 0 && Number(bits) <= (family === 4 ? 32 : 128)
  return isValid ? text : refuse(text, 'a CIDR such as 192.0.2.0/24')
}

/** Parts separated by commas; empty: none. */
export function list<T>(parse: Parse<T>): Parse<T[]> {
  return (text) => (text === '' ? [] : text.split(',').map((part) => parse(part.trim())))
}

/** `name=value` pairs separated by commas, at least one: labels. */
export function labelSelector(text: string): Record<string, string> {
  const pairs = text.split(',').map((part) => {
    const [, name = '', value = ''] =
      /^([A-Za-z0-9][-A-Za-z0-9_./]*)=([-A-Za-z0-9_.]*)$/.exec(part.trim()) ??
      refuse(text, 'a list of labels such as app.kubernetes.io/name=weft-agent')
    return [name, value]
  })
  return Object.fromEntries(pairs)
}

const unitsMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** A duration with its unit; gives milliseconds. */
export function duration(text: string): number {
  const [, number = '', unit = ''] =
    /^(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text) ?? refuse(text, 'a duration such as 250ms, 10s or 5m')
  return Number(number) * unitsMs[unit]!
}

/** The lifetime of a certificate: long enough to be renewed in peace, short enough that a stolen key goes stale. */
export function lifetime(text: string): number {
  const ms = duration(text)
  return ms >= 5 * 60_000 && ms <= 90 * 24 * 3_600_000 ? ms : refuse(text, 'a lifetime from 5m to 2160h')
}
