// Third step of the inbound path, and of a request that stays on its node: may this caller do this at this destination?
// SMI's rules (TrafficTarget) and nothing else decide; what is missing or broken allows nothing.

import type { AccessResource, AccessRule, Key } from '../../controller/contract/resources.ts'
import { MeshError } from '../errors.ts'
import { compileAll } from '../mesh/compile.ts'
import type { Match, MatchInput } from '../mesh/match.ts'
import type { Snapshot } from '../mesh/snapshot.ts'

/**
 * Why: `rule` a TrafficTarget allows it; `mode` none names the destination and its namespace's mode decides; else how far
 * the closest TrafficTarget got: no `source` fitted, a source but no `port`, a port but no `route`; `opaque`: a route is
 * asked for, but the connection is not HTTP.
 */
export type Cause = 'rule' | 'mode' | 'source' | 'port' | 'route' | 'opaque'

/** What was decided; objects are shared, one for each outcome of each rule. */
export interface Verdict {
  readonly isAllowed: boolean
  readonly cause: Cause
  /** The TrafficTarget that allowed it, or that came closest: `namespace/name`; empty if none has to do with it. */
  readonly rule: Key
}

interface Rule {
  readonly sources: ReadonlySet<Key>
  /** null: all. */
  readonly ports: ReadonlySet<number> | null
  /** null: no condition on the request. */
  readonly matches: readonly Match[] | null
  readonly allowed: Verdict
  readonly wrongPort: Verdict
  readonly wrongRoute: Verdict
  readonly notHttp: Verdict
}

/**
 * Stands for whatever a stream will carry, each request of which is permitted by itself: allowed if any could be. Who is
 * refused for it does not even get a connection to the pod.
 */
export const anyRequest: MatchInput = { method: '', path: '', header: () => null }

const allowedByMode: Verdict = { isAllowed: true, cause: 'mode', rule: '' }
const deniedByMode: Verdict = { isAllowed: false, cause: 'mode', rule: '' }
const deniedToSource: Verdict = { isAllowed: false, cause: 'source', rule: '' }

/** How close a refusal is to a permission. */
const closeness: Record<Cause, number> = { mode: 0, source: 1, port: 2, opaque: 3, route: 3, rule: 4 }

const compiled = new WeakMap<AccessResource, readonly Rule[]>()

/**
 * Decides whether a request, or an opaque connection, is permitted.
 * @param source the caller's account, `namespace/name`; null: it has no identity, and matches no rule
 * @param destination the account of the pod that was chosen; empty for a foreign address
 * @param port the pod's port, not the Service's
 * @param input the request, or `anyRequest`; null for opaque TCP
 */
export function permit(
  snapshot: Snapshot,
  source: Key | null,
  destination: Key,
  port: number,
  input: MatchInput | null,
): Verdict {
  const access = snapshot.access.get(destination)
  if (access === undefined) return modeOf(snapshot, destination) === 'allow' ? allowedByMode : deniedByMode
  if (source === null) return deniedToSource
  const rules = rulesOf(access)
  let closest = deniedToSource
  for (let i = 0; i < rules.length; i++) {
    const verdict = judge(rules[i]!, source, port, input)
    if (verdict.isAllowed) return verdict
    if (closeness[verdict.cause] > closeness[closest.cause]) closest = verdict
  }
  return closest
}

/** What each rule of a destination says by itself, in the order in which they are asked: for /debug/permit. */
export function explain(
  snapshot: Snapshot,
  source: Key | null,
  destination: Key,
  port: number,
  input: MatchInput | null,
): { rule: Key; cause: Cause }[] {
  const access = snapshot.access.get(destination)
  if (access === undefined) return []
  return rulesOf(access).map((rule) => ({
    rule: rule.allowed.rule,
    cause: source === null ? 'source' : judge(rule, source, port, input).cause,
  }))
}

/**
 * Whether nothing guards a destination: no TrafficTarget names its account, and its namespace is in mode `allow`. Only
 * then may it be reached in plain text, where its own agent can't see who is calling.
 */
export function isOpen(snapshot: Snapshot, destination: Key): boolean {
  return snapshot.access.get(destination) === undefined && modeOf(snapshot, destination) === 'allow'
}

/** The refusal that a verdict leads to. It tells the caller nothing about rules; the log has the verdict. */
export function denied(verdict: Verdict, source: Key | null, destination: Key): MeshError {
  const by = verdict.rule === '' ? verdict.cause : `${verdict.cause} of ${verdict.rule}`
  return new MeshError('denied', `${source ?? 'no identity'} to ${destination || 'a foreign address'}, ${by}`)
}

function modeOf({ mesh, namespaces }: Snapshot, destination: Key): 'allow' | 'deny' {
  return namespaces.get(destination.slice(0, destination.indexOf('/')))?.access ?? mesh.defaultAccess
}

/** All conditions of one TrafficTarget must hold: source, port (TCPRoute) and request (HTTPRouteGroup). */
function judge(rule: Rule, source: Key, port: number, input: MatchInput | null): Verdict {
  if (!rule.sources.has(source)) return deniedToSource
  if (rule.ports !== null && !rule.ports.has(port)) return rule.wrongPort
  if (rule.matches === null) return rule.allowed
  if (input === null) return rule.notHttp
  if (input === anyRequest && rule.matches.length > 0) return rule.allowed
  for (let i = 0; i < rule.matches.length; i++) if (rule.matches[i]!.test(input)) return rule.allowed
  return rule.wrongRoute
}

function rulesOf(access: AccessResource): readonly Rule[] {
  let rules = compiled.get(access)
  if (rules === undefined) {
    rules = compileRules(access.rules)
    compiled.set(access, rules)
  }
  return rules
}

/** Compiles all rules of a destination at once: their matches share a bound on the work for one request. */
function compileRules(rules: readonly AccessRule[]): Rule[] {
  const matches = compileAll(rules.flatMap(({ http }) => http ?? []))
  let at = 0
  return rules.map(({ name, sources, ports, http }) => {
    const from = at
    at += http?.length ?? 0
    return {
      sources: new Set(sources),
      ports: ports === null ? null : new Set(ports),
      matches: http === null ? null : matches.slice(from, at),
      allowed: { isAllowed: true, cause: 'rule', rule: name },
      wrongPort: { isAllowed: false, cause: 'port', rule: name },
      wrongRoute: { isAllowed: false, cause: 'route', rule: name },
      notHttp: { isAllowed: false, cause: 'opaque', rule: name },
    }
  })
}
