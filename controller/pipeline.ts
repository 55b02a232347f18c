// One pass of the controller: World → topology → translation → agents → cluster. Level-triggered: an event only says that
// something changed, and a pass always works from everything. Bursts become one pass.

import type { Logger } from 'pino'
import type { Clock } from './clock.ts'
import type { ObjectRef } from './observe/objects.ts'
import { emptyWorld, type World } from './observe/world.ts'
import { openQuarantine } from './quarantine.ts'
import type { Settings } from './resolve/settings.ts'
import type { Topology } from './resolve/topology.ts'
import type { Translation } from './translate/translate.ts'

/** What a pass made, for the update stage and the debug pages. */
export interface Pass {
  world: World
  topology: Topology
  translation: Translation
}

export interface PipelineOptions {
  clock: Clock
  log: Logger
  settings: Settings
  /** Names what is not observed yet; the first pass waits until it is empty. */
  missing(): string[]
  world(): World
  resolve(world: World, settings: Settings, previous: Topology | null, nowMs: number): Topology
  translate(topology: Topology, settings: Settings, last: Pass | null): Translation
  /** Tells the agents. */
  publish(pass: Pass): void
  /** Tells the cluster: called after `publish`, so that agents know first. */
  update(pass: Pass): void
  /** For metrics. */
  measured?(stage: 'resolve' | 'translate' | 'publish' | 'total', ms: number): void
}

export interface Pipeline {
  /** Something changed. Cheap; call it for every event. */
  poke(): void
  readonly last: Pass | null
  readonly passes: number
  readonly failures: number
  /** Why the last pass failed; empty if it did not. */
  readonly trouble: string
  /** Objects that made a pass fail and are left as they were before. */
  readonly isolated: readonly ObjectRef[]
  stop(): Promise<void>
}

/** A pass starts when no event has come for so long … */
const quietMs = 20
/** … or when the first event is so old. */
const delayMs = 100
/** A pass that failed is tried again after this, even without an event. */
const retryMs = 2000
/** Without any event: resting mesh ports come free, Events are renewed. */
const idleMs = 60_000

/** Starts the pipeline; it does nothing before the first `poke`. */
export function startPipeline(options: PipelineOptions): Pipeline {
  const { clock, log, settings } = options
  const stopping = new AbortController()
  const quarantine = openQuarantine(clock, log)
  let poked = Promise.withResolvers<void>()
  let pokedAt = 0
  let lastPokeAt = 0
  let isPoked = false
  let isOpen = false
  let last: Pass | null = null
  let passes = 0
  let failures = 0
  let trouble = ''

  function poke(): void {
    lastPokeAt = clock.now()
    if (isPoked) return
    isPoked = true
    pokedAt = lastPokeAt
    poked.resolve()
  }

  /** Waits for an event and for the burst that it may open to end. */
  async function settle(ms: number): Promise<void> {
    const idle = new AbortController()
    await Promise.race([poked.promise, clock.sleep(ms, AbortSignal.any([stopping.signal, idle.signal]))])
    idle.abort()
    if (isPoked) {
      for (;;) {
        const now = clock.now()
        const left = Math.min(lastPokeAt + quietMs, pokedAt + delayMs) - now
        if (left <= 0 || stopping.signal.aborted) break
        await clock.sleep(left, stopping.signal)
      }
    }
    isPoked = false
    poked = Promise.withResolvers()
  }

  function measure<T>(stage: 'resolve' | 'translate' | 'publish', run: () => T): T {
    const startedAt = clock.now()
    const result = run()
    options.measured?.(stage, clock.now() - startedAt)
    return result
  }

  function make(world: World): Pass {
    const topology = measure('resolve', () => options.resolve(world, settings, last?.topology ?? null, clock.wall()))
    const translation = measure('translate', () => options.translate(topology, settings, last))
    return { world, topology, translation }
  }

  /** A pass of the World as it is, or without the changes that make it fail. */
  async function makeAny(): Promise<Pass> {
    const world = quarantine.screen(options.world())
    try {
      return make(world)
    } catch (thrown) {
      const rest = await quarantine.isolate(last?.world ?? emptyWorld, world, make)
      if (rest === null) throw thrown
      return make(rest)
    }
  }

  async function pass(): Promise<void> {
    const startedAt = clock.now()
    const { world, topology, translation } = await makeAny()
    const isolated = quarantine.problems()
    const problems = isolated.length === 0 ? translation.problems : [...translation.problems, ...isolated]
    const made: Pass = { world, topology, translation: { ...translation, problems } }
    last = made
    measure('publish', () => options.publish(made))
    options.update(made)
    passes++
    const ms = clock.now() - startedAt
    options.measured?.('total', ms)
    log.debug({ pass: passes, ms: Math.round(ms), problems: translation.problems.length }, 'pass done')
  }

  /** Whether the World is whole. Once it was, a kind that comes later is not waited for. */
  function isReady(): boolean {
    isOpen ||= options.missing().length === 0
    return isOpen
  }

  async function run(): Promise<void> {
    let waitMs = idleMs
    for (;;) {
      await settle(waitMs)
      if (stopping.signal.aborted) return
      waitMs = idleMs
      if (!isReady()) continue
      try {
        await pass()
        trouble = ''
      } catch (thrown) {
        // The stages attach what is wrong with an object to the object, and one that they stumble over is isolated: this is
        // a bug of ours that no object is to blame for. Agents keep what they have.
        failures++
        trouble = thrown instanceof Error ? thrown.message : String(thrown)
        waitMs = retryMs
        log.error({ error: thrown }, 'pass failed, agents keep what they have')
      }
      // Sockets and timers get their turn between passes.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  const done = run()

  return {
    poke,
    get last() {
      return last
    },
    get passes() {
      return passes
    },
    get failures() {
      return failures
    },
    get trouble() {
      return trouble
    },
    get isolated() {
      return quarantine.objects
    },
    async stop() {
      stopping.abort()
      await done
    },
  }
}
