// Spreads the agents over the replicas. An agent stays with the replica that it found, so a replica that is new would have
// none until the others end: one that has more than its share lets some go, a few at a time, and the Service sends them where
// it will. Replicas don't talk to each other: each knows from the cluster how many they are.

import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import type { World } from '../observe/world.ts'
import type { Settings } from '../resolve/settings.ts'

export interface SpreadOptions {
  clock: Clock
  log: Logger
  /** Sessions of this replica. */
  sessions(): number
  world(): World
  settings: Pick<Settings, 'namespace' | 'agentSelector'>
  /** Ends so many sessions within the time. */
  shed(count: number, overMs: number): void
}

/** How often a replica looks at its share; each waits between half and one and a half of it. */
const roundMs = 20_000
/** Of what is too much so many go in a round: whoever comes back to the same replica is not sent away at once. */
const roundShare = 0.5
/**
 * Where letting go does not help, because the network leads agents back (it prefers near endpoints, say), it becomes rare: each
 * agent that comes back costs a full snapshot.
 */
const mostPatience = 64
/** A share that differs from others by chance is left alone. */
const tolerance = 0.1
const leastExcess = 2

/** Name of the Service by which agents find the controller. */
const controllerService = 'weft-controller'

/** Starts to look after this replica's share. @returns ends it */
export function startSpread(options: SpreadOptions): () => Promise<void> {
  const { clock, log, settings } = options
  const stopping = new AbortController()

  async function run(): Promise<void> {
    let patience = 1
    let before: { sessions: number; count: number } | null = null
    for (;;) {
      await clock.sleep(patience * roundMs * (0.5 + clock.random()), stopping.signal)
      if (stopping.signal.aborted) return
      const world = options.world()
      const sessions = options.sessions()
      const replicas = countReplicas(world, settings.namespace)
      const count = excess(sessions, countAgents(world, settings), replicas)
      // Of those that are sent away half come back where there are two replicas, fewer where there are more.
      const isInVain = count > 0 && before !== null && sessions > before.sessions - before.count / 4
      patience = isInVain ? Math.min(patience * 2, mostPatience) : 1
      before = count === 0 ? null : { sessions, count }
      if (count === 0) continue
      log.info({ sessions, replicas, count }, 'this replica has more than its share of agents, letting some go')
      options.shed(count, roundMs / 2)
    }
  }

  const done = run()
  return async () => {
    stopping.abort()
    await done
  }
}

/**
 * How many sessions a replica should end now.
 * @param agents of the whole mesh
 * @param replicas that serve agents
 */
export function excess(sessions: number, agents: number, replicas: number): number {
  if (replicas < 2) return 0
  const share = Math.ceil(agents / replicas)
  const over = sessions - share
  if (over < Math.max(leastExcess, share * tolerance)) return 0
  return Math.ceil(over * roundShare)
}

/** Replicas that the Service sends agents to. */
export function countReplicas(world: World, namespace: string): number {
  const names = new Set<string>()
  for (const { metadata, endpoints } of world.slices.values()) {
    if (metadata.namespace !== namespace) continue
    if (metadata.labels?.['kubernetes.io/service-name'] !== controllerService) continue
    for (const { addresses, conditions, targetRef } of endpoints ?? []) {
      // A dual-stack pod is in two slices.
      if (conditions?.ready !== false) names.add(targetRef?.name ?? addresses[0] ?? '')
    }
  }
  return names.size
}

function countAgents(world: World, { namespace, agentSelector }: SpreadOptions['settings']): number {
  const wanted = Object.entries(agentSelector)
  let count = 0
  for (const { metadata, status } of world.pods.values()) {
    if (metadata.namespace !== namespace || status?.phase !== 'Running') continue
    if (wanted.every(([name, value]) => metadata.labels?.[name] === value)) count++
  }
  return count
}
