// What is measured, row by row, in the order in which the benchmark goes through them.

import { cpuUs, rssBytes } from '../bench/process.ts'
import type { Fleet, Received } from './agents.ts'
import { type ApiProcess, type ControllerProcess, peakBytes, until, untilReady } from './cluster.ts'
import type { Follower } from './follow.ts'
import { type Figure, figure, percentile } from './report.ts'
import { nameOf, namespaceOf, podsOf, portOf, type Size } from './world.ts'

/** Everything that runs. */
export interface Stage {
  readonly api: ApiProcess
  readonly fleet: Fleet
  readonly follower: Follower
  readonly size: Size
  readonly agents: number
  /** The real agent's process. */
  readonly agentPid: number
  controller: ControllerProcess
  /** Starts the controller again, where it was. */
  restart(): ControllerProcess
  /** Answers other than 200 and requests that failed, since the last call; and how many there were. */
  traffic(): { failed: number; sent: number }
  say(text: string): void
}

export const row = { start: 1, endpoint: 2, weight: 3, rollout: 4, agent: 5, away: 6, reconnect: 7 } as const

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
const now = () => performance.timeOrigin + performance.now()
const mib = (bytes: number) => bytes / (1 << 20)

/** How long one change took to reach each agent, what it weighed, and what it cost the controller until then. */
interface Spread {
  cpuMs: number
  /** Until the last of them had it. */
  lastMs: number
  bytes: number
}

