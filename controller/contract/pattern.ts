// How large an expression in an HTTPRouteGroup may be. The controller refuses larger ones with an Event, the agent never
// matches them: both by this rule, so that what is accepted here is enforced there. Whether an expression is well-formed
// RE2 is another question, left to the engine.

/** Longer expressions are refused. */
export const maxPatternLength = 1_024

/** Steps that an expression may be unrolled to: `(ab){50}` is 100. Bounds the time to compile it and to run it. */
export const maxPatternSize = 512

/**
 * Says what is too large about an expression.
 * @returns null if it is within bounds; nothing is said about its syntax
 */
export function patternProblem(source: string): string | null {
  if (source.length > maxPatternLength) {
    return `is ${source.length} characters long; at most ${maxPatternLength} are allowed`
  }
  const size = patternSize(source)
  if (size > maxPatternSize) return `unrolls to ${size} steps; at most ${maxPatternSize} are allowed`
  return null
}

/**
 * Estimates to how many steps an expression is unrolled: its literals and classes, each times the repetitions around it.
 * What is not well-formed gets some number; a class counts what its named classes (`\pL`) may cost.
 */
export function patternSize(source: string): number {
  const groups: number[] = []
  let sum = 0
  let atom = 0
  for (let at = 0; at < source.length; ) {
    const char = source[at]!
    if (char === '(') {
      groups.push(sum)
      sum = 0
      atom = 0
      at += groupStart(source, at)
    } else if (char === ')') {
      atom = sum
      sum += groups.pop() ?? 0
      at++
    } else if (char === '{') {
      const repeat = /^\{(\d{1,9})(?:,(\d{0,9}))?\}/.exec(source.slice(at, at + 24))
      if (repeat === null) {
        atom = 1
        sum++
        at++
        continue
      }
      const times = Math.max(Number(repeat[1]), Number(repeat[2] ?? 0), 1)
      sum += atom * (times - 1)
      atom *= times
      at += repeat[0].length
    } else {
      const length = atomLength(source, at)
      atom = atomSize(source, at, length)
      sum += atom
      at += length
    }
  }
  return groups.reduce((total, group) => total + group, sum)
}

/** Length of `(`, `(?:`, `(?i:` or `(?P<name>`: what begins a group is no step. */
function groupStart(source: string, at: number): number {
  return /^\((?:\?(?:P?<\w{0,64}>|[imsU-]{0,8}:?))?/.exec(source.slice(at, at + 72))?.[0].length ?? 1
}

/** Length of the literal, escape or class that begins here. */
function atomLength(source: string, at: number): number {
  if (source[at] === '\\') return escapeLength(source, at)
  if (source[at] !== '[') return 1
  let end = at + 1
  if (source[end] === '^') end++
  // A bracket that comes first is a member.
  if (source[end] === ']') end++
  while (end < source.length && source[end] !== ']') {
    if (source[end] === '\\') end++
    else if (source.startsWith('[:', end)) end = Math.max(end, source.indexOf(':]', end) + 1)
    end++
  }
  return Math.min(end + 1, source.length) - at
}

/** `\d`, `\pL` or `\p{Greek}` */
function escapeLength(source: string, at: number): number {
  if (source[at + 1]?.toLowerCase() !== 'p') return 2
  if (source[at + 2] !== '{') return 3
  const end = source.indexOf('}', at)
  return (end < 0 ? source.length : end + 1) - at
}

/** A Unicode class is hundreds of ranges: eight of them are as much as an expression may have. */
function atomSize(source: string, at: number, length: number): number {
  let size = 1
  for (let i = at; i < at + length - 1; i++) {
    if (source[i] !== '\\') continue
    i++
    if (source[i] === 'p' || source[i] === 'P') size += 64
  }
  return size
}
