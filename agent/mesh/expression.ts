// An expression of an HTTPRouteGroup as something that can be asked. Most are prefixes, words to be found or a few
// alternatives in RE2's clothes: these become string comparisons. The rest runs on the automaton.

import { patternProblem } from '../../controller/contract/pattern.ts'
import { Automaton } from './automaton.ts'

export interface Expression {
  /** Whether its tests use the budget. */
  readonly isSlow: boolean
  /** @param budget work that may be done, see Automaton.run; what would take more doesn't match */
  test(text: string, budget: number): boolean
}

/** Longer texts match nothing. A request's head is limited to less. */
const maxTextLength = 65_536
/** More alternatives than these are left to the automaton, and longer words where they are searched for. */
const maxForms = 64
const maxSearches = 8
const maxSearchedLength = 64
const maxRemembered = 4_096

type Kind = 'all' | 'prefix' | 'suffix' | 'equal' | 'part'

interface Form {
  readonly kind: Kind
  readonly text: string
}

const never: Expression = { isSlow: false, test: () => false }

const remembered = new Map<string, Expression>()

/**
 * Makes an expression; equal ones are made once.
 * @param source RE2
 * @param isPath whether it must match from the text's start on, as paths do; else it may match anywhere
 * @returns one that never matches, if the source is not well-formed or too large: rules fail closed
 */
export function expression(source: string, isPath: boolean): Expression {
  const key = `${isPath ? 'p' : 'h'}${source}`
  const known = remembered.get(key)
  if (known !== undefined) return known
  const made = make(source, isPath)
  if (remembered.size >= maxRemembered) remembered.delete(remembered.keys().next().value!)
  remembered.set(key, made)
  return made
}

function make(source: string, isPath: boolean): Expression {
  if (patternProblem(source) !== null) return never
  const forms = formsOf(source, isPath)
  if (forms !== null) return compare(forms)
  try {
    const automaton = new Automaton(source)
    return {
      isSlow: true,
      test: (text, budget) => text.length <= maxTextLength && automaton.run(text, isPath, budget),
    }
  } catch {
    // Not RE2, or larger than it looked. The controller has said so in an Event on the object.
    return never
  }
}

function compare(forms: readonly Form[]): Expression {
  if (forms.length === 1) {
    const form = forms[0]!
    return { isSlow: false, test: (text) => fits(form, text) }
  }
  return {
    isSlow: false,
    test: (text) => {
      for (let i = 0; i < forms.length; i++) if (fits(forms[i]!, text)) return true
      return false
    },
  }
}

function fits(form: Form, text: string): boolean {
  if (text.length > maxTextLength) return false
  switch (form.kind) {
    case 'all':
      return true
    case 'prefix':
      return text.startsWith(form.text)
    case 'suffix':
      return text.endsWith(form.text)
    case 'equal':
      return text === form.text
    case 'part':
      return text.includes(form.text)
  }
}

/** The comparisons that an expression amounts to, or null if it is not that simple. */
function formsOf(source: string, isPath: boolean): Form[] | null {
  // Quotes and flags change what the characters behind them mean.
  if (source.includes('\\Q') || /\(\?(?!:)/.test(source)) return null
  const alternatives = split(source)
  if (alternatives === null) return null
  const forms: Form[] = []
  for (const alternative of alternatives) {
    const found = formsOfOne(alternative, isPath)
    if (found === null || forms.length + found.length > maxForms) return null
    forms.push(...found)
  }
  const searches = forms.filter(({ kind }) => kind === 'part')
  if (searches.length > maxSearches || searches.some(({ text }) => text.length > maxSearchedLength)) return null
  return forms
}

/** One alternative: anchors and `.*` at its ends, and between them a literal, with at most one group of literals in it. */
function formsOfOne(alternative: string, isPath: boolean): Form[] | null {
  let body = alternative
  let isFromStart = isPath
  let isToEnd = false
  if (body.startsWith('^')) {
    body = body.slice(1)
    isFromStart = true
  }
  const lead = /^\.\*\??/.exec(body)
  if (lead !== null) {
    body = body.slice(lead[0].length)
    isFromStart = false
  }
  if (endsUnescaped(body, '$')) {
    body = body.slice(0, -1)
    isToEnd = true
  }
  const trail = endsUnescaped(body, '.*') ? 2 : endsUnescaped(body, '.*?') ? 3 : 0
  if (trail > 0) {
    body = body.slice(0, -trail)
    isToEnd = false
  }
  const texts = expand(body)
  return texts === null ? null : texts.map((text) => formOf(text, isFromStart, isToEnd))
}

function formOf(text: string, isFromStart: boolean, isToEnd: boolean): Form {
  if (isFromStart && isToEnd) return { kind: 'equal', text }
  if (text === '') return { kind: 'all', text }
  return { kind: isFromStart ? 'prefix' : isToEnd ? 'suffix' : 'part', text }
}

function endsUnescaped(text: string, end: string): boolean {
  if (!text.endsWith(end)) return false
  let slashes = 0
  for (let at = text.length - end.length - 1; at >= 0 && text[at] === '\\'; at--) slashes++
  return slashes % 2 === 0
}

/** `a(b|c)d` → abd, acd; a text without a group is itself; null for anything else. */
function expand(body: string): string[] | null {
  const open = indexUnescaped(body, '(')
  if (open < 0) return wrap(literal(body))
  const close = indexUnescaped(body, ')')
  if (close < open) return null
  const before = literal(body.slice(0, open))
  const after = literal(body.slice(close + 1))
  const inner = body.slice(open + 1, close).replace(/^\?:/, '')
  const alternatives = split(inner)
  if (before === null || after === null || alternatives === null) return null
  const texts = alternatives.map(literal)
  return texts.includes(null) ? null : texts.map((text) => before + text! + after)
}

function wrap(text: string | null): string[] | null {
  return text === null ? null : [text]
}

/** What a text of literals and escaped punctuation stands for; null if there is more to it. */
function literal(text: string): string | null {
  const plain = text.replace(/\\([!-/:-@[-`{-~])/g, (_, char: string) => (/[\\^$.|?*+()[\]{}]/.test(char) ? '' : char))
  if (/[\\^$.|?*+()[\]{}]/.test(plain)) return null
  return text.replace(/\\(.)/g, '$1')
}

/** Alternatives at the top level; null where a bracket makes that hard to say. */
function split(source: string): string[] | null {
  const parts: string[] = []
  let depth = 0
  let start = 0
  for (let at = 0; at < source.length; at++) {
    const char = source[at]
    if (char === '\\') at++
    else if (char === '[') return null
    else if (char === '(') depth++
    else if (char === ')') depth--
    else if (char === '|' && depth === 0) {
      parts.push(source.slice(start, at))
      start = at + 1
    }
    if (depth < 0) return null
  }
  if (depth !== 0) return null
  parts.push(source.slice(start))
  return parts
}

function indexUnescaped(text: string, char: string): number {
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === char) return at
  }
  return -1
}