/** Makes a change and waits until every agent has a transaction with a text in it. */
async function spread(stage: Stage, mark: string, change: () => Promise<number>): Promise<Spread> {
  const arrivals = new Map<number, Received>()
  const done = Promise.withResolvers<void>()
  const off = stage.fleet.onReceived((received) => {
    if (!received.text.includes(mark) || arrivals.has(received.agent)) return
    arrivals.set(received.agent, received)
    if (arrivals.size === stage.agents) done.resolve()
  })
  const { pid } = stage.controller.child
  const before = cpuUs([pid])
  const at = await change()
  const late = setTimeout(
    () => done.reject(new Error(`${arrivals.size} of ${stage.agents} agents got ${mark}`)),
    30_000,
  )
  await done.promise.finally(() => {
    clearTimeout(late)
    off()
  })
  const all = [...arrivals.values()]
  return {
    cpuMs: (cpuUs([pid]) - before) / 1000,
    lastMs: Math.max(...all.map((received) => received.at)) - at,
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0) / all.length,
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** The controller's CPU time in ms while something is done, and how long that took. */
async function costOf<T>(stage: Stage, work: () => Promise<T>): Promise<{ cpuMs: number; wallMs: number; result: T }> {
  const { pid } = stage.controller.child
  const before = cpuUs([pid])
  const startedAt = performance.now()
  const result = await work()
  return { cpuMs: (cpuUs([pid]) - before) / 1000, wallMs: performance.now() - startedAt, result }
}

/** The controller's start, from nothing to the first snapshot. */
export async function measureStart(controller: ControllerProcess): Promise<Figure[]> {
  const startMs = await untilReady(controller)
  return [
    figure(row.start, 'cold start until the first full snapshot is ready', 10, startMs / 1000, 's'),
    figure(row.start, 'its CPU time', null, cpuUs([controller.child.pid]) / 1e6, 's'),
  ]
}

/** Once all it has to write is written, and its agents are served. */
export function measureMemory({ controller }: Stage): Figure[] {
  const { pid } = controller.child
  return [
    figure(row.start, 'controller RSS, peak', 700, mib(peakBytes(pid)), 'MB'),
    figure(row.start, 'controller RSS, now', null, mib(rssBytes([pid])), 'MB'),
  ]
}

/** Waits until nobody has got anything for a while. */
export async function settle(stage: Stage, quietMs = 2000): Promise<void> {
  let last = performance.now()
  const off = stage.fleet.onReceived(() => {
    last = performance.now()
  })
  await until(() => performance.now() - last > quietMs, 'quiet', 180_000)
  off()
}

export async function measureEndpoint(stage: Stage, rounds: number): Promise<Figure[]> {
  const spreads: Spread[] = []
  const first = Math.floor(stage.size.services / 2)
  const { cpuMs } = await costOf(stage, async () => {
    for (let round = 0; round < rounds; round++) {
      const service = first + (round >> 1)
      const mark = `"name":"${namespaceOf(service)}/${nameOf(service)}:${portOf(service)}"`
      const isReady = round % 2 === 1
      spreads.push(await spread(stage, mark, () => stage.api.tell({ do: 'endpoint', service, isReady })))
      await sleep(300)
    }
  })
  const idle = await costOf(stage, () => sleep(5000))
  const times = spreads.map(({ lastMs }) => lastMs)
  const sizes = spreads.map(({ bytes }) => bytes)
  return [
    figure(row.endpoint, 'one endpoint: API event → last agent, p99', 250, percentile(times, 0.99), 'ms'),
    figure(row.endpoint, 'median', null, percentile(times, 0.5), 'ms'),
    figure(
      row.endpoint,
      'controller CPU until the last agent has it',
      10,
      mean(spreads.map((each) => each.cpuMs)),
      'ms',
    ),
    figure(row.endpoint, 'with the reports that follow', null, cpuMs / rounds, 'ms'),
    figure(row.endpoint, 'controller CPU when nothing happens', null, (idle.cpuMs / idle.wallMs) * 1000, 'ms/s'),
    figure(row.endpoint, 'bytes to each agent, median', 4096, percentile(sizes, 0.5), 'B'),
  ]
}

export async function measureWeight(stage: Stage, rounds: number): Promise<Figure[]> {
  const spreads: Spread[] = []
  const { cpuMs } = await costOf(stage, async () => {
    for (let round = 0; round < rounds; round++) {
      const weight = 20 + (round % 70)
      const mark = `"weight":${weight}000`
      spreads.push(await spread(stage, mark, () => stage.api.tell({ do: 'weight', split: 7, weight })))
      await sleep(300)
    }
  })
  const times = spreads.map(({ lastMs }) => lastMs)
  return [
    figure(row.weight, 'one weight: API event → last agent, p99', 100, percentile(times, 0.99), 'ms'),
    figure(row.weight, 'median', null, percentile(times, 0.5), 'ms'),
    figure(
      row.weight,
      'controller CPU until the last agent has it',
      null,
      mean(spreads.map((each) => each.cpuMs)),
      'ms',
    ),
    figure(row.weight, 'with the reports that follow', null, cpuMs / rounds, 'ms'),
  ]
}

/** Every pod of the large Deployment is replaced, so many a second. */
export async function measureRollout(stage: Stage, perSecond: number): Promise<Figure[]> {
  const count = stage.size.deployment
  const sentAt: number[] = []
  /** Of each agent: the next pod that it has not shown yet. */
  const next = new Map<number, number>()
  let worstMs = 0
  const done = Promise.withResolvers<void>()
  const off = stage.fleet.onReceived(({ agent, text, at }) => {
    let index = next.get(agent) ?? 0
    // It shows in the pod's own name, so a transaction that skipped states shows all of them.
    while (index < count && text.includes(podMark(index))) {
      worstMs = Math.max(worstMs, at - (sentAt[index] ?? at))
      index++
    }
    next.set(agent, index)
    if (next.size === stage.agents && [...next.values()].every((each) => each === count)) done.resolve()
  })
  const { cpuMs, wallMs } = await costOf(stage, async () => {
    const startedAt = performance.now()
    for (let index = 0; index < count; index++) {
      await sleep(Math.max(0, startedAt + (index * 1000) / perSecond - performance.now()))
      sentAt[index] = await stage.api.tell({ do: 'replace', index, generation: 2 })
    }
    const late = setTimeout(() => done.reject(new Error('the rollout did not reach all agents')), 60_000)
    await done.promise.finally(() => clearTimeout(late))
  })
  off()
  return [
    figure(row.rollout, `${count} pods at ${perSecond}/s: furthest that any agent was behind`, 1000, worstMs, 'ms'),
    figure(row.rollout, 'controller, of one core', 100, (cpuMs / wallMs) * 100, '%'),
  ]
}

function podMark(index: number): string {
  return `-2x${String(index).padStart(4, '0')}"`
}

/** What a snapshot and its changes cost an agent; the changes are those of the rows before. */
export function measureAgent(stage: Stage, before: Follower['take'] extends () => infer T ? T : never): Figure[] {
  const costs = new Map<string, number>()
  for (const { version, cpuMs } of before.metered) costs.set(version, (costs.get(version) ?? 0) + cpuMs)
  const cpu = [...costs.values()]
  const stretches = before.metered.map(({ cpuMs }) => cpuMs)
  const pauses = [...before.metered, ...before.collected].map(({ wallMs }) => wallMs)
  const delta = `a delta on the data thread: CPU, median of ${cpu.length}`
  return [
    figure(row.agent, 'real agent with one data thread: RSS', 220, mib(rssBytes([stage.agentPid])), 'MB'),
    figure(row.agent, 'its peak', null, mib(peakBytes(stage.agentPid)), 'MB'),
    figure(row.agent, delta, 1, percentile(cpu, 0.5), 'ms'),
    figure(row.agent, 'p95', null, percentile(cpu, 0.95), 'ms'),
    figure(row.agent, 'longest stretch of CPU time without a turn for requests', 5, Math.max(0, ...stretches), 'ms'),
    figure(row.agent, 'longest pause by the clock, others at work included', null, Math.max(0, ...pauses), 'ms'),
  ]
}

/** The API server is out of reach, and comes back with every pod and slice another one. */
export async function measureAway(stage: Stage, awayMs: number): Promise<Figure[]> {
  const { api, fleet, say } = stage
  stage.traffic()
  await api.tell({ do: 'leave' })
  const leftAt = performance.now()
  await api.tell({ do: 'changeAll', generation: 1 })
  await sleep(Math.max(0, awayMs - (performance.now() - leftAt)))
  await api.asked()
  let lastAt = 0
  let bytes = 0
  const off = fleet.onReceived((received) => {
    lastAt = received.at
    bytes += received.bytes
  })
  const { pid } = stage.controller.child
  const cpuBefore = cpuUs([pid])
  const returnedAt = await api.tell({ do: 'return' })
  say(`  back after ${Math.round(performance.now() - leftAt)} ms`)
  const services = Array.from({ length: stage.size.services }, (_, service) => service)
  const peopled = services.filter((service) => podsOf(service, stage.size) > 0)
  const isChanged = (service: number) =>
    stage.follower.has(`endpoints ${namespaceOf(service)}/${nameOf(service)}:${portOf(service)}`, '-1x0000"')
  await until(() => peopled.every(isChanged), 'all changes after the return', 60_000)
  await settle(stage, 4000)
  off()
  const asked = await api.asked()
  const seconds = new Map<number, number>()
  for (const { at, verb } of asked) {
    // Further pages of a list are asked for one after the other.
    if (verb === 'watch')
      seconds.set(Math.floor((at - returnedAt) / 1000), (seconds.get(Math.floor((at - returnedAt) / 1000)) ?? 0) + 1)
  }
  const { failed, sent } = stage.traffic()
  const length = Math.round(awayMs / 1000)
  return [
    figure(
      row.away,
      `API server away ${length} s, all changed: in step after its return`,
      5,
      (lastAt - returnedAt) / 1000,
      's',
    ),
    figure(row.away, `requests that failed of ${sent} through the real agent`, 0, failed, ''),
    figure(row.away, 'watches opened in the busiest second (11 kinds)', 33, Math.max(0, ...seconds.values()), ''),
    figure(row.away, 'controller CPU for it', null, (cpuUs([pid]) - cpuBefore) / 1e6, 's'),
    figure(row.away, 'list pages and other requests altogether', null, asked.length, ''),
    figure(row.away, 'sent to all agents', null, mib(bytes), 'MB'),
  ]
}

/** The controller ends without a word, and starts again. */
export async function measureReconnect(stage: Stage): Promise<Figure[]> {
  const { fleet, say } = stage
  process.kill(stage.controller.child.pid, 'SIGKILL')
  await stage.controller.child.exited
  await until(() => fleet.versions().every((version) => version === ''), 'the agents to notice')
  stage.controller = stage.restart()
  const startMs = await untilReady(stage.controller)
  const readyAt = now()
  say(`  ready again after ${Math.round(startMs)} ms`)
  await until(() => fleet.versions().every((version) => version !== ''), 'all agents')
  return [
    figure(
      row.reconnect,
      `${stage.agents} agents reconnect after the restart: all in step`,
      5,
      (now() - readyAt) / 1000,
      's',
    ),
    figure(row.reconnect, 'the restart itself', null, startMs / 1000, 's'),
  ]
}
