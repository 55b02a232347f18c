// TrafficTargets: who may call an account. The version's shape aside, one rule each: sources AND ports AND HTTP matches; the
// union over all targets of an account is what is allowed. Whatever can't be read allows nothing, and the account that a
// target names is enforced all the same.

import type { AccessRule, Key, RouteMatch } from '../contract/resources.ts'
import { keyOf, refOf, type SmiObject } from '../observe/objects.ts'
import { isLabel, isSubdomain, toKey } from './names.ts'
import { Problems, quote } from './problem.ts'
import { type Fields, findField, isFields, readPort, reportIgnored } from './shape.ts'
import type { PortRouteNode, RouteGroupNode, TargetNode } from './topology.ts'

/** What targets may name. */
export interface Named {
  groups: ReadonlyMap<Key, RouteGroupNode>
  tcpRoutes: ReadonlyMap<Key, PortRouteNode>
  udpRoutes: ReadonlyMap<Key, PortRouteNode>
  accounts: { has(key: Key): boolean }
}

/** Reads a TrafficTarget. */
export function readTarget(object: SmiObject, named: Named): TargetNode {
  const problems = new Problems(refOf(object))
  const own = object.metadata.namespace ?? ''
  const destination = readDestination(object, own, named, problems)
  const sources = readSources(object, own, named, problems)
  const ports = readDestinationPort(object, problems)
  const permitted = readRules(object, own, named, problems)
  const rule = ruleOf(permitted)
  for (const names of [['destination'], ['sources'], ['rules', 'specs']]) reportIgnored(object, problems, ...names)
  const node: TargetNode = {
    key: keyOf(object),
    ref: problems.object,
    destination,
    rule: null,
    routes: permitted.routes,
    problems: problems.list,
  }
  if (destination !== '' && sources.length > 0 && rule !== null) {
    node.rule = { name: node.key, sources, ports: intersect(rule.ports, ports), http: rule.http }
  }
  return node
}

/** @returns the account to enforce, or '' if none of this namespace is named */
function readDestination(object: SmiObject, own: string, named: Named, problems: Problems): Key | '' {
  const { value, path } = findField(object, 'destination')
  if (!isFields(value)) {
    problems.error('DestinationInvalid', path, 'must name a ServiceAccount (kind, name); the target has no effect')
    return ''
  }
  if (value['kind'] !== undefined && value['kind'] !== 'ServiceAccount') {
    problems.error('DestinationInvalid', `${path}.kind`, `${quote(value['kind'])} is not supported; use ServiceAccount`)
    return ''
  }
  const namespace = value['namespace'] ?? own
  if (namespace !== '' && namespace !== own) {
    problems.error(
      'DestinationInvalid',
      `${path}.namespace`,
      `${quote(namespace)} is not the target's own namespace ${quote(own)}; move the TrafficTarget there, it has no effect here`,
    )
    return ''
  }
  if (!isSubdomain(value['name'])) {
    problems.error('DestinationInvalid', `${path}.name`, `${quote(value['name'])} is not the name of a ServiceAccount`)
    return ''
  }
  const key = toKey(own, value['name'])
  if (!named.accounts.has(key)) {
    problems.warn('AccountNotFound', `${path}.name`, `there is no ServiceAccount ${key}; create it or correct the name`)
  }
  return key
}

function readSources(object: SmiObject, own: string, named: Named, problems: Problems): Key[] {
  const { value, path } = findField(object, 'sources')
  if (!Array.isArray(value) || value.length === 0) {
    problems.error('SourceInvalid', path, 'must list at least one ServiceAccount; without one nothing is allowed')
    return []
  }
  const sources = new Set<Key>()
  for (const [index, entry] of value.entries()) {
    const key = readSource(entry, own, `${path}[${index}]`, problems)
    if (key === null) continue
    sources.add(key)
    // Whether accounts of other namespaces exist is not for this namespace to know.
    if (key.startsWith(`${own}/`) && !named.accounts.has(key)) {
      problems.warn(
        'AccountNotFound',
        `${path}[${index}].name`,
        `there is no ServiceAccount ${key}: nobody is allowed by it`,
      )
    }
  }
  if (sources.size === 0) {
    problems.error('SourceInvalid', path, 'no ServiceAccount can be read from it; without one nothing is allowed')
  }
  return [...sources].sort()
}

function readSource(entry: unknown, own: string, path: string, problems: Problems): Key | null {
  if (!isFields(entry)) {
    problems.error('SourceInvalid', path, 'must be a map with kind, name and namespace; it is ignored')
    return null
  }
  if (entry['kind'] !== undefined && entry['kind'] !== 'ServiceAccount') {
    // The specification knows other kinds: who writes them as well is served as far as we can.
    problems.warn(
      'SourceInvalid',
      `${path}.kind`,
      `${quote(entry['kind'])} is not supported and ignored; use ServiceAccount`,
    )
    return null
  }
  const namespace = entry['namespace'] === undefined || entry['namespace'] === '' ? own : entry['namespace']
  if (!isLabel(namespace) || !isSubdomain(entry['name'])) {
    problems.error('SourceInvalid', path, 'name or namespace is not a valid name; it is ignored')
    return null
  }
  return toKey(namespace, entry['name'])
}

/** `destination.port` of v1alpha1 and v1alpha2 restricts the target to one port; a broken one permits none. */
function readDestinationPort(object: SmiObject, problems: Problems): number[] | null {
  const { value, path } = findField(object, 'destination')
  const wanted = isFields(value) ? value['port'] : undefined
  if (wanted === undefined || wanted === null || wanted === '') return null
  const port = readPort(wanted)
  if (port !== null) return [port]
  problems.error('PortInvalid', `${path}.port`, `${quote(wanted)} is not a port from 1 to 65535; no port is allowed`)
  return []
}

