// HTTPRouteGroups: every version's shape, both forms of `headers`. A match that can't be read never matches, so that a
// mistake refuses a request instead of letting it through.

import type { RouteMatch } from '../contract/resources.ts'
import { keyOf, refOf, type SmiObject } from '../observe/objects.ts'
import { Problems, quote } from './problem.ts'
import { regexFault } from './regex.ts'
import { type Fields, findField, isFields, reportIgnored } from './shape.ts'
import type { RouteGroupNode } from './topology.ts'

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const maxMatches = 1000
/** Of a whole group: each may take half a millisecond to compile, here and in every agent. */
const maxExpressions = 1000

/** Reads an HTTPRouteGroup. */
export function readGroup(object: SmiObject): RouteGroupNode {
  const problems = new Problems(refOf(object))
  const found = findField(object, 'matches')
  reportIgnored(object, problems, 'matches')
  const node: RouteGroupNode = {
    key: keyOf(object),
    ref: problems.object,
    matches: [],
    names: [],
    problems: problems.list,
  }
  if (!Array.isArray(found.value) || found.value.length === 0) {
    problems.error('SpecInvalid', found.path, 'must be a list of matches; without one the group matches nothing')
    return node
  }
  if (found.value.length > maxMatches) {
    problems.error('SpecInvalid', found.path, `has more than ${maxMatches} matches; those beyond are ignored`)
  }
  let expressions = 0
  for (const [index, entry] of found.value.slice(0, maxMatches).entries()) {
    const path = `${found.path}[${index}]`
    expressions += countExpressions(entry)
    if (expressions > maxExpressions) {
      const text = `the group has more than ${maxExpressions} expressions; this match and those after it never match`
      problems.error('SpecInvalid', path, text)
      break
    }
    if (!isFields(entry) || typeof entry['name'] !== 'string' || entry['name'] === '') {
      problems.error('MatchInvalid', `${path}.name`, 'every match needs a name; this one never matches')
      continue
    }
    node.names.push(entry['name'])
    const match = readMatch(entry, entry['name'], path, problems)
    if (match) node.matches.push(match)
  }
  return node
}

function countExpressions(entry: unknown): number {
  if (!isFields(entry)) return 0
  return (entry['pathRegex'] === undefined ? 0 : 1) + (listPairs(entry['headers'], '')?.length ?? 0)
}

/** Reads one match, or reports why it never matches. */
function readMatch(entry: Fields, name: string, path: string, problems: Problems): RouteMatch | null {
  const expression = readPath(entry['pathRegex'], `${path}.pathRegex`, problems)
  const methods = readMethods(entry['methods'], `${path}.methods`, problems)
  const headers = readHeaders(entry['headers'], `${path}.headers`, problems)
  if (expression === undefined || methods === undefined || headers === undefined) return null
  return { name, path: expression, methods, headers }
}

/** @returns null if the condition is not set, undefined if it is broken; so do the next two */
function readPath(value: unknown, path: string, problems: Problems): string | null | undefined {
  if (value === undefined || value === null || value === '') return null
  return readRegex(value, path, problems) ?? undefined
}

function readRegex(value: unknown, path: string, problems: Problems): string | null {
  if (typeof value !== 'string') {
    problems.error('MatchInvalid', path, 'must be a string with a regular expression; the match never matches')
    return null
  }
  // What agents compile is `^(?:…)`: the expression must be complete in itself, or it could close the bracket early.
  const fault = regexFault(value)
  if (fault === null) return value
  problems.error('RegexInvalid', path, `${quote(value)} ${fault}; the match never matches`)
  return null
}

function readMethods(value: unknown, path: string, problems: Problems): string[] | null | undefined {
  if (value === undefined || value === null) return null
  if (!Array.isArray(value) || !value.every((method) => typeof method === 'string' && token.test(method))) {
    problems.error(
      'MatchInvalid',
      path,
      'must be a list of methods such as GET, or "*" for all; the match never matches',
    )
    return undefined
  }
  if (value.length === 0 || value.includes('*')) return null
  for (const [index, method] of value.entries()) {
    if (method !== method.toUpperCase()) {
      problems.warn('MatchInvalid', `${path}[${index}]`, `methods are case-sensitive; write ${method.toUpperCase()}`)
    }
  }
  return [...new Set<string>(value)]
}

function readHeaders(value: unknown, path: string, problems: Problems): RouteMatch['headers'] | undefined {
  if (value === undefined || value === null) return []
  const pairs = listPairs(value, path)
  if (pairs === null) {
    problems.error('MatchInvalid', path, 'must map header names to regular expressions; the match never matches')
    return undefined
  }
  const headers: RouteMatch['headers'] = []
  for (const { name, expression, at } of pairs) {
    if (!token.test(name)) {
      problems.error('MatchInvalid', at, `${quote(name)} is not the name of a header; the match never matches`)
      return undefined
    }
    const valid = readRegex(expression, at, problems)
    if (valid === null) return undefined
    headers.push({ name: name.toLowerCase(), value: valid })
  }
  return headers
}

/** Both forms: a map, or a list of maps (each of one key, says the SDK; more are ANDed like the rest). */
function listPairs(value: unknown, path: string): { name: string; expression: unknown; at: string }[] | null {
  if (isFields(value)) return pairsOf(value, path)
  if (!Array.isArray(value) || !value.every(isFields)) return null
  return value.flatMap((entry: Fields, index) => pairsOf(entry, `${path}[${index}]`))
}

function pairsOf(entry: Fields, path: string): { name: string; expression: unknown; at: string }[] {
  return Object.entries(entry).map(([name, expression]) => ({ name, expression, at: `${path}.${name}` }))
}
