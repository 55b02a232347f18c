// RouteMatch → Match: a match of an HTTPRouteGroup as it came over the wire becomes one that requests are tested with,
// when splits are divided and access is permitted. What is broken or too large never matches: rules fail closed.

import type { RouteMatch } from '../../controller/contract/resources.ts'
import { work } from './automaton.ts'
import { type Expression, expression } from './expression.ts'
import type { Match, MatchInput } from './match.ts'

/** Work that one match may cost, in instructions of the automaton: below half a millisecond. */
const budgetEach = 65_536
/** Work that the matches of one list may cost together, where there are many of them. */
const budgetOfList = 262_144
/** What each may cost at least; enough for a path of several hundred characters. */
const budgetLeast = 2_048

interface HeaderCondition {
  readonly name: string
  readonly value: Expression
}

/**
 * Compiles one match. Path: RE2, anchored at its start, against the path without the query. Methods: exactly, upper and
 * lower case differ; `*` or none given: all. Headers: RE2, anywhere in the value; an absent header never matches, not
 * even an expression that matches the empty text.
 */
export function compile(match: RouteMatch): Match {
  return compileAll([match])[0]!
}

/** Compiles matches that are tested one after the other for the same request: they share a bound on their work. */
export function compileAll(matches: readonly RouteMatch[]): readonly Match[] {
  const parts = matches.map((match) => ({
    match,
    path: match.path === null ? null : expression(match.path, true),
    headers: match.headers.map(({ name, value }) => ({ name: name.toLowerCase(), value: expression(value, false) })),
  }))
  const slow = parts.reduce((count, { path, headers }) => count + slowOnes(path, headers), 0)
  const budget = Math.min(budgetEach, Math.max(budgetLeast, Math.floor(budgetOfList / Math.max(1, slow))))
  return parts.map(({ match, path, headers }) => new CompiledMatch(match, path, headers, budget))
}

function slowOnes(path: Expression | null, headers: readonly HeaderCondition[]): number {
  return Number(path?.isSlow ?? false) + headers.filter(({ value }) => value.isSlow).length
}

class CompiledMatch implements Match {
  readonly name: string
  /** null: all. */
  private readonly methods: readonly string[] | null
  private readonly path: Expression | null
  private readonly headers: readonly HeaderCondition[]
  private readonly budget: number

  constructor(match: RouteMatch, path: Expression | null, headers: readonly HeaderCondition[], budget: number) {
    this.name = match.name
    this.methods = match.methods === null || match.methods.includes('*') ? null : match.methods
    this.path = path
    this.headers = headers
    this.budget = budget
  }

  test(input: MatchInput): boolean {
    if (this.methods !== null && !this.methods.includes(input.method)) return false
    if (this.path !== null && !this.path.test(input.path, this.budget)) return false
    for (let i = 0; i < this.headers.length; i++) {
      if (!this.hasHeader(input, this.headers[i]!)) return false
    }
    return true
  }

  /**
   * The value as a whole must match, and where a header came in several lines, each of them too: else a caller could add
   * a line that satisfies the rule to the one that the application goes by (CVE-2020-25017).
   */
  private hasHeader(input: MatchInput, { name, value }: HeaderCondition): boolean {
    const joined = input.header(name)
    if (joined === null || !value.test(joined, this.budget)) return false
    const lines = input.headerLines?.(name)
    if (lines === undefined || lines.length < 2) return true
    const before = work.steps
    for (let i = 0; i < lines.length; i++) {
      // Together they may cost what the whole value may: they are many where a caller wants it.
      if (!value.test(lines[i]!, this.budget - (work.steps - before))) return false
    }
    return true
  }
}