/** What the rules of one target permit, as far as they have been read. */
interface Permitted {
  /** Ports of each TCPRoute; null: there is none. */
  ports: (number[] | null)[] | null
  /** Matches of all HTTPRouteGroups; null: there is none. */
  http: RouteMatch[] | null
  isUnderstood: boolean
  routes: TargetNode['routes']
}

function readRules(object: SmiObject, own: string, named: Named, problems: Problems): Permitted {
  const permitted: Permitted = { ports: null, http: null, isUnderstood: true, routes: [] }
  const { value, path } = findField(object, 'rules', 'specs')
  if (!Array.isArray(value) || value.length === 0) {
    problems.error(
      'RuleInvalid',
      path,
      'must list at least one HTTPRouteGroup or TCPRoute; without one nothing is allowed',
    )
    return permitted
  }
  for (const [index, entry] of value.entries()) readRule(entry, own, `${path}[${index}]`, named, problems, permitted)
  return permitted
}

/** @returns null if the rules permit nothing over TCP or can't be understood */
function ruleOf({ ports, http, isUnderstood }: Permitted): Pick<AccessRule, 'ports' | 'http'> | null {
  if (!isUnderstood || (ports === null && http === null)) return null
  return { ports: ports === null ? null : unite(ports), http }
}

/** Adds one rule. One that can't be understood may be a condition that someone meant to set: nothing is allowed then. */
function readRule(
  entry: unknown,
  own: string,
  path: string,
  named: Named,
  problems: Problems,
  permitted: Permitted,
): void {
  if (!isFields(entry) || !isSubdomain(entry['name'])) {
    problems.error('RuleInvalid', path, 'must be a map with a kind and a valid name; the target allows nothing')
    permitted.isUnderstood = false
    return
  }
  const key = toKey(own, entry['name'])
  switch (entry['kind']) {
    case 'TCPRoute':
      permitted.routes.push({ kind: 'TCPRoute', key })
      permitted.ports = [...(permitted.ports ?? []), tcpPorts(key, `${path}.name`, named, problems)]
      break
    case 'HTTPRouteGroup':
      permitted.routes.push({ kind: 'HTTPRouteGroup', key })
      permitted.http = [...(permitted.http ?? []), ...groupMatches(entry, key, path, named, problems)]
      break
    case 'UDPRoute':
      permitted.routes.push({ kind: 'UDPRoute', key })
      if (!named.udpRoutes.has(key)) reportMissing('UDPRoute', key, `${path}.name`, problems)
      problems.warn('UdpNotEnforced', path, 'UDP is not carried by the mesh: this rule has no effect')
      break
    default:
      problems.error(
        'RuleInvalid',
        `${path}.kind`,
        `${quote(entry['kind'])} is not HTTPRouteGroup, TCPRoute or UDPRoute; the target allows nothing`,
      )
      permitted.isUnderstood = false
  }
}

/** A missing TCPRoute permits no port, and must not come to mean any. */
function tcpPorts(key: Key, path: string, named: Named, problems: Problems): number[] | null {
  const route = named.tcpRoutes.get(key)
  if (route) return route.ports
  reportMissing('TCPRoute', key, path, problems)
  return []
}

function groupMatches(entry: Fields, key: Key, path: string, named: Named, problems: Problems): RouteMatch[] {
  const group = named.groups.get(key)
  if (!group) {
    reportMissing('HTTPRouteGroup', key, `${path}.name`, problems)
    return []
  }
  const wanted = entry['matches'] ?? []
  if (!Array.isArray(wanted)) {
    problems.error('RuleInvalid', `${path}.matches`, 'must be a list of match names; the rule allows nothing')
    return []
  }
  if (wanted.length === 0) return group.matches
  const unknown = wanted.findIndex((name) => !group.names.includes(name))
  if (unknown >= 0) {
    problems.error(
      'MatchNotFound',
      `${path}.matches[${unknown}]`,
      `HTTPRouteGroup ${key} has no match ${quote(wanted[unknown])} (it has ${group.names.map(quote).join(', ') || 'none'}); the rule allows nothing`,
    )
    return []
  }
  return group.matches.filter((match) => wanted.includes(match.name))
}

function reportMissing(kind: string, key: Key, path: string, problems: Problems): void {
  problems.error('RouteNotFound', path, `there is no ${kind} ${key}; until it exists the rule allows nothing`)
}

function unite(lists: (number[] | null)[]): number[] | null {
  const ports = new Set<number>()
  for (const list of lists) {
    if (list === null) return null
    for (const port of list) ports.add(port)
  }
  return [...ports].sort((a, b) => a - b)
}

function intersect(a: number[] | null, b: number[] | null): number[] | null {
  if (a === null) return b
  if (b === null) return a
  return a.filter((port) => b.includes(port))
}

/** Groups targets by the account that they enforce; sorted. */
export function enforcedAccounts(targets: TargetNode[]): { key: Key; targets: Key[]; rules: AccessRule[] }[] {
  const accounts = new Map<Key, { key: Key; targets: Key[]; rules: AccessRule[] }>()
  for (const target of targets) {
    if (target.destination === '') continue
    const account = accounts.get(target.destination) ?? { key: target.destination, targets: [], rules: [] }
    accounts.set(target.destination, account)
    account.targets.push(target.key)
    if (target.rule) account.rules.push(target.rule)
  }
  return [...accounts.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
}
