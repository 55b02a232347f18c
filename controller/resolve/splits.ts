// TrafficSplits as nodes of the topology: every version's shape, normalised names, weights in milli-units, and which split
// of a root comes first. What they do on each port is settled in divide.ts.

import type { Key, RouteMatch } from '../contract/resources.ts'
import { keyOf, refOf, type SmiObject } from '../observe/objects.ts'
import { nameOf, readServiceName, toKey } from './names.ts'
import { Problems, quote } from './problem.ts'
import type { Settings } from './settings.ts'
import { type Fields, findField, isFields } from './shape.ts'
import type { RouteGroupNode, SplitNode, WeightedBackend } from './topology.ts'
import { readWeight } from './weight.ts'

/** Backends of one split that are taken; the API server's size limit allows absurd lists. */
const maxBackends = 1000

/** A split on its way: where its fields stand, for messages about them. */
export interface ReadSplit {
  node: SplitNode
  problems: Problems
  paths: { root: string; matches: string; backends: Map<Key, string> }
}

/** Reads all splits, and decides for each root which of them come into force. */
export function readSplits(
  objects: Iterable<SmiObject>,
  groups: ReadonlyMap<Key, RouteGroupNode>,
  settings: Settings,
): ReadSplit[] {
  // By age, then by name: the order in which splits of one root are tried.
  const aged = [...objects].map((object) => ({ object, at: createdAt(object), key: keyOf(object) }))
  aged.sort((a, b) => a.at - b.at || (a.key < b.key ? -1 : 1))
  const splits = aged.map(({ object }) => copyOf(readOnce(object, groups, settings)))
  supersede(splits)
  return splits
}

/** What was read of an object, as long as it and all that it may name are the same. */
interface Once {
  groups: ReadonlyMap<Key, RouteGroupNode>
  settings: Settings
  read: ReadSplit
}

const known = new WeakMap<SmiObject, Once>()

function readOnce(object: SmiObject, groups: Once['groups'], settings: Settings): ReadSplit {
  const once = known.get(object)
  if (once !== undefined && once.groups === groups && once.settings === settings) return once.read
  const read = readSplit(object, groups, settings)
  known.set(object, { groups, settings, read })
  return read
}

/** A split to hang further problems on. */
function copyOf({ node, paths }: ReadSplit): ReadSplit {
  const problems = new Problems(node.ref)
  problems.list.push(...node.problems)
  return { node: { ...node, problems: problems.list }, problems, paths }
}

/** When an object was created, in milliseconds since the epoch. */
export function createdAt(object: { metadata: { creationTimestamp?: string } }): number {
  const { creationTimestamp } = object.metadata
  return creationTimestamp === undefined ? 0 : Date.parse(creationTimestamp) || 0
}

function readSplit(object: SmiObject, groups: ReadonlyMap<Key, RouteGroupNode>, settings: Settings): ReadSplit {
  const problems = new Problems(refOf(object))
  const own = object.metadata.namespace ?? ''
  const service = findField(object, 'service')
  const root = readServiceName(service.value, own, settings)
  if ('error' in root) problems.error('RootInvalid', service.path, `${root.error}; the split has no effect`)
  const matches = readMatches(object, own, groups, problems)
  const backends = readBackends(object, own, settings, problems)
  const node: SplitNode = {
    key: keyOf(object),
    ref: problems.object,
    state: 'error' in root ? 'invalid' : 'active',
    root: 'error' in root ? '' : toKey(own, root.name),
    groups: matches.groups,
    matches: matches.list,
    backends: backends.list,
    problems: problems.list,
  }
  return { node, problems, paths: { root: service.path, matches: matches.path, backends: backends.paths } }
}

/** Of the splits without matches only the oldest of a root is in force; those with matches are tried before it. */
function supersede(splits: ReadSplit[]): void {
  const first = new Map<Key, Key>()
  for (const { node, problems, paths } of splits) {
    if (node.state !== 'active' || node.matches !== null) continue
    const older = first.get(node.root)
    if (older === undefined) {
      first.set(node.root, node.key)
      continue
    }
    node.state = 'superseded'
    problems.warn(
      'SplitSuperseded',
      paths.root,
      `TrafficSplit ${older} is older and already divides ${node.root}; this one has no effect until that is deleted`,
    )
  }
}

