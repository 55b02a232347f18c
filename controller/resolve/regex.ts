// The syntax of regular expressions in route groups. Their authors are tenants: they are RE2 expressions of bounded size,
// and are matched by the agents in time linear in the text.

import { RE2JS } from 're2js'

/** Longest expression, in characters, and largest compiled program, in instructions, that is taken. */
export const maxRegexLength = 1024
export const maxRegexInstructions = 1000

/** All groups are read again in every pass: an expression that was forgotten meanwhile costs half a millisecond each time. */
const maxRemembered = 50_000
let remembered = new Map<string, string | null>()
/** What was asked for before that; what is not asked for again goes with it. */
let older = new Map<string, string | null>()

/**
 * Checks an RE2 expression.
 * @returns what is wrong with it, or null
 */
export function regexFault(expression: string): string | null {
  let fault = remembered.get(expression)
  if (fault === undefined) {
    fault = older.get(expression)
    if (fault === undefined) fault = findFault(expression)
    if (remembered.size >= maxRemembered) {
      older = remembered
      remembered = new Map()
    }
    remembered.set(expression, fault)
  }
  return fault
}

function findFault(expression: string): string | null {
  if (expression.length > maxRegexLength) return `is longer than ${maxRegexLength} characters; shorten it`
  try {
    const size = RE2JS.compile(expression).programSize()
    if (size > maxRegexInstructions)
      return `compiles to ${size} instructions of at most ${maxRegexInstructions}; simplify it`
    return null
  } catch (error) {
    const text = error instanceof Error ? error.message.replace(/^error parsing regexp: /, '') : String(error)
    return `is not a valid RE2 expression (${text.slice(0, 120)}); look-around and back-references do not exist there`
  }
}
