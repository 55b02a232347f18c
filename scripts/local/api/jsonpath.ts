// The JSONPath that printer columns of CustomResourceDefinitions are written in: fields, indexes, [*] and equality filters.

import { isRecord } from './object.ts'

const step =
  /^(?:\.?\[\?\(@((?:\.\w+)+)\s*==\s*['"]([^'"]*)['"]\)\]|\.?\[(\*|\d+)\]|\.?\['([^']+)'\]|\.((?:[^.[\]\\]|\\.)+))/

/** All values that a path leads to; none if there are none, or if the path can't be read. */
export function evaluate(root: unknown, path: string): unknown[] {
  let values = [root]
  let rest = path
  while (rest !== '' && rest !== '.') {
    const found = step.exec(rest)
    if (found === null) return []
    rest = rest.slice(found[0].length)
    values = values.flatMap((value) => follow(value, found)).filter((value) => value !== undefined && value !== null)
  }
  return values
}

function follow(
  value: unknown,
  [, filterPath, wanted, index, quoted, name]: readonly (string | undefined)[],
): unknown[] {
  if (filterPath !== undefined) {
    if (!Array.isArray(value)) return []
    return value.filter((item) => evaluate(item, filterPath).some((one) => String(one) === wanted))
  }
  if (index !== undefined) {
    if (index === '*') return Array.isArray(value) ? value : isRecord(value) ? Object.values(value) : []
    return Array.isArray(value) ? [value[Number(index)]] : []
  }
  const field = quoted ?? name!.replaceAll('\\', '')
  return isRecord(value) ? [value[field]] : []
}
