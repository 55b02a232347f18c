// Header edits of a service's policy, made ready once: which lines to cut out of a head, and which to add. Headers that
// frame a message, belong to one hop, prove an identity or are the proxy's own are out of a policy's reach.

import type { HeaderEdits } from '../../controller/contract/resources.ts'

/** What an edit does to a head. */
export interface HeaderPlan {
  /** Lower-case names of the lines to cut. */
  readonly cuts: readonly string[]
  /** Lines to add, each with its CRLF. */
  readonly lines: string
}

const unchanged: HeaderPlan = { cuts: [], lines: '' }

/** Names that no edit touches, by what they are for. */
const guarded: ReadonlySet<string> = new Set([
  // Of one hop (RFC 9110 section 7.6.1).
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  // Framing and routing.
  'content-length',
  'expect',
  'host',
  // Identity: set by the inbound side from the certificate alone.
  'x-forwarded-client-cert',
  // The proxy's own lines: an edit would double them.
  'date',
  'traceparent',
  'via',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-request-id',
  'x-weft-error',
])

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/
/** Visible latin1, blanks and tabs: no way to begin a line of one's own. */
const content = /^[\t\x20-\x7e\x80-\xff]{0,4096}$/

const plans = new WeakMap<HeaderEdits, HeaderPlan>()

/**
 * Whether an edit may touch a header. Many servers read `_` as `-`, so that both spellings count as one.
 * @param name in any case
 */
export function isEditable(name: string): boolean {
  return token.test(name) && !guarded.has(name.toLowerCase().replaceAll('_', '-'))
}

/** What an edit comes to; parts that are out of reach or no header at all are left out. */
export function headerPlan(edits: HeaderEdits | undefined): HeaderPlan {
  if (edits === undefined) return unchanged
  let plan = plans.get(edits)
  if (plan === undefined) {
    plan = makePlan(edits)
    plans.set(edits, plan)
  }
  return plan
}

function makePlan({ set = [], add = [], remove = [] }: HeaderEdits): HeaderPlan {
  const isGood = ({ name, value }: { name: string; value: string }) => isEditable(name) && content.test(value)
  // Of two that set one header the last counts.
  const settings = new Map(
    set.filter(isGood).map(({ name, value }) => [name.toLowerCase(), `${name}: ${value.trim()}`]),
  )
  const added = add.filter(isGood).map(({ name, value }) => `${name}: ${value.trim()}`)
  const removed = remove.filter(isEditable).map((name) => name.toLowerCase())
  const lines = [...settings.values(), ...added]
  return {
    cuts: [...new Set([...settings.keys(), ...removed])],
    lines: lines.map((line) => `${line}\r\n`).join(''),
  }
}
