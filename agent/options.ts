// Options of a command line as a table: each has a flag, an environment variable of the same name, a parser and a default.
// Knows how values are written (durations, sizes, ports, shares), not what they mean; agent/config.ts has the table.

import { isIP, isIPv4, SocketAddress } from 'node:net'

/** One option. `fallback` is written as a user would write it; null: the option must be given. */
export interface Option<T> {
  readonly parse: (text: string) => T
  /** What stands for the value in the help text; empty: a switch without a value. */
  readonly value: string
  readonly fallback: string | null
  readonly help: string
}

export type Options = Record<string, Option<unknown>>

/** What a table of options yields. */
export type Values<T extends Options> = { [K in keyof T]: T[K] extends Option<infer V> ? V : never }

/** A value that can't be used; the message says why and what would be right, its caller adds the option's name. */
export class OptionError extends Error {
  override name = 'OptionError'
}

/** The environment variable of an option: `data-threads` is WEFT_DATA_THREADS. */
export function variableOf(flag: string): string {
  return `WEFT_${flag.replaceAll('-', '_').toUpperCase()}`
}

function refuse(text: string, wanted: string): never {
  throw new OptionError(`'${text}' is not ${wanted}`)
}

/** Any text that is not empty. */
export function text(fallback: string | null, value: string, help: string): Option<string> {
  return { value, fallback, help, parse: (given) => (given === '' ? refuse(given, 'a value: it is empty') : given) }
}

/** Text that may be empty, meaning "none". */
export function optional(value: string, help: string): Option<string> {
  return { value, fallback: '', help, parse: (given) => given }
}

export function oneOf<T extends string>(choices: readonly T[], fallback: T, help: string): Option<T> {
  const parse = (given: string) =>
    choices.find((choice) => choice === given) ?? refuse(given, `one of ${choices.join(', ')}`)
  return { value: choices.join('|'), fallback, help, parse }
}

/** Some of a closed set of words, with commas; none if it is empty. */
export function several<T extends string>(choices: readonly T[], help: string): Option<readonly T[]> {
  const parse = (given: string) => {
    const words = given.split(',').filter((word) => word !== '')
    const known = choices.filter((choice) => words.includes(choice))
    return words.every((word) => known.some((choice) => choice === word))
      ? known
      : refuse(given, `a list of ${choices.join(', ')}`)
  }
  return { value: choices.join(','), fallback: '', help, parse }
}

/** A switch: the bare flag, or `true` and `false` in the environment. */
export function flag(help: string): Option<boolean> {
  const parse = (given: string) =>
    given === 'true' || given === '1'
      ? true
      : given === 'false' || given === '0'
        ? false
        : refuse(given, 'true or false')
  return { value: '', fallback: 'false', help, parse }
}

/** An IP address, IPv6 without a zone; yields its one spelling. */
export function ip(fallback: string | null, help: string): Option<string> {
  return { value: 'IP', fallback, help, parse: addressOf }
}

/** One IP address, or one of each family as `status.podIPs` has them in a dual-stack cluster. */
export function ips(fallback: string | null, help: string): Option<readonly [string, ...string[]]> {
  const parse = (given: string): readonly [string, ...string[]] => {
    const [first = '', second, ...more] = given.split(',')
    if (second === undefined) return [addressOf(first)]
    const both = [addressOf(first), addressOf(second)] as const
    const isPair = more.length === 0 && isIP(both[0]) !== isIP(both[1])
    return isPair ? both : refuse(given, 'one IP address, or an IPv4 and an IPv6 address such as 10.1.2.3,fd00::3')
  }
  return { value: 'IP[,IP]', fallback, help, parse }
}

function addressOf(given: string): string {
  if (isIPv4(given)) return given
  if (isIP(given) === 0 || given.includes('%')) return refuse(given, 'an IP address such as 10.1.2.3 or fd00::3')
  return new SocketAddress({ address: given, family: 'ipv6' }).address
}

/** A http or https URL without path, query or credentials; yields its origin. */
export function origin(fallback: string | null, help: string): Option<string> {
  const parse = (given: string) => {
    const url = URL.canParse(given) ? new URL(given) : null
    const isOrigin = url !== null && /^https?:$/.test(url.protocol) && url.pathname === '/'
    return isOrigin && url.search + url.hash + url.username + url.password === ''
      ? url.origin
      : refuse(given, 'an origin such as https://weft-controller.weft-system:15010')
  }
  return { value: 'URL', fallback, help, parse }
}

