// A data thread in this process, with real sockets: what the wire suites and the mesh suites of the data path talk to.

import type { LookupFunction } from 'node:net'
import { type Clock, systemClock } from '../../agent/clock.ts'
import { type AgentConfig, readConfig } from '../../agent/config.ts'
import type { Exchange } from '../../agent/exchange.ts'
import type { IdentityMessage } from '../../agent/identity/messages.ts'
import { limitMemory } from '../../agent/limits/shared.ts'
import type { FromThread } from '../../agent/mesh/thread.ts'
import { borrowedMetrics } from '../../agent/observe/borrowed.ts'
import { Gatherer } from '../../agent/observe/gather.ts'
import { pathMetrics, type Sample } from '../../agent/observe/metrics.ts'
import type { Recorder } from '../../agent/outbound/settle.ts'
import type { DataThread } from '../../agent/thread.ts'
import { startThread } from '../../agent/worker.ts'
import type { Resource } from '../../controller/contract/resources.ts'
import { ownAddress } from './addresses.ts'
import { change, endpoints, type Gone, mesh, service, spec, workload } from './resources.ts'
import { until } from './until.ts'

export interface AgentOptions {
  /** The agent's addresses, as its flag takes them; callers connect from 127.0.0.1. */
  address?: string
  /** The shared mesh port of Service port 80; `webPort` unless told otherwise. */
  meshPort?: number
  /** More flags of the agent. */
  flags?: string[]
  clock?: Clock
  random?: () => number
  /** How names of hosts outside are looked up; as in production unless told otherwise. */
  lookup?: LookupFunction
  /** Beside the mesh and the caller's workload; none: a Service `shop/web` whose endpoints are `upstreams`. */
  resources?: Resource[]
  /** Name of the node. */
  node?: string
  /** Identities: the trust and the certificates that the thread has from the start; with them it uses tunnels. */
  identities?: readonly IdentityMessage[]
  /** Ports on 127.0.0.1 that `shop/web` sends to. */
  upstreams?: number[]
}

export interface AgentUnderTest {
  readonly thread: DataThread
  readonly config: AgentConfig
  readonly address: string
  /** The shared mesh port of Service port 80. */
  readonly port: number
  readonly entryPort: number
  /** Exchanges that were settled, oldest first. */
  readonly settled: { status: number; reason: string | null; attempts: number; bytesUp: number; bytesDown: number }[]
  /** Exchanges that were settled twice: always a bug. */
  readonly twice: Exchange[]
  readonly messages: FromThread[]
  /** The samples of a metric that are not 0, as they stand. */
  metric(name: string): Sample[]
  /** Changes the configuration. */
  apply(...resources: (Resource | Gone)[]): Promise<void>
  /** Takes something out of the configuration. */
  remove(...gone: Gone[]): Promise<void>
  stop(): Promise<void>
}

/** Mesh port of `shop/web`. */
export const webPort = 16384

/** Starts a data thread with a Service `shop/web` (Host `web-mesh.shop`). */
export async function startAgent(options: AgentOptions = {}): Promise<AgentUnderTest> {
  const address = options.address ?? ownAddress()
  const meshPort = options.meshPort ?? webPort
  const config = readConfig(
    [
      ...['--node', options.node ?? 'node1', '--pod', 'agent-1', '--address', address],
      ...['--controller', options.identities === undefined ? 'http://127.0.0.1:1' : 'https://127.0.0.1:1'],
      ...['--token-file', '/nonexistent', '--state-dir', '/nonexistent'],
      ...(options.flags ?? []),
    ],
    {},
  )
  const settled: AgentUnderTest['settled'] = []
  const twice: Exchange[] = []
  const recorder: Recorder = {
    record: ({ status, reason, attempts, bytesUp, bytesDown }) => {
      settled.push({ status, reason, attempts, bytesUp, bytesDown })
    },
    recordTwice: (exchange) => {
      twice.push(exchange)
    },
  }
  const messages: FromThread[] = []
  const gatherer = new Gatherer()
  const shelf = gatherer.join(0)
  const metrics = [...pathMetrics(gatherer), ...borrowedMetrics(gatherer, config.metricsAs)]
  const thread = startThread(
    { config, thread: 0, threads: 1, limits: limitMemory(1) },
    (message) => {
      messages.push(message)
      if (message.type === 'slots') gatherer.addSlots(shelf, message.buffer)
      else if (message.type === 'series') gatherer.change(shelf, message)
    },
    {
      clock: options.clock ?? systemClock,
      random: options.random ?? Math.random,
      ...(options.lookup === undefined ? {} : { lookup: options.lookup }),
      recorders: [recorder],
    },
  )
  for (const message of options.identities ?? []) thread.handle({ type: 'identity', message })
  let version = 0
  const apply = async (...resources: (Resource | Gone)[]) => {
    version++
    const name = String(version)
    thread.handle({ type: 'prepare', version: name, change: change(...resources) })
    // A thread may take several turns to prepare what is large.
    const answer = () =>
      messages.find(
        (message) => (message.type === 'prepared' || message.type === 'refused') && message.version === name,
      )
    await until(() => answer() !== undefined, 'the preparation')
    if (answer()!.type === 'refused') throw new Error(JSON.stringify(answer()))
    thread.handle({ type: 'commit', version: name })
    const listening = () =>
      messages.filter((message) => message.type === 'listening').find((message) => message.version === name)
    await until(() => listening() !== undefined, 'the listening ports')
    const { failed } = listening()!
    if (failed.length > 0) throw new Error(`the agent on ${address} can't listen: ${JSON.stringify(failed)}`)
  }
  const own = options.resources ?? [
    service('shop/web'),
    endpoints('shop/web:80', ...(options.upstreams ?? []).map((port) => spec('127.0.0.1', { port }))),
  ]
  const stop = async () => {
    thread.handle({ type: 'close' })
    thread.handle({ type: 'end' })
    await until(() => thread.outbound.open === 0, 'the end of all connections')
  }
  const first = apply(
    mesh,
    { kind: 'port', name: String(meshPort), port: 80, service: null },
    workload('127.0.0.1', { account: 'shop/client', pod: 'shop/client-1' }),
    ...own,
  )
  await first.catch(async (error) => {
    await stop()
    throw error
  })
  return {
    thread,
    config,
    address,
    port: meshPort,
    entryPort: config.ports.entry,
    settled,
    twice,
    messages,
    metric: (name) => {
      const found = metrics.find((metric) => metric.name === name)
      if (found === undefined) throw new Error(`there is no metric ${name}`)
      return found.read().filter(({ value }) => value !== 0)
    },
    apply,
    remove: apply,
    stop,
  }
}
