// Lists: by selectors, in pages. All pages show the objects as they were at the first one.

import { randomUUID } from 'node:crypto'
import type { Backend } from '../backend.ts'
import { ApiError, badRequest, expired } from '../errors.ts'
import type { Kind } from '../kinds.ts'
import type { AnyObject, Json } from '../object.ts'
import { fieldTest, labelTest, type Test } from '../selectors.ts'

export interface Page {
  objects: AnyObject[]
  metadata: Json
}

interface Cursor {
  /** Of the list's first page. */
  revision: number
  kept: string
  start: number
}

/** Lists under way whose further pages may still be asked for: more than that, and the oldest has to begin anew. */
const maxKept = 100

export interface Lister {
  list(kind: Kind, namespace: string | undefined, query: URLSearchParams): Page
}

/** The test that a query's selectors make. */
export function selectorTest(kind: Kind, query: URLSearchParams): Test {
  const labels = labelTest(query.get('labelSelector') ?? '')
  const fields = fieldTest(query.get('fieldSelector') ?? '', kind.storage)
  return (object) => labels(object) && fields(object)
}

export function createLister(backend: Backend): Lister {
  const kept = new Map<string, AnyObject[]>()
  const keep = (objects: AnyObject[]): string => {
    const id = randomUUID()
    kept.set(id, objects)
    if (kept.size > maxKept) kept.delete(kept.keys().next().value!)
    return id
  }
  return {
    list(kind, namespace, query) {
      const limit = Number(query.get('limit') ?? 0)
      const token = query.get('continue') ?? ''
      const cursor: Cursor =
        token === '' ? { revision: backend.storage.revision(), kept: '', start: 0 } : parseToken(token)
      const all = token === '' ? select(backend, kind, namespace, query) : kept.get(cursor.kept)
      if (all === undefined || cursor.revision < backend.storage.oldest()) {
        throw expired('The provided continue parameter is too old to display a consistent list result.')
      }
      const end = limit > 0 ? Math.min(cursor.start + limit, all.length) : all.length
      const metadata: Json = { resourceVersion: String(cursor.revision) }
      if (end < all.length) {
        const next: Cursor = { ...cursor, kept: cursor.kept === '' ? keep(all) : cursor.kept, start: end }
        metadata['continue'] = Buffer.from(JSON.stringify(next)).toString('base64url')
        metadata['remainingItemCount'] = all.length - end
      }
      return { objects: all.slice(cursor.start, end).map(kind.fromStored), metadata }
    },
  }
}

function select(backend: Backend, kind: Kind, namespace: string | undefined, query: URLSearchParams): AnyObject[] {
  requireRevision(backend, query.get('resourceVersion'))
  return backend.storage.list(kind.storage, namespace).filter(selectorTest(kind, query))
}

/** A client that has seen the future (of an API server that was here before this one) must not be shown the past. */
export function requireRevision(backend: Backend, wanted: string | null): void {
  if (wanted === null || wanted === '') return
  if (!/^\d+$/.test(wanted)) throw badRequest(`Invalid value: ${JSON.stringify(wanted)}: invalid resource version`)
  const current = backend.storage.revision()
  if (Number(wanted) <= current) return
  const message = `Timeout: Too large resource version: ${wanted}, current: ${current}`
  const causes = [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }]
  throw new ApiError(504, 'Timeout', message, { causes, retryAfterSeconds: 1 })
}

function parseToken(token: string): Cursor {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString()) as Cursor
  } catch {
    throw badRequest('continue key is not valid: illegal continue token')
  }
}