/** A whole number within limits, both included. */
export function whole(fallback: string | null, least: number, most: number, help: string): Option<number> {
  return { value: 'N', fallback, help, parse: (given) => wholeOf(given, least, most) }
}

function wholeOf(given: string, least: number, most: number): number {
  const number = /^\d{1,15}$/.test(given) ? Number(given) : Number.NaN
  return number >= least && number <= most ? number : refuse(given, `a whole number from ${least} to ${most}`)
}

/** A TCP or UDP port; 0 lets the system choose (tests). */
export function port(fallback: string, help: string): Option<number> {
  return { value: 'PORT', fallback, help, parse: (given) => wholeOf(given, 0, 65_535) }
}

export interface PortRange {
  readonly first: number
  readonly last: number
}

/** `first-last`, both included. */
export function portRange(fallback: string, help: string): Option<PortRange> {
  const parse = (given: string) => {
    const [, first = '', last = ''] = /^(\d+)-(\d+)$/.exec(given) ?? refuse(given, 'a range such as 16384-32767')
    const range = { first: wholeOf(first, 1, 65_535), last: wholeOf(last, 1, 65_535) }
    return range.first <= range.last ? range : refuse(given, 'a range: its first port is above its last')
  }
  return { value: 'FIRST-LAST', fallback, help, parse }
}

const unitsMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** A duration with its unit (`250ms`, `1.5s`, `5m`, `1h`); yields milliseconds. */
export function duration(fallback: string, help: string): Option<number> {
  const parse = (given: string) => {
    const [, number = '', unit = ''] =
      /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(given) ?? refuse(given, 'a duration such as 250ms, 10s, 5m or 1h')
    const ms = Number(number) * unitsMs[unit]!
    // Longer timers overflow Node's 32 bits and would fire at once.
    return ms <= 2_147_483_647 ? ms : refuse(given, 'a duration of at most 596h')
  }
  return { value: 'DURATION', fallback, help, parse }
}

const unitsBytes: Record<string, number> = { '': 1, KiB: 1024, MiB: 1_048_576, GiB: 1_073_741_824 }

/** A size in bytes or with a unit (`16KiB`, `1MiB`); yields bytes. */
export function size(fallback: string, help: string): Option<number> {
  const parse = (given: string) => {
    const [, number = '', unit = ''] =
      /^(\d{1,12})(|KiB|MiB|GiB)$/.exec(given) ?? refuse(given, 'a size such as 16384, 64KiB or 1MiB')
    return Number(number) * unitsBytes[unit]!
  }
  return { value: 'SIZE', fallback, help, parse }
}

/** A share from 0 to 1. */
export function share(fallback: string, help: string): Option<number> {
  const parse = (given: string) => {
    const number = /^\d(\.\d{1,6})?$/.test(given) ? Number(given) : Number.NaN
    return number <= 1 ? number : refuse(given, 'a share from 0 to 1, such as 0.2')
  }
  return { value: 'SHARE', fallback, help, parse }
}

/**
 * Resolves a table of options: the flag wins over the environment, that over the default. An empty variable is an unset one.
 * @param given values from the command line by flag
 * @returns the values by flag
 * @throws OptionError naming the flag or variable at fault
 */
export function resolveOptions<T extends Options>(
  options: T,
  given: Readonly<Record<string, string | undefined>>,
  environment: Readonly<Record<string, string | undefined>>,
): Values<T> {
  const values: Record<string, unknown> = {}
  for (const [name, option] of Object.entries(options)) {
    const variable = variableOf(name)
    const [where, written] =
      given[name] !== undefined
        ? [`--${name}`, given[name]]
        : environment[variable]
          ? [variable, environment[variable]]
          : [`default of --${name}`, option.fallback]
    if (written === null) throw new OptionError(`--${name} (or ${variable}) is missing: ${option.help}`)
    try {
      values[name] = option.parse(written)
    } catch (error) {
      throw error instanceof OptionError ? new OptionError(`${where}: ${error.message}`) : error
    }
  }
  return values as Values<T>
}

/**
 * Variables that look meant for us and are not: misspelt ones, most likely. What Kubernetes sets for Services whose names
 * begin with `weft` (service links) is not among them.
 */
export function unknownVariables(
  options: Options,
  environment: Readonly<Record<string, string | undefined>>,
): string[] {
  const known = new Set(Object.keys(options).map(variableOf))
  const isServiceLink = (name: string) =>
    /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$/.test(name)
  return Object.keys(environment)
    .filter((name) => name.startsWith('WEFT_') && !known.has(name) && !isServiceLink(name))
    .sort()
}
