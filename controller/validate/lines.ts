// Lines of a YAML text: where a field stands that a problem names by its JSON path.

import { type Document, isAlias, isMap, isScalar, isSeq, type Node, type Pair } from 'yaml'

/** A step from a node of the text to one below it: a key of a map, an index of a list. */
export type Step = string | number

export interface LineCounts {
  /** The line of a character, counted from 1. */
  lineAt(offset: number): number
}

/** Counts the lines of a text once, for many questions. */
export function lineCounts(text: string): LineCounts {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return {
    lineAt(offset) {
      let first = 0
      let last = starts.length - 1
      while (first < last) {
        const middle = (first + last + 1) >> 1
        if (starts[middle]! <= offset) first = middle
        else last = middle - 1
      }
      return first + 1
    },
  }
}

const part = /\[([^\]]*)\]|[^.[\]]+/g

/** The steps of a JSON path: `spec.backends[1].service`, `metadata.annotations[weft.dev/retry-attempts]`. */
export function stepsOf(field: string): Step[] {
  return Array.from(field.matchAll(part), ([whole, inner]) => {
    if (inner === undefined) return whole
    return /^\d+$/.test(inner) ? Number(inner) : inner
  })
}

/**
 * Goes as far along a path as the text does.
 * @returns offset of the last thing that was found: of the key, where it is a field of a map
 */
export function walk(document: Document.Parsed, root: Node | null, steps: readonly Step[]): number {
  let node: unknown = root
  let offset = startOf(root)
  for (const step of steps) {
    const at = isAlias(node) ? node.resolve(document) : node
    if (isMap(at)) {
      const pair = at.items.find(({ key }) => keyText(key) === String(step)) as Pair<Node, Node | null> | undefined
      if (pair === undefined) return offset
      offset = startOf(pair.key)
      node = pair.value
    } else if (isSeq(at) && typeof step === 'number' && step < at.items.length) {
      node = at.items[step]
      offset = startOf(node as Node | null) || offset
    } else return offset
  }
  return offset
}

function keyText(key: unknown): string {
  return String(isScalar(key) ? key.value : key)
}

function startOf(node: Node | null): number {
  return node?.range?.[0] ?? 0
}
