// Problems become Events on the objects that have them: one Event for one problem, written when it appears, counted up
// when it comes back or stays, never more than a few for one object.

import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import { hasStatus, messageOf } from '../errors.ts'
import type { Api } from '../observe/api.ts'
import type { ObjectRef } from '../observe/objects.ts'

/** What an Event says. `resolve` makes most of them; the update stage adds its own. */
export interface Notice {
  object: ObjectRef
  reason: string
  message: string
}

export interface EventsOptions {
  api: Pick<Api, 'request'>
  clock: Clock
  log: Logger
  /** Name of this replica. */
  controller: string
}

export interface Events {
  /**
   * Takes all current problems; writes what is new or due.
   * @param mayWrite asked before each write
   */
  write(notices: readonly Notice[], mayWrite: () => boolean): Promise<void>
  readonly written: number
}

/** The API server drops Events after an hour: a problem that stays is renewed before. */
const renewMs = 30 * 60_000
/** A problem that comes and goes is counted, not written each time. */
const settleMs = 60_000
const perObject = 10
/** The API server's limit (core/v1 Event). */
const messageLimit = 1024

interface Known {
  notice: Notice
  /** Clock's ms; -Infinity before the first write. */
  writtenAt: number
  /** Appearances since then. */
  pending: number
  isPresent: boolean
}

interface KubeEvent {
  metadata: { name: string; namespace: string; resourceVersion?: string }
  count?: number | null
  [field: string]: unknown
}

/** Opens the writer of Events. */
export function openEvents(options: EventsOptions): Events {
  const { api, clock, log, controller } = options
  const known = new Map<string, Known>()
  let written = 0

  function remember(notices: readonly Notice[]): void {
    const present = new Set<string>()
    for (const notice of limit(notices)) {
      const key = digest(notice)
      present.add(key)
      const entry = known.get(key)
      if (entry === undefined) {
        known.set(key, { notice, writtenAt: Number.NEGATIVE_INFINITY, pending: 1, isPresent: true })
      } else if (!entry.isPresent) {
        entry.isPresent = true
        entry.pending++
      }
    }
    for (const [key, entry] of known) {
      if (present.has(key)) continue
      entry.isPresent = false
      if (clock.now() - entry.writtenAt > settleMs) known.delete(key)
    }
  }

  function isDue(entry: Known): boolean {
    const age = clock.now() - entry.writtenAt
    return entry.isPresent && age > (entry.pending > 0 ? settleMs : renewMs)
  }

  async function write(notices: readonly Notice[], mayWrite: () => boolean): Promise<void> {
    remember(notices)
    for (const [key, entry] of known) {
      if (!isDue(entry)) continue
      if (!mayWrite()) return
      const count = Math.max(entry.pending, 1)
      entry.writtenAt = clock.now()
      entry.pending = 0
      try {
        await put(entry.notice, key, count)
        written++
      } catch (thrown) {
        entry.pending += count
        if (!mayWrite()) return
        // A namespace that is going takes no Events any more; all else is tried again when it is due.
        log.warn(
          { object: entry.notice.object, reason: entry.notice.reason, error: messageOf(thrown) },
          'writing an Event failed',
        )
      }
    }
  }

  async function put(notice: Notice, key: string, count: number): Promise<void> {
    const { object } = notice
    const namespace = object.namespace === '' ? 'default' : object.namespace
    const name = `${object.name.slice(0, 200)}.${key}`
    const collection = `/api/v1/namespaces/${namespace}/events`
    const now = new Date(clock.wall()).toISOString().replace(/\.\d+Z$/, 'Z')
    const fresh: KubeEvent = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace },
      involvedObject: { ...object },
      type: 'Warning',
      reason: notice.reason,
      message: cut(notice.message),
      source: { component: 'weft-controller' },
      reportingComponent: 'weft-controller',
      reportingInstance: controller,
      firstTimestamp: now,
      lastTimestamp: now,
      count,
    }
    try {
      await api.request('POST', collection, { body: fresh })
    } catch (thrown) {
      if (!hasStatus(thrown, 409)) throw thrown
      // Written before, by this replica or another: the name is made of the problem.
      const held = await api.request<KubeEvent>('GET', `${collection}/${name}`)
      const body = { ...held, count: (held.count ?? 1) + count, lastTimestamp: now }
      await api.request('PUT', `${collection}/${name}`, { body })
    }
  }

  return {
    write,
    get written() {
      return written
    },
  }
}

/** The first notices of each object, and one that counts the rest. */
function limit(notices: readonly Notice[]): Notice[] {
  const byObject = Map.groupBy(
    notices,
    ({ object }) => `${object.kind} ${object.namespace}/${object.name} ${object.uid}`,
  )
  return [...byObject.values()].flatMap((all) => {
    if (all.length <= perObject) return all
    const rest = all.length - (perObject - 1)
    const message = `${rest} more problems of this object are not shown as Events; kubectl weft check lists them all`
    return [...all.slice(0, perObject - 1), { object: all[0]!.object, reason: 'MoreProblems', message }]
  })
}

function digest({ object, reason, message }: Notice): string {
  const text = [object.uid, object.kind, object.namespace, object.name, reason, message].join('\n')
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

function cut(message: string): string {
  return message.length <= messageLimit ? message : `${message.slice(0, messageLimit - 1)}…`
}
