// /debug/permit: may this caller do that there, by which rule, and how far did the others get? Read on the control thread,
// answered on a data thread with the rules that it goes by.

import type { Key } from '../../controller/contract/resources.ts'
import { canonicalPath } from '../http1/target.ts'
import { type Cause, explain, permit } from '../inbound/permit.ts'
import type { MatchInput } from '../mesh/match.ts'
import type { Snapshot } from '../mesh/snapshot.ts'
import type { PermitQuestion } from '../mesh/thread.ts'

/** The answer of /debug/permit. */
export interface PermitAnswer {
  allowed: boolean
  cause: Cause
  /** The TrafficTarget that decided, or came closest; empty if none has to do with it. */
  rule: Key
  why: string
  source: Key | null
  destination: Key
  port: number
  request: string | null
  /** What each TrafficTarget that names the destination says by itself. */
  rules: { rule: Key; cause: Cause }[]
  /** Version of the rules. */
  snapshot: string
}

const known = new Set(['source', 'destination', 'port', 'method', 'path', 'header'])

/**
 * Reads the question. A path or a method makes it a request, neither an opaque connection; the path is made canonical as
 * that of any request.
 * @returns the question, or what is wrong with it
 */
export function readPermitQuestion(query: URLSearchParams): PermitQuestion | string {
  const stranger = [...query.keys()].find((name) => !known.has(name))
  if (stranger !== undefined) return `${stranger} is not known; there are ${[...known].join(', ')}`
  const source = query.get('source') ?? ''
  const destination = query.get('destination') ?? ''
  const port = Number(query.get('port') ?? '')
  if (source !== '' && !isParty(source)) return 'source must be namespace/account or the address of a pod of this node'
  if (!isParty(destination)) return 'destination must be namespace/account or the address of a pod'
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return 'port must be the port of the pod, from 1 to 65535'
  const headers = query.getAll('header').map((line) => line.split(/: ?(.*)/s, 2) as [string, string])
  const flawed = headers.find(([name, value]) => name === '' || value === undefined)
  if (flawed !== undefined) return 'header must be name: value'
  if (!query.has('path') && !query.has('method')) {
    if (headers.length > 0) return 'a header makes it a request: method or path is missing'
    return { source, destination, port, request: null }
  }
  const path = canonicalPath((query.get('path') ?? '/').split('?', 1)[0]!)
  if (path === null) return 'path must begin with / and be one that the agent would take'
  return { source, destination, port, request: { method: query.get('method') ?? 'GET', path, headers } }
}

/** Answers by the rules of a snapshot. */
export function answerPermit(snapshot: Snapshot, question: PermitQuestion): PermitAnswer {
  const { port, request } = question
  const source = accountOf(snapshot, question.source) || null
  const destination = accountOf(snapshot, question.destination) || accountAt(snapshot, question.destination)
  const input = request === null ? null : inputOf(request)
  const { isAllowed, cause, rule } = permit(snapshot, source, destination, port, input)
  const rules = explain(snapshot, source, destination, port, input)
  return {
    allowed: isAllowed,
    cause,
    rule,
    why: reasonOf(cause, rule, isAllowed, rules.length),
    source,
    destination,
    port,
    request: request === null ? null : `${request.method} ${request.path}`,
    rules,
    snapshot: snapshot.version,
  }
}

function isParty(text: string): boolean {
  return /^(?:[a-z0-9.-]+\/[a-z0-9.-]+|[0-9a-f.:]+)$/.test(text)
}

/** The account, or that of the pod with the address; empty if there is none. */
function accountOf({ workloads }: Snapshot, party: string): Key {
  return party.includes('/') ? party : (workloads.get(party)?.account ?? '')
}

/** The account behind an address that is an endpoint on whatever node; empty if there is none. */
function accountAt({ services }: Snapshot, address: string): Key {
  for (const { ports } of services.values())
    for (const { own } of ports.values())
      for (const { spec } of own.endpoints) if (spec.address === address) return spec.account
  return ''
}

function inputOf({ method, path, headers }: NonNullable<PermitQuestion['request']>): MatchInput {
  const headerLines = (wanted: string) =>
    headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value)
  const header = (name: string) => {
    const lines = headerLines(name)
    return lines.length === 0 ? null : lines.join(', ')
  }
  return { method, path, header, headerLines }
}

function reasonOf(cause: Cause, rule: Key, isAllowed: boolean, targets: number): string {
  switch (cause) {
    case 'rule':
      return `${rule} allows it`
    case 'mode':
      return `no TrafficTarget names the destination, and its namespace is in mode ${isAllowed ? 'allow' : 'deny'}`
    case 'source':
      return targets === 0
        ? 'TrafficTargets name the destination, but none is valid; see their Events'
        : 'no TrafficTarget of the destination names the source'
    case 'port':
      return `${rule} names the source, but not the port`
    case 'route':
      return `${rule} names source and port, but no route that fits the request`
    case 'opaque':
      return `${rule} asks for an HTTP route, and the connection is not HTTP`
  }
}
