// The last stage of the controller: the leader brings the cluster in line with a pass. Only the newest pass counts; what
// fails is tried again, and one object that can't be written holds up no other.

import type { Logger } from 'pino'
import { backoff, type Clock } from '../clock.ts'
import { ApiError, hasStatus, messageOf } from '../errors.ts'
import type { Api } from '../observe/api.ts'
import type { Served } from '../observe/discovery.ts'
import { builtinKinds, smiKinds } from '../observe/kinds.ts'
import { keyOf, type ObjectRef } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import type { Pass } from '../pipeline.ts'
import type { Settings } from '../resolve/settings.ts'
import type { DesiredService } from '../translate/desired.ts'
import { openAddressBook } from './addresses.ts'
import type { SmiPart } from './conditions.ts'
import { type Notice, openEvents } from './events.ts'
import { type LockStep, planLocks } from './lock.ts'
import { openPace } from './pace.ts'
import { planServices, type Step } from './plan.ts'
import { openStatuses } from './status.ts'

export interface UpdaterOptions {
  api: Api
  clock: Clock
  log: Logger
  settings: Settings
  controller: string
  /** How an SMI kind is served; undefined: not at all. */
  served(part: SmiPart): Served | undefined
  /** Whether leadership lasts at this very moment, whatever `lead` was told last; absent: it does. */
  isLeader?(): boolean
  /** What agents have noticed of callers. */
  noticed(world: World): Notice[]
}

export interface Updater {
  /** Hands over the newest pass; nothing is written unless `lead(true)` was said. */
  update(pass: Pass): void
  /** Leadership began or ended. */
  lead(isLeader: boolean): void
  /** Writes that were accepted, by verb and kind, for metrics. */
  readonly writes: ReadonlyMap<string, number>
  readonly failures: number
  /** Resolves when nothing is under way. */
  stop(): Promise<void>
}

const parallel = 8

type AnyStep = Step | LockStep

/** Opens the updater, which does not lead. */
export function openUpdater(options: UpdaterOptions): Updater {
  const { clock, log, settings } = options
  const writes = new Map<string, number>()
  const stopping = new AbortController()
  const api: Pick<Api, 'request'> = {
    request: (method, path, more) => options.api.request(method, path, { ...more, signal: stopping.signal }),
  }
  const events = openEvents({ ...options, api })
  const statuses = openStatuses({ ...options, api, counted: (kind) => counted('patch', kind) })
  const book = openAddressBook()
  const pace = openPace(clock)
  const wait = backoff(clock, 1000, 60_000)
  let failures = 0
  let isLeader = false
  let newest: Pass | null = null
  /** The pass that the cluster is in line with. */
  let settled: Pass | null = null
  let waking = new AbortController()
  /** Until something may be written that has to wait. */
  let laterMs = Number.POSITIVE_INFINITY
  /** Problems met while writing, by the object that is to show them. */
  let refused: Notice[] = []

  const mayWrite = () => isLeader && (options.isLeader?.() ?? true) && !stopping.signal.aborted

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      waking = new AbortController()
      const woken = AbortSignal.any([waking.signal, stopping.signal])
      const pass = newest
      if (pass === null || pass === settled || !isLeader) {
        await aborted(woken)
        continue
      }
      const before = failures
      refused = []
      laterMs = Number.POSITIVE_INFINITY
      await bring(pass).catch((thrown) => {
        failures++
        log.error({ error: thrown }, 'updating the cluster failed')
      })
      const hasFailed = failures > before
      if (!hasFailed) wait.reset()
      if (!hasFailed && laterMs === Number.POSITIVE_INFINITY) settled = pass
      // A newer pass comes at once; without one the same pass is tried again.
      else await clock.sleep(Math.min(laterMs, hasFailed ? wait.next() : laterMs), woken)
    }
  }

  async function bring(pass: Pass): Promise<void> {
    if (settled === null || !hasSameObjects(settled, pass)) await writeObjects(pass)
    if (settled === null || !hasSameVerdicts(settled, pass)) failures += await statuses.write(pass, mayWrite)
    const notices = [...pass.translation.problems, ...options.noticed(pass.world), ...refused]
    await events.write(notices, mayWrite, (object) => isThere(pass.world, object))
  }

  async function writeObjects(pass: Pass): Promise<void> {
    book.note(pass.translation.services, pass.world.services)
    const plan = planServices(pass.translation.services, pass.world.services, settings)
    const locks = planLocks(pass.translation.policies, pass.world.policies)
    const isLasting = ({ verb, key }: AnyStep) => verb === 'delete' || !isEnding(pass.world, key.split('/')[0]!)
    for (const group of [plan.withdraw, plan.addresses, plan.aliases, locks.close, locks.open, plan.cleanup]) {
      await takeAll(group.filter(isLasting))
    }
  }

  async function takeAll(steps: readonly AnyStep[]): Promise<void> {
    const queue = [...steps]
    const worker = async () => {
      for (let step = queue.shift(); step !== undefined && mayWrite(); step = queue.shift()) await take(step)
    }
    await Promise.all(Array.from({ length: Math.min(parallel, steps.length) }, worker))
  }

  async function take(step: AnyStep): Promise<void> {
    const { verb, key } = step
    const id = `${kindOf(step)} ${key}`
    const text = verb === 'delete' ? '' : JSON.stringify(step.desired)
    const waitMs = verb === 'delete' ? 0 : pace.waitMs(id, text)
    if (waitMs > 0) {
      laterMs = Math.min(laterMs, waitMs)
      refused.push(...contested(step))
      return
    }
    try {
      await send(step)
      counted(verb, kindOf(step))
      if (verb !== 'delete') pace.wrote(id, text)
      log.info({ verb, kind: kindOf(step), object: key }, 'object written')
    } catch (thrown) {
      await onRefused(step, thrown)
    }
  }

  async function onRefused(step: AnyStep, thrown: unknown): Promise<void> {
    const fields = { verb: step.verb, kind: kindOf(step), object: step.key, error: messageOf(thrown) }
    // Somebody was faster, or our view is behind: the watch brings what is true now, and with it the next pass.
    if (hasStatus(thrown, 409) || hasStatus(thrown, 404)) {
      log.debug(fields, 'object changed meanwhile')
      return
    }
    if (stopping.signal.aborted) return
    failures++
    log.warn(fields, 'writing an object failed')
    if (!(thrown instanceof ApiError)) return
    if (thrown.status === 429) await clock.sleep(Math.min(thrown.retryAfter || 1, 10) * 1000, stopping.signal)
    else if (thrown.status !== 0) refused.push(...noticeOf(step, thrown))
  }

  async function send(step: AnyStep): Promise<void> {
    const [namespace = '', name = ''] = step.key.split('/')
    const collection =
      kindOf(step) === 'Service'
        ? `/api/v1/namespaces/${namespace}/services`
        : `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`
    if (step.verb === 'create') {
      const { desired } = step
      if (desired.kind === 'Service') await createService(collection, desired)
      else await api.request('POST', collection, { body: desired })
    } else if (step.verb === 'replace') {
      await api.request('PUT', `${collection}/${name}`, { body: step.body })
    } else {
      const { uid, resourceVersion } = step.actual.metadata
      const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion } }
      await api.request('DELETE', `${collection}/${name}`, { body })
    }
  }

  /** With the address that it had, if it had one and nobody else has it now. */
  async function createService(collection: string, desired: DesiredService): Promise<void> {
    const body = book.addressed(desired)
    try {
      await api.request('POST', collection, { body })
    } catch (thrown) {
      if (body === desired || !hasStatus(thrown, 422)) throw thrown
      book.forget(desired)
      await api.request('POST', collection, { body: desired })
    }
  }

  function counted(verb: string, kind: string): void {
    const key = `${verb} ${kind}`
    writes.set(key, (writes.get(key) ?? 0) + 1)
  }

  const done = run()

  return {
    update(pass) {
      newest = pass
      waking.abort()
    },
    lead(next) {
      isLeader = next
      settled = null
      waking.abort()
    },
    get writes() {
      return new Map([...writes, ...(events.written > 0 ? [['create Event', events.written] as const] : [])])
    },
    get failures() {
      return failures
    },
    async stop() {
      stopping.abort()
      await done
    },
  }
}

