// Runs one case: starts its entrants, lets them take turns, ends them.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Case } from './cases.ts'
import { hold, load, type Plan } from './load.ts'
import { largeBytes } from './origin.ts'
import { weft } from './peers/weft.ts'
import { connectionLimit, cpuUs, rssBytes, tree } from './process.ts'
import { type Row, round, type Sample, summarise } from './report.ts'
import { type Contender, hostOf, type Running, type Setting } from './setting.ts'

export interface Conditions {
  readonly directory: string
  readonly origin: Running
  readonly rounds: number
  readonly seconds: number
  readonly warmSeconds: number
  readonly proxies: readonly Contender[]
  /** For proxies, and for origin and load; empty: not pinned. */
  readonly proxyCores: string
  readonly loadCores: string
  /** Overrides the case's own. */
  readonly connections: readonly number[] | null
  readonly say: (text: string) => void
}

interface Entrant {
  readonly label: string
  readonly running: Running
}

/**
 * Runs a case.
 * @returns its rows; a entrant that can't be started is said and left out
 */
export async function runCase(which: Case, conditions: Conditions): Promise<Row[]> {
  const entrants = await start(which, conditions)
  try {
    const rows: Row[] = []
    for (const connections of conditions.connections ?? which.connections) {
      const measure = { rounds: measureRounds, latency: measureLatency, idle: measureIdle }[which.kind]
      rows.push(...(await measure(which, connections, entrants, conditions)))
    }
    return rows
  } finally {
    await Promise.all(entrants.map(({ running }) => running.stop()))
  }
}

interface Starter {
  readonly label: string
  readonly threads: number
  begin(setting: Setting): Promise<Running>
}

function starters(which: Case, conditions: Conditions): Starter[] {
  const begin = (setting: Setting) => weft.start(setting)
  if (which.contest === 'threads') {
    return [
      { label: 'weft', threads: 1, begin },
      { label: 'weft-2', threads: 2, begin },
    ]
  }
  return conditions.proxies.flatMap((proxy): Starter[] => {
    if (which.contest === 'proxies')
      return [{ label: proxy.name, threads: 1, begin: (setting) => proxy.start(setting) }]
    const { startPair } = proxy
    return startPair === undefined ? [] : [{ label: proxy.name, threads: 1, begin: (setting) => startPair(setting) }]
  })
}

async function start(which: Case, conditions: Conditions): Promise<Entrant[]> {
  const started: Entrant[] = []
  const both = [conditions.proxyCores, conditions.loadCores].filter((part) => part !== '').join(',')
  for (const { label, begin, threads } of starters(which, conditions)) {
    const directory = join(conditions.directory, `${which.name}-${label}`)
    mkdirSync(directory, { recursive: true, mode: 0o711 })
    const setting: Setting = {
      directory,
      origin: conditions.origin,
      services: which.services,
      observed: which.observed,
      threads,
      cores: which.contest === 'threads' ? both : conditions.proxyCores,
    }
    try {
      started.push({ label, running: await begin(setting) })
    } catch (error) {
      conditions.say(`${label}: left out, ${(error as Error).message}`)
    }
  }
  return started
}

function planFor(which: Case, connections: number, target: Running): Plan {
  return {
    mode: 'closed',
    address: target.address,
    port: target.port,
    connections,
    seconds: 0,
    rate: 0,
    hosts: Array.from({ length: which.services }, (_, index) => hostOf(index)),
    method: which.method,
    path: which.path,
    bodyBytes: which.bodyBytes,
  }
}

function processes(running: Running): number[] {
  return running.children.flatMap((child) => tree(child.pid))
}

async function sample(running: Running, plan: Plan, conditions: Conditions): Promise<Sample> {
  const pids = processes(running)
  const before = cpuUs(pids)
  const found = await load(plan, conditions.loadCores, conditions.directory)
  return { cpuUs: cpuUs(pids) - before, ...found }
}

/** Contestants take turns; the one that begins a round is another in each. */
async function takeTurns(
  entrants: readonly Entrant[],
  rounds: number,
  turn: (entrant: Entrant) => Promise<Sample>,
): Promise<Map<Entrant, Sample[]>> {
  const samples = new Map<Entrant, Sample[]>(entrants.map((entrant) => [entrant, []]))
  for (let number = 0; number < rounds; number++) {
    for (let at = 0; at < entrants.length; at++) {
      const entrant = entrants[(at + number) % entrants.length]!
      samples.get(entrant)!.push(await turn(entrant))
    }
  }
  return samples
}

