// Writes the conditions of SMI objects where their CRD has the status subresource, so that `kubectl wait
// --for=condition=Enforced` and dashboards can read them. Nothing but the status is ever written.

import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import { ApiError, hasStatus, messageOf } from '../errors.ts'
import type { Api } from '../observe/api.ts'
import type { Served } from '../observe/discovery.ts'
import { smiKinds } from '../observe/kinds.ts'
import type { SmiObject } from '../observe/objects.ts'
import type { Pass } from '../pipeline.ts'
import { type Judged, judge, type SmiPart, type Verdict } from './conditions.ts'

export interface Condition extends Verdict {
  /** The object's generation that was judged. */
  observedGeneration: number
  /** RFC 3339. */
  lastTransitionTime: string
}

export interface Status {
  conditions: Condition[]
}

export interface StatusesOptions {
  api: Pick<Api, 'request'>
  clock: Clock
  log: Logger
  /** How a kind is served; undefined: not at all. */
  served(part: SmiPart): Served | undefined
  /** A status was accepted. */
  counted(kind: string): void
}

export interface Statuses {
  /**
   * Writes what differs.
   * @param mayWrite asked before each write
   * @returns how many writes failed that are worth another try
   */
  write(pass: Pick<Pass, 'topology' | 'world'>, mayWrite: () => boolean): Promise<number>
}

const parallel = 8

interface Wish {
  judged: Judged
  object: SmiObject
  served: Served
}

/** Opens the writer of conditions. */
export function openStatuses(options: StatusesOptions): Statuses {
  const { api, clock, log, served, counted } = options
  /** Kinds, as they are served, whose schema drops what we write: another product's CRDs may have a status of no fields. */
  const dropping = new Set<string>()
  /** Objects, by UID, that the API server does not take a status of, in the version in which it was refused. */
  const refused = new Map<string, string>()

  function wishesOf({ topology, world }: Pick<Pass, 'topology' | 'world'>): Wish[] {
    return judge(topology).flatMap((judged) => {
      const kind = served(judged.part)
      const object = world[judged.part].get(judged.key) as SmiObject | undefined
      if (kind === undefined || !kind.hasStatus || object === undefined || dropping.has(idOf(judged.part, kind)))
        return []
      const { uid, resourceVersion } = object.metadata
      return refused.get(uid) === resourceVersion ? [] : [{ judged, object, served: kind }]
    })
  }

  async function put({ judged: { part, key, verdicts }, object, served: { version, ...kind } }: Wish): Promise<void> {
    const id = idOf(part, { version, ...kind })
    const status = mergeConditions(object, verdicts, clock.wall())
    if (status === null || dropping.has(id)) return
    const { group, plural, kind: name } = smiKinds.find((each) => each.part === part)!
    const [namespace, own] = key.split('/')
    const path = `/apis/${group}/${version}/namespaces/${namespace}/${plural}/${own}/status`
    // A list is replaced as a whole: with the version, another controller's condition is never overwritten.
    const { resourceVersion } = object.metadata
    const body = { metadata: { resourceVersion }, status }
    const answer = await api.request<SmiObject>('PATCH', path, { body, contentType: 'application/merge-patch+json' })
    counted(name)
    if (mergeConditions(answer, verdicts, clock.wall()) === null) return
    dropping.add(id)
    log.info({ kind: name, version }, 'the CRD keeps no conditions in the status: Events alone tell of problems')
  }

  /** @returns whether the write is worth another try */
  function failed({ judged, object }: Wish, thrown: unknown): boolean {
    // Somebody was faster, or it is gone: the watch brings what is true now, and with it the next pass.
    if (hasStatus(thrown, 404) || hasStatus(thrown, 409)) return false
    const { kind, metadata } = object
    log.warn({ kind, object: judged.key, error: messageOf(thrown) }, 'writing a status failed')
    // An object that its own CRD no longer takes, or a schema that wants another status: the same answer every time.
    const isLasting = thrown instanceof ApiError && (thrown.status === 400 || thrown.status === 422)
    if (isLasting) refused.set(metadata.uid, metadata.resourceVersion)
    return !isLasting
  }

  function forget({ world }: Pick<Pass, 'world'>): void {
    if (refused.size === 0) return
    const present = new Set<string>()
    for (const { part } of smiKinds) for (const { metadata } of world[part].values()) present.add(metadata.uid)
    for (const uid of refused.keys()) if (!present.has(uid)) refused.delete(uid)
  }

  return {
    async write(pass, mayWrite) {
      forget(pass)
      const queue = wishesOf(pass)
      let failures = 0
      const worker = async () => {
        for (let wish = queue.shift(); wish !== undefined && mayWrite(); wish = queue.shift()) {
          try {
            await put(wish)
          } catch (thrown) {
            if (mayWrite() && failed(wish, thrown)) failures++
          }
        }
      }
      await Promise.all(Array.from({ length: Math.min(parallel, queue.length) }, worker))
      return failures
    },
  }
}

function idOf(part: SmiPart, { version }: Served): string {
  return `${part} ${version}`
}

/**
 * What an object's status should be.
 * @param wall milliseconds since the epoch
 * @returns null if it is so already
 */
export function mergeConditions(object: SmiObject, verdicts: readonly Verdict[], wall: number): Status | null {
  const observedGeneration = object.metadata.generation ?? 0
  const held = heldConditions(object)
  const before = new Map(held.map((each) => [each.type, each]))
  const isSame = verdicts.every(({ type, status, reason, message }) => {
    const old = before.get(type)
    return (
      old?.status === status &&
      old.reason === reason &&
      old.message === message &&
      old.observedGeneration === observedGeneration
    )
  })
  if (isSame) return null
  const now = new Date(wall).toISOString().replace(/\.\d+Z$/, 'Z')
  const conditions = verdicts.map((verdict): Condition => {
    const old = before.get(verdict.type)
    const since = old?.status === verdict.status ? old.lastTransitionTime : undefined
    return { ...verdict, observedGeneration, lastTransitionTime: since ?? now }
  })
  // Conditions of other types may be another controller's: they stay.
  const foreign = held.filter(({ type }) => !verdicts.some((verdict) => verdict.type === type)) as Condition[]
  return { conditions: [...foreign, ...conditions] }
}

function heldConditions(object: SmiObject): Partial<Condition>[] {
  const status = object['status'] as { conditions?: unknown } | null | undefined
  const list: unknown[] = Array.isArray(status?.conditions) ? status.conditions : []
  return list.filter((each): each is Partial<Condition> => typeof each === 'object' && each !== null)
}