function readMatches(
  object: SmiObject,
  own: string,
  named: ReadonlyMap<Key, RouteGroupNode>,
  problems: Problems,
): { list: RouteMatch[] | null; groups: Key[]; path: string } {
  const { value, path } = findField(object, 'matches')
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return { list: null, groups: [], path }
  const list: RouteMatch[] = []
  const groups: Key[] = []
  if (!Array.isArray(value))
    problems.error('SpecInvalid', path, 'must be a list of HTTPRouteGroups; the split never matches')
  for (const [index, entry] of Array.isArray(value) ? value.entries() : []) {
    const at = `${path}[${index}]`
    if (!isFields(entry) || (entry['kind'] !== undefined && entry['kind'] !== 'HTTPRouteGroup')) {
      problems.error('MatchInvalid', `${at}.kind`, 'must be HTTPRouteGroup; the entry matches nothing')
      continue
    }
    if (typeof entry['name'] !== 'string' || entry['name'] === '') {
      problems.error('MatchInvalid', `${at}.name`, 'must name an HTTPRouteGroup; the entry matches nothing')
      continue
    }
    const key = toKey(own, entry['name'])
    const group = named.get(key)
    groups.push(key)
    if (group) list.push(...group.matches)
    else
      problems.error(
        'RouteNotFound',
        `${at}.name`,
        `there is no HTTPRouteGroup ${key}; until it exists the entry matches nothing`,
      )
  }
  return { list, groups, path }
}

function readBackends(
  object: SmiObject,
  own: string,
  settings: Settings,
  problems: Problems,
): { list: WeightedBackend[]; paths: Map<Key, string> } {
  const { value, path } = findField(object, 'backends')
  const list: WeightedBackend[] = []
  const paths = new Map<Key, string>()
  if (!Array.isArray(value) || value.length === 0) {
    problems.error('SpecInvalid', path, 'must list at least one backend; until it does requests get 503 no_backend')
    return { list, paths }
  }
  if (value.length > maxBackends)
    problems.error('SpecInvalid', path, `has more than ${maxBackends} entries; those beyond get no traffic`)
  for (const [index, entry] of value.slice(0, maxBackends).entries()) {
    const at = `${path}[${index}]`
    const backend = readBackend(entry, own, at, settings, problems)
    if (backend === null) continue
    const earlier = paths.has(backend.service) && list.find((other) => other.service === backend.service)
    if (earlier) {
      problems.warn(
        'BackendDuplicated',
        `${at}.service`,
        `${quote(nameOf(backend.service))} is listed twice; its weights are added up`,
      )
      earlier.weight += backend.weight
      continue
    }
    list.push(backend)
    paths.set(backend.service, `${at}.service`)
  }
  return { list, paths }
}

function readBackend(
  entry: unknown,
  own: string,
  path: string,
  settings: Settings,
  problems: Problems,
): WeightedBackend | null {
  const fields: Fields = isFields(entry) ? entry : {}
  const service = readServiceName(fields['service'], own, settings)
  // Go clients with `omitempty`, as old Flaggers are, leave a weight of 0 out.
  const isGiven = fields['weight'] !== undefined && fields['weight'] !== null
  const weight = isGiven ? readWeight(fields['weight']) : 0
  if ('error' in service) {
    problems.error('BackendInvalid', `${path}.service`, `${service.error}; the backend gets no traffic`)
    return null
  }
  if (weight === null) {
    problems.error(
      'WeightInvalid',
      `${path}.weight`,
      `${quote(fields['weight'])} is no weight; write a whole number from 0 or a quantity such as "500m"; the backend gets no traffic`,
    )
    return null
  }
  if (!isGiven)
    problems.warn('WeightMissing', `${path}.weight`, 'is missing and counts as 0: the backend gets no traffic')
  return { service: toKey(own, service.name), weight }
}