async function measureRounds(
  which: Case,
  connections: number,
  entrants: readonly Entrant[],
  conditions: Conditions,
): Promise<Row[]> {
  conditions.say(`${which.name}/${connections}: ${which.about}`)
  for (const { running } of entrants) {
    const plan = { ...planFor(which, connections, running), seconds: conditions.warmSeconds }
    await load(plan, conditions.loadCores, conditions.directory)
  }
  const samples = await takeTurns(entrants, conditions.rounds, ({ running }) =>
    sample(running, { ...planFor(which, connections, running), seconds: conditions.seconds }, conditions),
  )
  return [...samples].map(([{ label, running }, taken]) => {
    const row = summarise(which.name, label, connections, rssBytes(processes(running)), taken)
    if (which.path === '/large')
      row.gib_per_cpu_second = round(largeBytes / 1024 / row.cpu_us_per_request / 1.048576, 2)
    return row
  })
}

/** All at one rate: half of what nginx (where it is missing, the first) can do; the origin alone is measured as `direct`. */
async function measureLatency(
  which: Case,
  connections: number,
  entrants: readonly Entrant[],
  conditions: Conditions,
): Promise<Row[]> {
  const measure = entrants.find(({ label }) => label === 'nginx') ?? entrants[0]
  if (measure === undefined) return []
  for (const { running } of entrants) {
    const plan = { ...planFor(which, connections, running), seconds: conditions.warmSeconds }
    await load(plan, conditions.loadCores, conditions.directory)
  }
  const plan = { ...planFor(which, connections, measure.running), seconds: conditions.seconds }
  const saturation = await load(plan, conditions.loadCores, conditions.directory)
  const rate = saturation.requests / saturation.seconds / 2
  conditions.say(`${which.name}/${connections}: ${which.about} (${Math.round(rate)}/s)`)
  const direct: Entrant = { label: 'direct', running: conditions.origin }
  const samples = await takeTurns([direct, ...entrants], conditions.rounds, ({ running }) => {
    const fixed: Plan = { ...planFor(which, connections, running), mode: 'open', rate, seconds: conditions.seconds }
    return sample(running, fixed, conditions)
  })
  const rows = [...samples].map(([{ label, running }, taken]) =>
    summarise(which.name, label, connections, rssBytes(processes(running)), taken),
  )
  const base = rows.find((row) => row.proxy === 'direct')!
  for (const row of rows) {
    row.target_rps = Math.round(rate)
    if (row === base) continue
    row.added_p50_ms = round(row.p50_ms - base.p50_ms, 3)
    row.added_p99_ms = round(row.p99_ms - base.p99_ms, 3)
  }
  return rows
}

async function measureIdle(
  which: Case,
  wanted: number,
  entrants: readonly Entrant[],
  conditions: Conditions,
): Promise<Row[]> {
  const connections = Math.min(wanted, connectionLimit() - 100)
  const why = connections < wanted ? ` (only ${connections}: this user's limit of open files)` : ''
  conditions.say(`${which.name}/${wanted}: ${which.about}${why}`)
  const rows: Row[] = []
  for (const { label, running } of entrants) {
    try {
      rows.push(await idleRow(which, connections, label, running, conditions))
    } catch (error) {
      conditions.say(`${label}: left out, ${(error as Error).message}`)
    }
  }
  return rows
}

async function idleRow(
  which: Case,
  connections: number,
  label: string,
  running: Running,
  conditions: Conditions,
): Promise<Row> {
  // What the first requests load and grow is no cost of a connection.
  const warm = { ...planFor(which, 32, running), seconds: conditions.warmSeconds }
  await load(warm, conditions.loadCores, conditions.directory)
  const pids = processes(running)
  const before = rssBytes(pids)
  const beforeUs = cpuUs(pids)
  const holder = await hold({ ...planFor(which, connections, running), mode: 'idle' }, conditions.loadCores)
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const after = rssBytes(pids)
  const taken: Sample = {
    cpuUs: cpuUs(pids) - beforeUs,
    requests: connections,
    seconds: 1,
    p50Ms: 0,
    p99Ms: 0,
    errors: 0,
  }
  await holder.stop()
  const row = summarise(which.name, label, connections, after, [taken])
  row.bytes_per_connection = Math.round((after - before) / connections)
  return row
}
