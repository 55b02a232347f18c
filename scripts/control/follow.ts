// The agent's own code between the link and a metered data thread, in this process: the real link and keeper, one thread.

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Agent } from '../../agent/client.ts'
import { systemClock } from '../../agent/clock.ts'
import { readConfig } from '../../agent/config.ts'
import { limitMemory } from '../../agent/limits/shared.ts'
import { Keeper, type Member } from '../../agent/mesh/keeper.ts'
import { Link } from '../../agent/mesh/link.ts'
import type { FromThread, ThreadStart } from '../../agent/mesh/thread.ts'
import type { Log } from '../../agent/observe/log.ts'
import type { LinkPlace } from './agents.ts'
import type { AgentFiles } from './cluster.ts'
import type { Collected, Metered } from './meter.ts'
import { agentPod } from './world.ts'

export interface Follower {
  /** What changes have cost the thread since the last call. */
  take(): { metered: Metered[]; collected: Collected[] }
  readonly version: string
  /** Whether a resource is in force with a text in it. */
  has(resource: string, mark: string): boolean
  stop(): Promise<void>
}

/** Links a metered data thread to the controller, as the agent of a node. */
export async function follow(node: number, address: string, place: LinkPlace, files: AgentFiles): Promise<Follower> {
  const controller = `https://127.0.0.1:${place.port}`
  const flags = ['--node', `node-${node}`, '--pod', agentPod(node), '--address', address, '--controller', controller]
  const mounts = ['--state-dir', files.stateFolder, '--token-file', files.tokenFile, '--trust-dir', files.trustFolder]
  const config = readConfig([...flags, ...mounts, '--data-threads', '1'], {})
  const start: ThreadStart = { config, thread: 0, threads: 1, limits: limitMemory(1) }
  const worker = new Worker(new URL('meter.ts', import.meta.url), { workerData: start })
  await once(worker, 'message')
  let metered: Metered[] = []
  let collected: Collected[] = []
  const member: Member = { name: 'metered', post: (message) => worker.postMessage(message) }
  const keeper = new Keeper(systemClock, () => {})
  worker.on('message', (message: FromThread | Metered | Collected) => {
    if (message.type === 'metered') metered.push(message)
    else if (message.type === 'collected') collected.push(message)
    else if (message.type === 'prepared' || message.type === 'committed' || message.type === 'refused') {
      keeper.handle(member, message)
    }
  })
  await keeper.join(member)
  const dispatcher = new Agent({ allowH2: false, connect: { ca: place.ca, checkServerIdentity: () => undefined } })
  const complain = (fields: object, message: string) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`)
  const quiet = () => {}
  const log: Log = { error: complain, warn: complain, info: quiet, debug: quiet, trace: quiet }
  const link = new Link({
    controller,
    node: `node-${node}`,
    pod: agentPod(node),
    tokenFile: files.tokenFile,
    dispatcher: () => dispatcher,
    clock: systemClock,
    random: Math.random,
    log,
    offer: (wanted) => keeper.offer(wanted),
    version: () => keeper.inForce.version,
    onFirst: quiet,
  })
  link.start()
  return {
    take() {
      const taken = { metered, collected }
      metered = []
      collected = []
      return taken
    },
    get version() {
      return keeper.inForce.version
    },
    has: (resource, mark) => keeper.inForce.lines.get(resource)?.includes(mark) ?? false,
    async stop() {
      await link.stop()
      await worker.terminate()
      await dispatcher.destroy()
    },
  }
}
