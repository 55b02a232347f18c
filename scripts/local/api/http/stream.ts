// A watch over HTTP: one event a line, bookmarks in between, until the time is up or the client goes.

import type { ServerResponse } from 'node:http'
import type { Backend } from '../backend.ts'
import { ApiError, badRequest } from '../errors.ts'
import { groupVersion } from '../kinds.ts'
import type { Json } from '../object.ts'
import { watchObjects } from '../watch.ts'
import { type Answering, shapeObject } from './answer.ts'
import { selectorTest } from './list.ts'

const defaultTimeoutMs = 30 * 60_000
const bookmarkEveryMs = 60_000
/** A client hears where it stands shortly before its watch ends, so that it can continue from there. */
const bookmarkBeforeEndMs = 2000
/** A client that reads nothing for so long is cut off rather than buffered for. */
const maxBacklogBytes = 64 << 20

/** Streams events to the response until it ends. */
export function streamWatch(
  backend: Backend,
  answering: Answering,
  namespace: string | undefined,
  query: URLSearchParams,
  response: ServerResponse,
): void {
  const { kind } = answering
  const test = selectorTest(kind, query)
  const version = query.get('resourceVersion') ?? ''
  if (!/^\d*$/.test(version)) throw badRequest(`Invalid value: ${JSON.stringify(version)}: invalid resource version`)
  const hasBookmarks = query.get('allowWatchBookmarks') === 'true'
  const wantsInitial = query.get('sendInitialEvents') === 'true'
  const isFresh = version === '' || version === '0' || wantsInitial

  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' })
  response.flushHeaders()
  let hasHeader = true
  const send = (type: string, object: Json) => {
    response.write(`${JSON.stringify({ type, object })}\n`)
    if (response.writableLength > maxBacklogBytes) response.destroy()
  }
  const bookmark = (annotations?: Record<string, string>) => {
    const metadata = { resourceVersion: String(backend.storage.revision()), ...(annotations && { annotations }) }
    send('BOOKMARK', { kind: kind.kind, apiVersion: groupVersion(kind), metadata })
  }
  const show = (type: string, object: Parameters<typeof shapeObject>[1]) => {
    send(type, shapeObject(answering, object, hasHeader))
    hasHeader = false
  }

  let stop: () => void
  try {
    if (isFresh && query.get('sendInitialEvents') !== 'false') {
      for (const object of backend.storage.list(kind.storage, namespace).filter(test)) {
        show('ADDED', kind.fromStored(object))
      }
      if (wantsInitial && hasBookmarks) bookmark({ 'k8s.io/initial-events-end': 'true' })
    }
    const watching = {
      test,
      ...(namespace === undefined ? {} : { namespace }),
      ...(isFresh ? {} : { from: Number(version) }),
    }
    stop = watchObjects(backend, kind, watching, ({ type, object }) => show(type, object))
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    send('ERROR', { ...error.status })
    response.end()
    return
  }

  const seconds = Number(query.get('timeoutSeconds') ?? 0)
  const timeoutMs = seconds > 0 ? seconds * 1000 : defaultTimeoutMs * (1 + Math.random())
  const timers = [setTimeout(() => response.end(), timeoutMs)]
  if (hasBookmarks) {
    timers.push(setInterval(() => bookmark(), bookmarkEveryMs))
    timers.push(setTimeout(() => bookmark(), Math.max(timeoutMs - bookmarkBeforeEndMs, 0)))
  }
  response.once('close', () => {
    stop()
    for (const timer of timers) clearTimeout(timer)
  })
}
