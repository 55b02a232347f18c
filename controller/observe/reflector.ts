// Keeps a store equal to what the API server holds of one kind: list, then watch, for ever. Every failure is retried with
// back-off and jitter; while it lasts, the store keeps what it had. It never goes back in time because one API server does.

import type { Logger } from 'pino'
import { backoff, type Clock } from '../clock.ts'
import { ApiError, hasStatus, messageOf } from '../errors.ts'
import type { Api } from './api.ts'
import { readLines } from './lines.ts'
import { type KubeObject, keyOf } from './objects.ts'
import { openSilence } from './silence.ts'
import type { Store } from './store.ts'
import { isOlder } from './version.ts'

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
  /** Objects that could not be read and were left as they were. */
  readonly rejected: number
  /** Why it is not following at the moment; empty if it is. */
  readonly trouble: string
  stop(): Promise<void>
}

const pageSize = 500
/** A watch that ended sooner, without any event, counts as failed: else a broken proxy would make us spin. */
const shortWatchMs = 1000
const firstBackoffMs = 200
/** However long the API server was away: soon in step when it is back. A dozen kinds are no storm. */
const maxBackoffMs = 3000
/** An API server that asks for patience gets it, within reason. */
const maxAskedMs = 60_000
/** A page begins soon, or the API server is no longer at the other end; a list in one piece may take its time. */
const pageTimeouts = { headersTimeoutMs: 10_000, timeoutMs: 30_000 }
const wholeTimeouts = { headersTimeoutMs: 60_000, timeoutMs: 120_000 }
/** Watches that expire more often are no accident: lists of everything must not follow each other closely. */
const rareExpiryMs = 60_000
/** So many watches in a row that the server refused, or filled with what is no event: a new list is due. */
const watchesLimit = 3
/** So many lists in a row that are older than what we have seen are no lagging server: the cluster was restored from a backup. */
const staleLimit = 20

interface ListPage<T> {
  metadata: { resourceVersion: string; continue?: string }
  items: T[] | null
}

interface WatchEvent<T> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  object: T
}

/** The version that we watch from has been compacted away, or the server is not as far: only a new list helps. */
class Expired extends Error {}

/** The server says something that is no event. */
class Unreadable extends Error {}

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
  let rejected = 0
  let trouble = ''
  /** The newest version heard of. */
  let newest = ''
  let staleLists = 0
  /** Clock's ms when a watch last expired. */
  let expiredAt = Number.NEGATIVE_INFINITY
  /** Watches that failed since the last event or list. */
  let badWatches = 0

  /** @returns what is kept of an object; if it can't be read, what is held of it; null: nothing is */
  function accept(object: T): T | null {
    try {
      // Items of a list lack these two.
      object.apiVersion = options.apiVersion
      object.kind = kind as T['kind']
      return options.keep(object)
    } catch (thrown) {
      // One object that nobody foresaw must not hold up all the others of its kind.
      rejected++
      const key = object?.metadata?.name === undefined ? '' : keyOf(object)
      log.error({ object: key, error: thrown }, 'an object can not be read; what was known of it stays')
      return store.view().get(key) ?? null
    }
  }

  /** @returns the resourceVersion to watch from */
  async function list(): Promise<string> {
    const { objects, version } = await listPages(pageSize).catch((thrown) => {
      // The list changed faster than we read its pages: once more, in one piece.
      if (!hasStatus(thrown, 410)) throw thrown
      return listPages(undefined)
    })
    if (isOlder(version, newest) && ++staleLists < staleLimit) {
      throw new Error(`the list is of version ${version}, older than ${newest}, which was seen before`)
    }
    if (staleLists >= staleLimit) log.warn({ from: newest, to: version }, 'the API server went back in time for good')
    staleLists = 0
    badWatches = 0
    newest = version
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
        ...(limit === undefined ? wholeTimeouts : pageTimeouts),
      })
      for (const item of page.items ?? []) {
        const kept = accept(item)
        if (kept !== null) objects.push(kept)
      }
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
    const silence = openSilence(clock)
    silence.signal.addEventListener('abort', () => body.destroy(silence.signal.reason as Error))
    try {
      for await (const line of readLines(body as AsyncIterable<Buffer>)) {
        liveAt = clock.now()
        silence.heard()
        apply(parse<T>(line), from)
        hasEvents = true
        badWatches = 0
      }
    } finally {
      silence.end()
      if (hasEvents || clock.now() - startedAt >= shortWatchMs) wait.reset()
    }
    if (!hasEvents && clock.now() - startedAt < shortWatchMs) throw new Error('the watch ended as soon as it began')
  }

  function apply(event: WatchEvent<T>, from: { version: string }): void {
    if (event.type === 'ERROR') throw watchError(event.object as unknown as StatusObject)
    const version = event.object?.metadata?.resourceVersion
    if (typeof version !== 'string') throw new Unreadable(`a ${event.type} event of the watch has no resourceVersion`)
    if (isOlder(version, from.version)) {
      throw new Expired(`a ${event.type} event of version ${version} came after ${from.version}`)
    }
    if (event.type === 'DELETED') {
      if (store.remove(event.object)) options.changed()
    } else if (event.type !== 'BOOKMARK') {
      const kept = accept(event.object)
      if (kept !== null && store.set(kept)) options.changed()
    }
    from.version = version
    newest = version
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
      log.info({ from: from.version, reason: messageOf(thrown) }, 'watch expired, listing again')
      from.version = ''
      // An API server that was away has forgotten; that it was away is no reason to let it wait for the list.
      if (clock.now() - expiredAt > rareExpiryMs) wait.reset()
      expiredAt = clock.now()
    } else {
      trouble = messageOf(thrown)
      log.warn({ error: trouble }, 'following the API server failed, trying again')
      if (hasStatus(thrown, 404)) {
        from.version = ''
        options.missing?.()
      }
      if (from.version !== '' && isDoubtful(thrown) && ++badWatches >= watchesLimit) from.version = ''
    }
    const asked = thrown instanceof ApiError ? Math.min(thrown.retryAfter * 1000, maxAskedMs) : 0
    await clock.sleep(Math.max(wait.next(), asked * (1 + clock.random() / 4)), stopping.signal)
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
    get rejected() {
      return rejected
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

/**
 * Whether a failed watch is a reason to doubt the version it was asked from. A server that can't be reached, breaks off or
 * has no time for us is none.
 */
function isDoubtful(thrown: unknown): boolean {
  return thrown instanceof Unreadable || (thrown instanceof ApiError && thrown.status !== 0 && thrown.status !== 429)
}

function parse<T>(line: string): WatchEvent<T> {
  try {
    return JSON.parse(line) as WatchEvent<T>
  } catch (thrown) {
    throw new Unreadable(`a line of the watch is no JSON: ${messageOf(thrown)}`)
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
