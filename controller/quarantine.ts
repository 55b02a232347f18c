// Keeps one object that a stage of the pipeline stumbles over from holding up all the others. Stages attach to an object what
// is wrong with it and don't throw; where one does, that is a bug of ours, and this finds by bisection which of the changes
// since the last good pass bring it out. Those are left as they were before, until they change again.

import type { Logger } from 'pino'
import type { Clock } from './clock.ts'
import { messageOf } from './errors.ts'
import { type KubeObject, type ObjectRef, refOf, type SmiObject } from './observe/objects.ts'
import { emptyWorld, type World } from './observe/world.ts'
import type { Problem } from './resolve/problem.ts'

type Part = keyof World

/** An object that is not as the cluster has it. */
interface Isolated {
  part: Part
  key: string
  ref: ObjectRef
  /** As the cluster has it, which fails; undefined: that it is gone. */
  failing: KubeObject | undefined
  /** What stands in for it; undefined: nothing. */
  instead: KubeObject | undefined
  message: string
  since: number
}

export interface Quarantine {
  /** The World with the last good versions in place of the objects that failed and have not changed since. */
  screen(world: World): World
  /**
   * Finds the changes that make an attempt fail and isolates them.
   * @param good a World that the attempt was known to succeed with
   * @param attempt throws if a World can't be processed
   * @returns the World without those changes; null if objects are not to blame
   */
  isolate(good: World, world: World, attempt: (world: World) => void): Promise<World | null>
  /** For Events. */
  problems(): Problem[]
  readonly objects: readonly ObjectRef[]
}

/** What failed may depend on other objects: after this it is tried again as it is. */
const retryMs = 5 * 60_000
/** Each costs a pass or two for every doubling of the changes: beyond this it is no single object. */
const isolatedLimit = 50

/** Opens an empty quarantine. */
export function openQuarantine(clock: Clock, log: Logger): Quarantine {
  const isolated = new Map<string, Isolated>()

  function screen(world: World): World {
    const held: Isolated[] = []
    for (const [id, each] of isolated) {
      const isSame = world[each.part].get(each.key) === each.failing
      if (isSame && clock.now() - each.since < retryMs) held.push(each)
      else isolated.delete(id)
    }
    return withVersions(
      world,
      held.map(({ part, key, instead }) => ({ part, key, object: instead })),
    )
  }

  async function isolate(good: World, world: World, attempt: (world: World) => void): Promise<World | null> {
    let accepted = good
    /** @returns why it fails; null: it does not */
    const failure = async (candidate: World): Promise<unknown> => {
      // The lease, probes and agents get their turn: there may be many attempts.
      await new Promise((resolve) => setImmediate(resolve))
      try {
        attempt(candidate)
        return null
      } catch (thrown) {
        return thrown
      }
    }
    const accept = async (versions: readonly Version[]): Promise<void> => {
      if (versions.length === 0 || isolated.size >= isolatedLimit) return
      const candidate = withVersions(accepted, versions)
      const thrown = await failure(candidate)
      if (thrown === null) accepted = candidate
      else if (versions.length === 1) await leave(versions[0]!, thrown)
      else {
        const middle = versions.length >> 1
        await accept(versions.slice(0, middle))
        await accept(versions.slice(middle))
      }
    }
    const leave = async ({ part, key, object }: Version, thrown: unknown): Promise<void> => {
      let instead: KubeObject | undefined = good[part].get(key)
      const shell = instead === undefined && object !== undefined ? shellOf(part, object) : undefined
      if (shell !== undefined) {
        const candidate = withVersions(accepted, [{ part, key, object: shell }])
        if ((await failure(candidate)) === null) {
          accepted = candidate
          instead = shell
        }
      }
      const ref = refOf((object ?? instead) as KubeObject)
      const message = messageOf(thrown)
      isolated.set(`${part} ${key}`, { part, key, ref, failing: object, instead, message, since: clock.now() })
      log.error({ object: key, kind: ref.kind, error: thrown }, 'an object makes the pass fail; it is left as it was')
    }

    if ((await failure(good)) !== null) return null
    const before = isolated.size
    await accept(changesBetween(good, world))
    return isolated.size > before ? accepted : null
  }

  return {
    screen,
    isolate,
    problems: () => [...isolated.values()].map(problemOf),
    get objects() {
      return [...isolated.values()].map(({ ref }) => ref)
    },
  }
}

function problemOf({ ref, instead, message }: Isolated): Problem {
  const rest = instead === undefined ? 'it is as if it were not there' : 'its last good version stays in force'
  return {
    object: ref,
    reason: 'NotProcessed',
    severity: 'error',
    field: '',
    message: `the controller failed on this object (${message.slice(0, 200)}), so ${rest}; this is a bug of the controller, a change of the object may help`,
  }
}

/** An object as it is to be in a World; undefined: it is not to be there. */
interface Version {
  part: Part
  key: string
  object: KubeObject | undefined
}

const parts = Object.keys(emptyWorld) as Part[]

function changesBetween(from: World, to: World): Version[] {
  const changes: Version[] = []
  for (const part of parts) {
    if (from[part] === to[part]) continue
    for (const [key, object] of to[part]) if (from[part].get(key) !== object) changes.push({ part, key, object })
    for (const key of from[part].keys()) if (!to[part].has(key)) changes.push({ part, key, object: undefined })
  }
  return changes
}

function withVersions(world: World, versions: readonly Version[]): World {
  const changed = new Map<Part, Map<string, KubeObject>>()
  for (const { part, key, object } of versions) {
    const map = changed.get(part) ?? new Map<string, KubeObject>(world[part])
    changed.set(part, map)
    if (object === undefined) map.delete(key)
    else map.set(key, object)
  }
  return changed.size === 0 ? world : { ...world, ...(Object.fromEntries(changed) as Partial<World>) }
}

/**
 * What is kept of a new object rather than nothing: a TrafficTarget that names its destination and permits nobody. Without it
 * the destination would be open where nobody else protects it.
 */
function shellOf(part: Part, object: KubeObject): SmiObject | undefined {
  if (part !== 'targets') return undefined
  try {
    const { apiVersion, kind, metadata, spec, destination } = object as SmiObject
    const inner = (spec as { destination?: unknown } | undefined)?.destination
    return {
      ...{ apiVersion, kind, metadata },
      ...(destination === undefined ? {} : { destination }),
      ...(inner === undefined ? {} : { spec: { destination: inner } }),
    }
  } catch {
    return undefined
  }
}
