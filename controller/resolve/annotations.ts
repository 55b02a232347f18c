// A Service's annotations become its ServicePolicy. One table says what each is called, what Traefik Mesh called it, and how
// it is read. A value that can't be read leaves the default in force and is reported.

import type { Balance, ServicePolicy } from '../contract/resources.ts'
import type { Service } from '../observe/objects.ts'
import { readBreakerExpression } from './breaker.ts'
import { type ProblemReason, type Problems, quote } from './problem.ts'
import type { Spoken } from './protocol.ts'
import { type Fields, isFields } from './shape.ts'
import {
  BadValue,
  readChoice,
  readDuration,
  readHeaderLines,
  readHeaderName,
  readHeaderNames,
  readPercent,
  readRedirect,
  readRetryOn,
  readRewrite,
  readScheme,
  readSpoken,
  readWhole,
} from './values.ts'

const prefix = 'weft.dev/'
/** Traefik Mesh's names, newer first. */
const fallbacks = ['mesh.traefik.io/', 'maesh.containo.us/']

const minute = 60_000
const hour = 60 * minute
const maxRate = 10_000_000
const defaultPercent = 100

/** What annotations say, before those that need each other are put together. */
interface Draft {
  policy?: Omit<ServicePolicy, 'balance' | 'mirror' | 'fault'>
  protocol?: Spoken
  isDedicated?: boolean
  mirror?: { to?: string; percent?: number }
  delay?: { ms?: number; percent?: number }
  abort?: { status?: number; percent?: number }
  faultHeader?: string
  rate?: { perSecond?: number; burst?: number }
  callerRate?: { perSecond?: number; burst?: number }
  balance?: { kind?: Balance['kind']; header?: string; cookie?: string; slowStartMs?: number }
}

interface Row {
  /** Its name behind Traefik Mesh's prefixes. */
  traefik?: string
  /** @throws BadValue */
  read(value: string): Draft
}

const rows: Record<string, Row> = {
  protocol: { traefik: 'traffic-type', read: (value) => ({ protocol: readSpoken(value) }) },
  address: { read: (value) => ({ isDedicated: readChoice(value, ['dedicated', 'shared']) === 'dedicated' }) },
  'connect-timeout': { read: (value) => ({ policy: { timeouts: { connectMs: readDuration(value, minute) } } }) },
  'head-timeout': { read: (value) => ({ policy: { timeouts: { headMs: readDuration(value, hour) } } }) },
  'idle-timeout': { read: (value) => ({ policy: { timeouts: { idleMs: readDuration(value, 24 * hour) } } }) },
  'request-timeout': { read: (value) => ({ policy: { timeouts: { requestMs: readDuration(value, 24 * hour) } } }) },
  'retry-attempts': {
    traefik: 'retry-attempts',
    read: (value) => ({ policy: { retry: { attempts: readWhole(value, 0, 10) } } }),
  },
  'retry-on': { read: (value) => ({ policy: { retry: { on: readRetryOn(value) } } }) },
  'retry-timeout': { read: (value) => ({ policy: { retry: { perTryMs: readDuration(value, hour) } } }) },
  'breaker-consecutive': { read: (value) => ({ policy: { breaker: { consecutive: readWhole(value, 1, 10_000) } } }) },
  'breaker-success-rate': { read: (value) => ({ policy: { breaker: { successRate: readPercent(value) / 100 } } }) },
  'breaker-minimum': { read: (value) => ({ policy: { breaker: { minimum: readWhole(value, 1, 1_000_000) } } }) },
  'breaker-open': { read: (value) => ({ policy: { breaker: { openMs: readDuration(value, hour) } } }) },
  'breaker-max-open': { read: (value) => ({ policy: { breaker: { maxOpenMs: readDuration(value, hour) } } }) },
  'in-flight-per-caller': {
    read: (value) => ({ policy: { limits: { inFlightPerCaller: readWhole(value, 1, 1_000_000) } } }),
  },
  'queue-per-caller': { read: (value) => ({ policy: { limits: { queuePerCaller: readWhole(value, 0, 1_000_000) } } }) },
  rate: { traefik: 'ratelimit-average', read: (value) => ({ rate: { perSecond: readWhole(value, 1, maxRate) } }) },
  'rate-burst': { traefik: 'ratelimit-burst', read: (value) => ({ rate: { burst: readWhole(value, 1, maxRate) } }) },
  'rate-per-caller': { read: (value) => ({ callerRate: { perSecond: readWhole(value, 1, maxRate) } }) },
  'rate-per-caller-burst': { read: (value) => ({ callerRate: { burst: readWhole(value, 1, maxRate) } }) },
  balance: {
    read: (value) => ({ balance: { kind: readChoice(value, ['ewma', 'least-request', 'round-robin', 'hash']) } }),
  },
  'balance-header': { read: (value) => ({ balance: { header: readHeaderName(value) } }) },
  'balance-cookie': { read: (value) => ({ balance: { cookie: readHeaderName(value, 'cookie') } }) },
  'slow-start': { read: (value) => ({ balance: { slowStartMs: readDuration(value, hour) } }) },
  mirror: { read: (value) => ({ mirror: { to: value } }) },
  'mirror-percent': { read: (value) => ({ mirror: { percent: readPercent(value) } }) },
  'fault-delay': { read: (value) => ({ delay: { ms: readDuration(value, hour) } }) },
  'fault-delay-percent': { read: (value) => ({ delay: { percent: readPercent(value) } }) },
  'fault-abort': { read: (value) => ({ abort: { status: readWhole(value, 400, 599) } }) },
  'fault-abort-percent': { read: (value) => ({ abort: { percent: readPercent(value) } }) },
  'fault-header': { read: (value) => ({ faultHeader: readHeaderName(value) }) },
  'request-header-set': { read: (value) => ({ policy: { headers: { request: { set: readHeaderLines(value) } } } }) },
  'request-header-add': { read: (value) => ({ policy: { headers: { request: { add: readHeaderLines(value) } } } }) },
  'request-header-remove': {
    read: (value) => ({ policy: { headers: { request: { remove: readHeaderNames(value) } } } }),
  },
  'response-header-set': { read: (value) => ({ policy: { headers: { response: { set: readHeaderLines(value) } } } }) },
  'response-header-add': { read: (value) => ({ policy: { headers: { response: { add: readHeaderLines(value) } } } }) },
  'response-header-remove': {
    read: (value) => ({ policy: { headers: { response: { remove: readHeaderNames(value) } } } }),
  },
  redirect: { read: (value) => ({ policy: { redirect: readRedirect(value) } }) },
  rewrite: { read: (value) => ({ policy: { rewrite: readRewrite(value) } }) },
  plaintext: { read: (value) => ({ policy: { plaintext: readChoice(value, ['allow', 'deny']) === 'allow' } }) },
}

