// Runs a compiled RE2 program over a text in time linear in both, and stops at a budget of work: the same for the same
// text, whatever ran before. re2js parses and compiles; its own engines keep caches of up to 8 MB for each expression
// and have no such bound, and expressions come from tenants.

import { RE2JS } from 're2js'

/** Instructions of a program as re2js makes them (the same as Go's regexp/syntax). */
const alt = 1
const altMatch = 2
const capture = 3
const emptyWidth = 4
const match = 6
const nop = 7
const firstRune = 8
const lastRune = 11

/** What an empty-width instruction may ask for. */
const beginLine = 1
const endLine = 2
const beginText = 4
const endText = 8
const wordBoundary = 16
const noWordBoundary = 32

/** Programs beyond this are not run. */
const maxInstructions = 2_048

interface Instruction {
  readonly op: number
  readonly out: number
  readonly arg: number
  matchRune(rune: number): boolean
}

interface Program {
  readonly start: number
  numInst(): number
  getInst(pc: number): Instruction
  startCond(): number
}

// Scratch of the one run that goes on at a time.
const marks = new Uint32Array(maxInstructions)
const stack = new Uint16Array(maxInstructions * 2)
const active = new Uint16Array(maxInstructions)
const pending = new Uint16Array(maxInstructions)
let generation = 0
let visited = 0
let isFound = false

/** What all runs of this thread have cost together, in instructions visited. */
export const work = { steps: 0 }

export class Automaton {
  private readonly start: number
  private readonly ops: Uint8Array
  private readonly outs: Uint16Array
  private readonly args: Uint16Array
  /** For each instruction that takes a character: the 256 that it takes, as bits. */
  private readonly takes: Uint32Array
  /** It begins with ^. */
  private readonly isAnchored: boolean

  /**
   * @param source an RE2 expression
   * @throws RE2JSException if it is not well-formed, RangeError if it is too large
   */
  constructor(source: string) {
    const program = (RE2JS.compile(source) as unknown as { re2Input: { prog: Program } }).re2Input.prog
    const count = program.numInst()
    if (count > maxInstructions) throw new RangeError(`${count} instructions`)
    this.start = program.start
    this.isAnchored = (program.startCond() & beginText) !== 0
    this.ops = new Uint8Array(count)
    this.outs = new Uint16Array(count)
    this.args = new Uint16Array(count)
    this.takes = new Uint32Array(count * 8)
    for (let pc = 0; pc < count; pc++) {
      const instruction = program.getInst(pc)
      this.ops[pc] = instruction.op
      this.outs[pc] = instruction.out
      this.args[pc] = instruction.arg
      if (instruction.op >= firstRune && instruction.op <= lastRune) this.tabulate(pc, instruction)
    }
  }

  /**
   * Looks for a match in a text of latin1 characters.
   * @param isAnchored whether it must begin at the text's start
   * @param budget instructions that may be visited; about 3 ns each
   * @returns whether there is one; false where the budget is used up before it is found
   */
  run(text: string, isAnchored: boolean, budget: number): boolean {
    isFound = false
    work.steps += budget - this.search(text, isAnchored, budget)
    return isFound
  }

  /** Sets `isFound`. @returns what is left of the budget; below 0, if it came to an end */
  private search(text: string, isAnchored: boolean, budget: number): number {
    const fromStart = isAnchored || this.isAnchored
    let waiting = 0
    let left = budget
    for (let at = 0; at <= text.length; at++) {
      if (at === 0 || !fromStart) pending[waiting++] = this.start
      if (waiting === 0) break
      const ready = this.close(waiting, contextAt(text, at))
      left -= visited + 1
      isFound = ready < 0
      if (isFound || left < 0 || at === text.length) break
      const code = text.charCodeAt(at)
      if (code > 255) break
      waiting = this.step(ready, code)
    }
    return left
  }

  /** Follows what takes no character, from all pending instructions; returns how many are active then, -1 on a match. */
  private close(waiting: number, context: number): number {
    const { ops, outs, args } = this
    nextGeneration()
    visited = 0
    let count = 0
    let depth = 0
    for (let i = 0; i < waiting; i++) stack[depth++] = pending[i]!
    while (depth > 0) {
      const pc = stack[--depth]!
      if (marks[pc] === generation) continue
      marks[pc] = generation
      visited++
      const op = ops[pc]!
      if (op >= firstRune && op <= lastRune) active[count++] = pc
      else if (op === match) return -1
      else if (op === alt || op === altMatch) {
        stack[depth++] = args[pc]!
        stack[depth++] = outs[pc]!
      } else if (op === capture || op === nop || (op === emptyWidth && (args[pc]! & ~context) === 0)) {
        stack[depth++] = outs[pc]!
      }
    }
    return count
  }

  /** Takes a character; returns how many instructions are pending after it. */
  private step(ready: number, code: number): number {
    const word = code >>> 5
    const bit = code & 31
    let waiting = 0
    for (let i = 0; i < ready; i++) {
      const pc = active[i]!
      if ((this.takes[pc * 8 + word]! >>> bit) & 1) pending[waiting++] = this.outs[pc]!
    }
    return waiting
  }

  private tabulate(pc: number, instruction: Instruction): void {
    for (let code = 0; code < 256; code++) {
      if (instruction.matchRune(code)) this.takes[pc * 8 + (code >>> 5)]! |= 1 << (code & 31)
    }
  }
}

function nextGeneration(): void {
  generation = (generation + 1) >>> 0
  if (generation === 0) {
    marks.fill(0)
    generation = 1
  }
}

/** Which assertions hold between two characters of a text. */
function contextAt(text: string, at: number): number {
  const before = at === 0 ? -1 : text.charCodeAt(at - 1)
  const after = at === text.length ? -1 : text.charCodeAt(at)
  let context = isWord(before) === isWord(after) ? noWordBoundary : wordBoundary
  if (before === -1) context |= beginText | beginLine
  else if (before === 10) context |= beginLine
  if (after === -1) context |= endText | endLine
  else if (after === 10) context |= endLine
  return context
}

function isWord(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 48 && code <= 57) || code === 95
}
