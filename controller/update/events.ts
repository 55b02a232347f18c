// Problems become Events on the objects that have them: one Event for one problem, written when it appears, counted up
// when it comes back or stays, and another one when it is over; never more than a few for one object.

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
  /** Something that was seen once rather than a state that lasts: nobody is told when it is over. */
  fades?: true
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
   * @param isThere whether an object still exists: of those that don't nothing more is said
   */
  write(notices: readonly Notice[], mayWrite: () => boolean, isThere: (object: ObjectRef) => boolean): Promise<void>
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
  /** When the Event of it was last written; clock's ms, -Infinity before the first. */
  writtenAt: number
  /** Appearances since then. */
  pending: number
  /** The same of the Event that it is over. */
  endWrittenAt: number
  isPresent: boolean
  /** What an object's Events last said of it. */
  told: 'nothing' | 'present' | 'over'
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

  function remember(notices: readonly Notice[], isThere: (object: ObjectRef) => boolean): void {
    const shown = limit(notices)
    const appeared = new Set<string>()
    for (const notice of shown) {
      const key = identity(notice)
      const entry = known.get(key)
      if (entry === undefined) {
        const never = Number.NEGATIVE_INFINITY
        known.set(key, {
          notice,
          writtenAt: never,
          endWrittenAt: never,
          pending: 1,
          isPresent: true,
          told: 'nothing',
        })
        appeared.add(subject(notice))
      } else if (!entry.isPresent) {
        entry.isPresent = true
        entry.pending++
        appeared.add(subject(notice))
      }
    }
    // Beyond an object's limit they are not shown, but not over either.
    if (known.size > 0) forget([...notices, ...shown], appeared, isThere)
  }

  /** Notes which problems are over, and drops those of which nothing is left to say. */
  function forget(
    notices: readonly Notice[],
    appeared: ReadonlySet<string>,
    isThere: (object: ObjectRef) => boolean,
  ): void {
    const present = new Set(notices.map(identity))
    const now = clock.now()
    for (const [key, entry] of known) {
      if (present.has(key)) continue
      const { notice } = entry
      if (!isThere(notice.object)) {
        known.delete(key)
        continue
      }
      // The same problem in other words has an Event of its own, which says more than that this one is over.
      if (entry.isPresent && (notice.fades || appeared.has(subject(notice)))) entry.told = 'over'
      entry.isPresent = false
      const isQuiet = now - Math.max(entry.writtenAt, entry.endWrittenAt) > settleMs
      if (isQuiet && entry.told !== 'present') known.delete(key)
    }
  }

  function isDue({ isPresent, writtenAt, pending }: Known): boolean {
    return isPresent && clock.now() - writtenAt > (pending > 0 ? settleMs : renewMs)
  }

  function isEndDue({ isPresent, told, endWrittenAt }: Known): boolean {
    return !isPresent && told === 'present' && clock.now() - endWrittenAt > settleMs
  }

  async function write(...[notices, mayWrite, isThere]: Parameters<Events['write']>): Promise<void> {
    remember(notices, isThere)
    for (const entry of known.values()) {
      const isEnd = isEndDue(entry)
      if (!isEnd && !isDue(entry)) continue
      if (!mayWrite()) return
      try {
        await (isEnd ? putEnd(entry) : putPresent(entry))
        written++
      } catch (thrown) {
        if (!mayWrite()) return
        // A namespace that is going takes no Events any more; all else is tried again when it is due.
        const { object, reason } = entry.notice
        log.warn({ object, reason, error: messageOf(thrown) }, 'writing an Event failed')
      }
    }
  }

  async function putPresent(entry: Known): Promise<void> {
    const count = Math.max(entry.pending, 1)
    entry.writtenAt = clock.now()
    entry.pending = 0
    const { object, reason, message } = entry.notice
    try {
      await put(object, `${object.name.slice(0, 200)}.${digest(entry.notice)}`, 'Warning', reason, message, count)
      entry.told = 'present'
    } catch (thrown) {
      entry.pending += count
      throw thrown
    }
  }

  async function putEnd(entry: Known): Promise<void> {
    entry.endWrittenAt = clock.now()
    const { object, reason, message } = entry.notice
    const name = `${object.name.slice(0, 200)}.${digest(entry.notice)}.over`
    await put(object, name, 'Normal', 'ProblemOver', `${reason} is over, which was: ${message}`, 1)
    entry.told = 'over'
  }

  async function put(
    object: ObjectRef,
    name: string,
    type: 'Warning' | 'Normal',
    reason: string,
    message: string,
    count: number,
  ): Promise<void> {
    const namespace = object.namespace === '' ? 'default' : object.namespace
    const collection = `/api/v1/namespaces/${namespace}/events`
    const now = new Date(clock.wall()).toISOString().replace(/\.\d+Z$/, 'Z')
    const fresh: KubeEvent = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace },
      involvedObject: { ...object },
      type,
      reason,
      message: cut(message),
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
  return [...byObject.values()].flatMap((all): Notice[] => {
    if (all.length <= perObject) return all
    const rest = all.length - (perObject - 1)
    const message = `${rest} more problems of this object are not shown as Events; kubectl weft check lists them all`
    return [...all.slice(0, perObject - 1), { object: all[0]!.object, reason: 'MoreProblems', message, fades: true }]
  })
}

/** What makes two notices the same problem. */
function identity({ object, reason, message }: Notice): string {
  return [object.uid, object.kind, object.namespace, object.name, reason, message].join('\n')
}

/** Whose problem of what kind it is, in whatever words. */
function subject({ object, reason }: Notice): string {
  return `${object.kind} ${object.namespace}/${object.name} ${object.uid} ${reason}`
}

function digest(notice: Notice): string {
  return createHash('sha256').update(identity(notice)).digest('hex').slice(0, 16)
}

function cut(message: string): string {
  return message.length <= messageLimit ? message : `${message.slice(0, messageLimit - 1)}…`
}