/** All names, without the prefix. */
export const annotationNames: readonly string[] = Object.keys(rows)

/** Annotations that Services of ours carry, or that have a meaning elsewhere. */
const otherNames: ReadonlySet<string> = new Set(['mesh', 'uid', 'resting-ports'])

export interface Annotated {
  policy: ServicePolicy
  /** Protocol of ports that don't name one themselves; null: not said. */
  protocol: Spoken | null
  isDedicated: boolean
  /** The Service to mirror to, as written; `field` says where. */
  mirror: { to: string; percent: number; field: string } | null
}

/** Reads the annotations of an enrolled Service. */
export function readAnnotations(service: Service, problems: Problems): Annotated {
  const annotations = service.metadata.annotations ?? {}
  // Most Services have none of ours, and all are read again in every pass.
  if (!Object.keys(annotations).some(isOurs)) return { policy: {}, protocol: null, isDedicated: false, mirror: null }
  const draft: Draft = {}
  for (const [name, row] of Object.entries(rows)) {
    const key = findAnnotation(annotations, name, row)
    if (key === undefined) continue
    attempt(key, annotations, problems, 'AnnotationInvalid', (value) =>
      merge(draft as Fields, row.read(value) as Fields),
    )
  }
  readTraefikOnly(annotations, draft, problems)
  reportUnknown(annotations, problems)
  return {
    policy: policyOf(draft, problems),
    protocol: draft.protocol ?? null,
    isDedicated: draft.isDedicated ?? false,
    mirror:
      draft.mirror?.to === undefined
        ? null
        : { to: draft.mirror.to, percent: draft.mirror.percent ?? defaultPercent, field: fieldOf(`${prefix}mirror`) },
  }
}

/** What exists in Traefik Mesh alone. */
function readTraefikOnly(annotations: Record<string, string>, draft: Draft, problems: Problems): void {
  for (const fallback of fallbacks.toReversed()) {
    attempt(`${fallback}scheme`, annotations, problems, 'AnnotationInvalid', (value) => {
      if (draft.protocol === undefined) merge(draft as Fields, { protocol: readScheme(value) })
    })
    attempt(`${fallback}circuit-breaker-expression`, annotations, problems, 'BreakerExpressionUnsupported', (value) => {
      // Our own names say it more precisely and win.
      if (draft.policy?.breaker?.successRate !== undefined) return
      merge(draft as Fields, { policy: { breaker: readBreakerExpression(value) } })
    })
  }
}

function isOurs(key: string): boolean {
  return key.startsWith(prefix) || fallbacks.some((fallback) => key.startsWith(fallback))
}

function fieldOf(key: string): string {
  return `metadata.annotations[${key}]`
}

function findAnnotation(annotations: Record<string, string>, name: string, row: Row): string | undefined {
  if (annotations[prefix + name] !== undefined) return prefix + name
  if (row.traefik === undefined) return undefined
  return fallbacks.map((fallback) => fallback + row.traefik).find((key) => annotations[key] !== undefined)
}

/** Reads one annotation, if it is there, and makes a problem of a value that can't be read. */
function attempt(
  key: string,
  annotations: Record<string, string>,
  problems: Problems,
  reason: ProblemReason,
  read: (value: string) => void,
): void {
  const value = annotations[key]
  if (value === undefined) return
  try {
    read(value.trim())
  } catch (error) {
    if (!(error instanceof BadValue)) throw error
    problems.error(reason, fieldOf(key), `${quote(value)} ${error.message}; it is ignored`)
  }
}

