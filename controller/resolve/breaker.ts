// Traefik's circuit-breaker expressions, mapped to the breaker that every endpoint has. It counts failed exchanges, so that
// shares of network errors and of 5xx answers become a success rate, and a latency quantile becomes "so many of the answers
// must come in time". What can't be mapped faithfully is refused.

import type { ServicePolicy } from '../contract/resources.ts'
import { BadValue } from './values.ts'

type Breaker = NonNullable<ServicePolicy['breaker']>

const maxExpressionLength = 500
const comparison = /^(\w+)\(([^()]*)\)(>=|<=|==|!=|>|<)(\d+(?:\.\d+)?)$/
const explanation =
  'can only be mapped if it compares NetworkErrorRatio(), ResponseCodeRatio(500, 600, 0, 600) or LatencyAtQuantileMS(q) with > and joins with ||'

/**
 * Maps an expression.
 * @throws BadValue if it can't be mapped
 */
export function readBreakerExpression(text: string): Breaker {
  if (text.length > maxExpressionLength) throw new BadValue(`is longer than ${maxExpressionLength} characters`)
  const parts = withoutBrackets(text.replace(/\s+/g, '')).split('||')
  const breakers = parts.map((part) => readComparison(withoutBrackets(part)))
  const slow = breakers.filter(({ slowMs }) => slowMs !== undefined)
  if (slow.length > 0 && breakers.length > 1) {
    throw new BadValue("joins a latency with other conditions, which one success rate can't express; keep one of them")
  }
  // Either share alone opens the breaker, so the stricter one counts.
  return { ...slow[0], successRate: Math.max(...breakers.map(({ successRate = 0 }) => successRate)) }
}

function readComparison(text: string): Breaker {
  const [, name, list = '', operator, limit] = comparison.exec(text) ?? []
  if (name === undefined || (operator !== '>' && operator !== '>=')) throw new BadValue(explanation)
  const args = list === '' ? [] : list.split(',').map(Number)
  const bound = Number(limit)
  if (name === 'NetworkErrorRatio' && args.length === 0) return { successRate: rateBelow(bound) }
  if (name === 'ResponseCodeRatio' && isServerErrors(args)) return { successRate: rateBelow(bound) }
  if (name === 'LatencyAtQuantileMS' && args.length === 1) return readLatency(args[0] ?? Number.NaN, bound)
  throw new BadValue(explanation)
}

function rateBelow(failures: number): number {
  if (failures > 0 && failures < 1) return Math.round((1 - failures) * 1e6) / 1e6
  throw new BadValue('compares a ratio with something that does not lie between 0 and 1')
}

/** The share of 5xx among all answers: our breaker's own idea of a failure. */
function isServerErrors([from, to, allFrom, allTo]: number[]): boolean {
  return from === 500 && to === 600 && (allFrom === 0 || allFrom === 100) && allTo === 600
}

/** The quantile q lies above the limit exactly if more than 100 - q percent of the answers take longer. */
function readLatency(quantile: number, ms: number): Breaker {
  if (quantile > 0 && quantile < 100 && ms >= 1)
    return { slowMs: Math.round(ms), successRate: Math.round(quantile * 1e4) / 1e6 }
  throw new BadValue('needs a quantile between 0 and 100 and a latency of at least 1 ms')
}

/** Takes brackets away that enclose all of it. */
function withoutBrackets(text: string): string {
  let inner = text
  while (inner.startsWith('(') && closes(inner) === inner.length - 1) inner = inner.slice(1, -1)
  return inner
}

/** Where the first bracket is closed. */
function closes(text: string): number {
  let depth = 0
  for (let index = 0; index < text.length; index++) {
    if (text[index] === '(') depth++
    if (text[index] === ')' && --depth === 0) return index
  }
  return -1
}
