// The patch kinds of the API: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge (merges lists by key, as the
// kind's schema says). Each takes an object's JSON and gives a changed copy.

import { ApiError, badRequest } from './errors.ts'
import { clone, equal, isRecord, type Json } from './object.ts'
import { fieldSchema, type Schema } from './schema.ts'

/** RFC 7386: null removes, records merge, everything else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return clone(patch)
  const result: Json = isRecord(target) ? { ...target } : {}
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name]
    else result[name] = mergePatch(result[name], value)
  }
  return result
}

interface Operation {
  op: 'add' | 'remove' | 'replace' | 'move' | 'copy' | 'test'
  path: string
  from?: string
  value?: unknown
}

/**
 * RFC 6902.
 * @throws ApiError 400 for a patch that can't be read, 422 for one that can't be applied (also a failed `test`)
 */
export function jsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest('a JSON patch is an array of operations')
  const root = { '': clone(target) }
  for (const operation of patch as Operation[]) applyOperation(root, operation)
  return root['']
}

function applyOperation(root: Json, { op, path, from, value }: Operation): void {
  switch (op) {
    case 'add':
      insert(root, path, clone(value))
      break
    case 'remove':
      remove(root, path)
      break
    case 'replace':
      read(root, path)
      if (path !== '') remove(root, path)
      insert(root, path, clone(value))
      break
    case 'move': {
      const moved = read(root, from ?? '')
      remove(root, from ?? '')
      insert(root, path, moved)
      break
    }
    case 'copy':
      insert(root, path, clone(read(root, from ?? '')))
      break
    case 'test':
      if (!equal(read(root, path), value)) throw cannotApply(`testing value ${path} failed`)
      break
    default:
      throw badRequest(`unknown operation ${JSON.stringify(op)} in a JSON patch`)
  }
}

function cannotApply(why: string): ApiError {
  return new ApiError(422, 'Invalid', `the server rejected our request due to an error in our request: ${why}`, {})
}

function steps(path: string): string[] {
  if (path !== '' && !path.startsWith('/')) throw badRequest(`${JSON.stringify(path)} is no JSON pointer`)
  return path.split('/').map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function read(root: Json, path: string): unknown {
  let value: unknown = root
  for (const step of steps(path)) {
    const inner = Array.isArray(value) ? value[Number(step)] : isRecord(value) ? value[step] : undefined
    if (inner === undefined) throw cannotApply(`missing path: ${path}`)
    value = inner
  }
  return value
}

function parentOf(root: Json, path: string): { parent: unknown; last: string } {
  const all = steps(path)
  const last = all.pop()!
  return {
    parent:
      all.length === 0
        ? root
        : read(
            root,
            all
              .slice(1)
              .map((step) => `/${escapeStep(step)}`)
              .join(''),
          ),
    last,
  }
}

function escapeStep(step: string): string {
  return step.replaceAll('~', '~0').replaceAll('/', '~1')
}

function insert(root: Json, path: string, value: unknown): void {
  const { parent, last } = parentOf(root, path)
  if (isRecord(parent)) parent[last] = value
  else if (Array.isArray(parent)) {
    const index = last === '-' ? parent.length : Number(last)
    if (!Number.isInteger(index) || index < 0 || index > parent.length) throw cannotApply(`bad index: ${path}`)
    parent.splice(index, 0, value)
  } else throw cannotApply(`missing path: ${path}`)
}

function remove(root: Json, path: string): void {
  read(root, path)
  const { parent, last } = parentOf(root, path)
  if (Array.isArray(parent)) parent.splice(Number(last), 1)
  else delete (parent as Json)[last]
}

/**
 * Strategic merge: as merge patch, but lists whose schema names a merge key are merged item by item, and `$patch`,
 * `$retainKeys` and `$deleteFromPrimitiveList/…` are obeyed. `$setElementOrder/…` sets the order of merged lists.
 */
export function strategicPatch(target: unknown, patch: unknown, schema: Schema | undefined): unknown {
  if (!isRecord(patch)) return clone(patch)
  if (patch['$patch'] === 'replace') return withoutDirectives(patch)
  const result: Json = isRecord(target) ? { ...target } : {}
  if (Array.isArray(patch['$retainKeys'])) {
    for (const name of Object.keys(result)) if (!patch['$retainKeys'].includes(name)) delete result[name]
  }
  for (const [name, value] of Object.entries(patch)) {
    if (name.startsWith('$')) deleteFromList(result, name, value)
    else if (value === null || (isRecord(value) && value['$patch'] === 'delete')) delete result[name]
    else if (Array.isArray(value)) {
      result[name] = patchList(result[name], value, fieldSchema(schema, name), patch[`$setElementOrder/${name}`])
    } else result[name] = strategicPatch(result[name], value, fieldSchema(schema, name))
  }
  return result
}

function withoutDirectives(value: Json): Json {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !name.startsWith('$')))
}

function deleteFromList(result: Json, directive: string, values: unknown): void {
  const [word, name = ''] = directive.split('/')
  const list = result[name]
  if (word !== '$deleteFromPrimitiveList' || !Array.isArray(list) || !Array.isArray(values)) return
  result[name] = list.filter((one) => !values.includes(one))
}

function patchList(target: unknown, patch: unknown[], schema: Schema | undefined, order: unknown): unknown[] {
  const key = schema?.['x-kubernetes-patch-merge-key']
  const list: unknown[] = Array.isArray(target) ? [...target] : []
  if (schema?.['x-kubernetes-patch-strategy'] !== 'merge') return clone(patch)
  if (key === undefined) return [...list, ...patch.filter((one) => !list.includes(one))]
  if (patch.some((one) => isRecord(one) && one['$patch'] === 'replace' && Object.keys(one).length === 1)) {
    return clone(patch.filter((one) => !isRecord(one) || one['$patch'] === undefined))
  }
  for (const one of patch as Json[]) {
    if (one[key] === undefined)
      throw badRequest(`map: ${JSON.stringify(one)} does not contain declared merge key: ${key}`)
    const index = list.findIndex((item) => isRecord(item) && item[key] === one[key])
    if (one['$patch'] === 'delete') {
      if (index >= 0) list.splice(index, 1)
    } else if (index < 0) list.push(strategicPatch({}, one, schema.items))
    else list[index] = strategicPatch(list[index], one, schema.items)
  }
  return Array.isArray(order) ? ordered(list as Json[], key, order as Json[]) : list
}

/** Items in the order that the patch sets; those that it does not name keep their places after their neighbours. */
function ordered(list: Json[], key: string, order: Json[]): Json[] {
  const rank = new Map(order.map((one, i) => [one[key], i]))
  const named = list.filter((item) => rank.has(item[key])).sort((a, b) => rank.get(a[key])! - rank.get(b[key])!)
  let next = 0
  return list.map((item) => (rank.has(item[key]) ? named[next++]! : item))
}