/** Whether two passes leave the same objects to be written. What was written is read back: then the world is another one. */
function hasSameObjects(a: Pass, b: Pass): boolean {
  const parts = ['services', 'policies'] as const
  const isSame = parts.every((part) => a.world[part] === b.world[part] && a.translation[part] === b.translation[part])
  return isSame && a.world.namespaces === b.world.namespaces
}

/** What comes and goes with endpoints makes no difference to what is said of SMI objects. */
const notJudged: readonly (keyof World)[] = ['pods', 'nodes', 'slices']

/** Whether the conditions of SMI objects are the same, and the objects too. */
function hasSameVerdicts(a: Pass, b: Pass): boolean {
  const parts = Object.keys(b.world) as (keyof World)[]
  return parts.every((part) => a.world[part] === b.world[part] || notJudged.includes(part))
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

const partOf = new Map([...builtinKinds, ...smiKinds].map(({ kind, part }) => [kind, part]))

/** Whether the very object is in the world: another of its name is not. */
function isThere(world: World, { kind, namespace, name, uid }: ObjectRef): boolean {
  const part = partOf.get(kind)
  return part !== undefined && world[part].get(keyOf({ metadata: { namespace, name } }))?.metadata.uid === uid
}

/** A namespace that is going takes nothing new. */
function isEnding(world: World, namespace: string): boolean {
  return world.namespaces.get(namespace)?.metadata.deletionTimestamp !== undefined
}

function kindOf(step: AnyStep): 'Service' | 'NetworkPolicy' {
  return 'kind' in step ? step.kind : 'Service'
}

/** Whoever looks after the object should learn that two programs fight for it. */
function contested(step: AnyStep): Notice[] {
  if (step.verb !== 'replace') return []
  const { apiVersion, kind, metadata } = step.body
  const { namespace = '', name, uid } = metadata
  const message =
    'somebody keeps changing it, so that it is put right at most every 30 s; kubectl get --show-managed-fields -o yaml says who'
  return [{ object: { apiVersion, kind, namespace, name, uid }, reason: 'Contested', message }]
}

/** The user's Service should show that its alias or lock can't be written: a quota, a policy or missing rights refuse it. */
function noticeOf(step: AnyStep, error: ApiError): Notice[] {
  if (step.verb === 'delete') return []
  const { ownerReferences = [], namespace } = step.desired.metadata
  const [reason, what] = kindOf(step) === 'Service' ? ['AliasNotWritten', 'alias'] : ['LockNotWritten', 'lock']
  return ownerReferences.map(({ apiVersion, kind, name, uid }) => ({
    object: { apiVersion, kind, namespace, name, uid },
    reason,
    message: `the ${what} ${step.key} could not be written: ${error.message}`,
  }))
}
