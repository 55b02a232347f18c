// Keeps a store equal to what the API server holds of one kind: list, then watch, for ever. Every failure is retried with
// back-off and jitter; while it lasts, the store keeps what it had.

import type { Logger } from 'pino'
import { backoff, type Clock } from '../clock.ts'
import { ApiError, hasStatus, messageOf } from '../errors.ts'
import type { Api } from './api.ts'
import { readLines } from './lines.ts'
import type { KubeObject } from './objects.ts'
import type { Store } from './store.ts'

export interface ReflectorOptions<T extends KubeObject> {
  api: Api
  clock: Clock
  log: Logger
  /** Collection path over all namespaces, e.g. `/api/v1/pods`. */
  path: string
  apiVersion: string
  kind: string
  store: Store<T>
  /** Reduces an object to what is kept of it. */
  keep(object: T): T
  /** Something changed; says no more than that. Must not throw. */
  changed(): void
  /** The API server does not know the path: the kind's CRD is gone or serves other versions. */
  missing?(): void
}

export interface Reflector {
  readonly kind: string
  readonly path: string
  /** Whether the store has been filled once. */
  readonly hasSynced: boolean
  /** Resolves when `hasSynced` becomes true. */
  readonly synced: Promise<void>
  /** Clock's ms of the last sign of life of the API server. */
  readonly liveAt: number
  readonly lists: number
  readonly failures: number
  /** Why it is not following at the moment; empty if it is. */
  readonly trouble: string
  stop(): Promise<void>
}

const pageSize = 500
/** A watch that ended sooner, without any event, counts as failed: else a broken proxy would make us spin. */
const shortWatchMs = 1000
const firstBackoffMs = 200
const maxBackoffMs = 10_000

interface ListPage<T> {
  metadata: { resourceVersion: string; continue?: string }
  items: T[] | null
}

interface WatchEvent<T> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  object: T
}

/** The version that we watch from has been compacted away: only a new list helps. */
class Expired extends Error {}

/** Starts following one kind. */
export function startReflector<T extends KubeObject>(options: ReflectorOptions<T>): Reflector {
  const { api, clock, path, kind, store } = options
  const log = options.log.child({ kind })
  const stopping = new AbortController()
  const wait = backoff(clock, firstBackoffMs, maxBackoffMs)
  const { promise: synced, resolve: reportSynced } = Promise.withResolvers<void>()
  let hasSynced = false
  let liveAt = clock.now()
  let lists = 0
  let failures = 0
  let trouble = ''

  function accept(object: T): T {
    // Items of a list lack these two.
    object.apiVersion = options.apiVersion
    object.kind = kind as T['kind']
    return options.keep(object)
  }

  /** @returns the resourceVersion to watch from */
  async function list(): Promise<string> {
    const { objects, version } = await listPages(pageSize).catch((thrown) => {
      // The list changed faster than we read its pages: once more, in one piece.
      if (!hasStatus(thrown, 410)) throw thrown
      return listPages(undefined)
    })
    lists++
    liveAt = clock.now()
    if (store.replace(objects)) options.changed()
    return version
  }

  async function listPages(limit: number | undefined): Promise<{ objects: T[]; version: string }> {
    const objects: T[] = []
    let token: string | undefined
    for (;;) {
      const page: ListPage<T> = await api.request('GET', path, {
        query: { limit, continue: token },
        signal: stopping.signal,
      })
      for (const item of page.items ?? []) objects.push(accept(item))
      token = page.metadata.continue
      if (token === undefined || token === '') return { objects, version: page.metadata.resourceVersion }
    }
  }

  /**
   * Follows changes until the server ends the watch.
   * @param from.version is moved on with every event
   */
  async function watch(from: { version: string }): Promise<void> {
    const startedAt = clock.now()
    let hasEvents = false
    const body = await api.stream(
      path,
      {
        watch: true,
        allowWatchBookmarks: true,
        resourceVersion: from.version,
        timeoutSeconds: Math.round(300 + 300 * clock.random()),
      },
      stopping.signal,
    )
    trouble = ''
    liveAt = clock.now()
    try {
      for await (const line of readLines(body as AsyncIterable<Buffer>)) {
        liveAt = clock.now()
        apply(JSON.parse(line) as WatchEvent<T>, from)
        hasEvents = true
      }
    } finally {
      if (hasEvents || clock.now() - startedAt >= shortWatchMs) wait.reset()
    }
    if (!hasEvents && clock.now() - startedAt < shortWatchMs) throw new Error('the watch ended as soon as it began')
  }

  function apply(event: WatchEvent<T>, from: { version: string }): void {
    if (event.type === 'ERROR') throw watchError(event.object as unknown as StatusObject)
    const version = event.object?.metadata?.resourceVersion
    if (typeof version !== 'string') throw new Error(`a ${event.type} event of the watch has no resourceVersion`)
    if (event.type === 'DELETED') {
      if (store.remove(event.object)) options.changed()
    } else if (event.type !== 'BOOKMARK') {
      if (store.set(accept(event.object))) options.changed()
    }
    from.version = version
  }

  async function follow(): Promise<void> {
    const from = { version: '' }
    while (!stopping.signal.aborted) {
      try {
        if (from.version === '') {
          from.version = await list()
          if (!hasSynced) log.debug({ objects: store.size }, 'synced')
          hasSynced = true
          reportSynced()
        }
        await watch(from)
      } catch (thrown) {
        if (stopping.signal.aborted) return
        await recover(thrown, from)
      }
    }
  }

  async function recover(thrown: unknown, from: { version: string }): Promise<void> {
    failures++
    if (thrown instanceof Expired || hasStatus(thrown, 410)) {
      log.info({ from: from.version }, 'watch expired, listing again')
      from.version = ''
    } else {
      trouble = messageOf(thrown)
      log.warn({ error: trouble }, 'following the API server failed, trying again')
      if (hasStatus(thrown, 404)) {
        from.version = ''
        options.missing?.()
      }
    }
    const asked = thrown instanceof ApiError ? thrown.retryAfter * 1000 : 0
    await clock.sleep(Math.max(wait.next(), Math.min(asked, maxBackoffMs)), stopping.signal)
  }

  const done = follow().catch((thrown) => log.error({ error: thrown }, 'reflector ended unexpectedly'))

  return {
    kind,
    path,
    synced,
    get hasSynced() {
      return hasSynced
    },
    get liveAt() {
      return liveAt
    },
    get lists() {
      return lists
    },
    get failures() {
      return failures
    },
    get trouble() {
      return trouble
    },
    async stop() {
      stopping.abort()
      await done
    },
  }
}

interface StatusObject {
  code?: number
  reason?: string
  message?: string
}

function watchError(status: StatusObject): Error {
  const { code = 0, reason = '', message = 'without a message' } = status ?? {}
  if (code === 410 || reason === 'Expired' || reason === 'Gone') return new Expired(message)
  return new ApiError(`the watch ended with an error: ${code} ${message}`, { status: code, reason })
}