/** Adds fields, objects within objects. */
function merge(into: Fields, from: Fields): void {
  for (const [name, value] of Object.entries(from)) {
    const there = into[name]
    if (isFields(there) && isFields(value)) merge(there, value)
    else into[name] = value
  }
}

function reportUnknown(annotations: Record<string, string>, problems: Problems): void {
  for (const key of Object.keys(annotations)) {
    if (!key.startsWith(prefix)) continue
    const name = key.slice(prefix.length)
    if (Object.hasOwn(rows, name) || otherNames.has(name)) continue
    const near = Object.keys(rows).find((each) => each.startsWith(name) || name.startsWith(each) || each.endsWith(name))
    const hint = near === undefined ? 'remove it or correct its name' : `did you mean ${prefix}${near}?`
    problems.warn('AnnotationUnknown', fieldOf(key), `there is no such annotation; ${hint}`)
  }
}

/** Puts together what several annotations say. */
function policyOf(draft: Draft, problems: Problems): ServicePolicy {
  const policy: ServicePolicy = { ...draft.policy }
  const rate = rateOf(draft.rate, 'rate', problems)
  const ratePerCaller = rateOf(draft.callerRate, 'rate-per-caller', problems)
  if (rate) policy.limits = { ...policy.limits, rate }
  if (ratePerCaller) policy.limits = { ...policy.limits, ratePerCaller }
  const balance = balanceOf(draft, problems)
  if (balance) policy.balance = balance
  const fault = faultOf(draft, problems)
  if (fault) policy.fault = fault
  if (draft.mirror?.percent !== undefined && draft.mirror.to === undefined) needs('mirror-percent', 'mirror', problems)
  const { consecutive, openMs, maxOpenMs } = policy.breaker ?? {}
  if (openMs !== undefined && maxOpenMs !== undefined && openMs > maxOpenMs) {
    problems.error(
      'AnnotationInvalid',
      fieldOf(`${prefix}breaker-max-open`),
      'is shorter than breaker-open; both are ignored',
    )
    policy.breaker = { ...policy.breaker }
    delete policy.breaker.openMs
    delete policy.breaker.maxOpenMs
  }
  if (policy.breaker && consecutive === undefined && Object.keys(policy.breaker).length === 0) delete policy.breaker
  return policy
}

function needs(name: string, other: string, problems: Problems): void {
  problems.warn('AnnotationInvalid', fieldOf(prefix + name), `has no effect without ${prefix}${other}`)
}

function rateOf(
  rate: Draft['rate'],
  name: string,
  problems: Problems,
): { perSecond: number; burst: number } | undefined {
  if (rate?.perSecond !== undefined) {
    return { perSecond: rate.perSecond, burst: rate.burst ?? rate.perSecond }
  }
  if (rate?.burst !== undefined) needs(`${name}-burst`, name, problems)
  return undefined
}

function balanceOf({ balance }: Draft, problems: Problems): Balance | undefined {
  if (balance === undefined) return undefined
  const { kind = 'ewma', header, cookie, slowStartMs } = balance
  const isKeyed = header !== undefined || cookie !== undefined
  if (kind === 'hash' && !isKeyed) {
    problems.error(
      'AnnotationInvalid',
      fieldOf(`${prefix}balance`),
      '"hash" needs balance-header or balance-cookie as well; it is ignored',
    )
    return slowStartMs === undefined ? undefined : { kind: 'ewma', slowStartMs }
  }
  if (kind !== 'hash' && isKeyed)
    needs(header === undefined ? 'balance-cookie' : 'balance-header', 'balance: hash', problems)
  return {
    kind,
    ...(kind === 'hash' && header !== undefined ? { header } : {}),
    // One key chooses; the header is the more explicit one.
    ...(kind === 'hash' && header === undefined && cookie !== undefined ? { cookie } : {}),
    ...(slowStartMs === undefined ? {} : { slowStartMs }),
  }
}

function faultOf({ delay, abort, faultHeader }: Draft, problems: Problems): ServicePolicy['fault'] | undefined {
  const fault: NonNullable<ServicePolicy['fault']> = {}
  if (delay?.ms !== undefined) fault.delay = { ms: delay.ms, percent: delay.percent ?? defaultPercent }
  else if (delay?.percent !== undefined) needs('fault-delay-percent', 'fault-delay', problems)
  if (abort?.status !== undefined) fault.abort = { status: abort.status, percent: abort.percent ?? defaultPercent }
  else if (abort?.percent !== undefined) needs('fault-abort-percent', 'fault-abort', problems)
  if (fault.delay === undefined && fault.abort === undefined) {
    if (faultHeader !== undefined) needs('fault-header', 'fault-delay or fault-abort', problems)
    return undefined
  }
  return faultHeader === undefined ? fault : { ...fault, header: faultHeader }
}
