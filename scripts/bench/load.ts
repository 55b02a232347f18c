// Load on a proxy: wrk where it is installed, else, and for fixed rates and idle connections, our own generator.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Child, launch, which } from './process.ts'
import type { Target } from './setting.ts'

export interface Plan extends Target {
  /** closed: each connection waits for its response; open: `rate` arrivals a second; idle: one request each, then silence. */
  readonly mode: 'closed' | 'open' | 'idle'
  readonly connections: number
  readonly seconds: number
  /** Requests a second for `open`. */
  readonly rate: number
  /** Taken in turn, one for each request. */
  readonly hosts: readonly string[]
  readonly method: string
  readonly path: string
  readonly bodyBytes: number
}

export interface Findings {
  readonly requests: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Responses other than 2xx, and failed connections. */
  readonly errors: number
}

const script = fileURLToPath(new URL('generate.ts', import.meta.url))

function generator(plan: Plan, cores: string): Child {
  return launch('generator', [process.execPath, script, JSON.stringify(plan)], { cores })
}

/**
 * Runs a plan to its end.
 * @param directory for wrk's script
 * @throws Error if the generator failed
 */
export async function load(plan: Plan, cores: string, directory: string): Promise<Findings> {
  const wrk = plan.mode === 'closed' ? which('wrk') : null
  const child = wrk === null ? generator(plan, cores) : launch('wrk', wrkCommand(wrk, plan, directory), { cores })
  const code = await child.exited
  if (code !== 0) throw new Error(`${child.name} ended with ${code}: ${child.complaints()}`)
  return wrk === null ? (JSON.parse(child.printed()) as Findings) : parseWrk(child.printed())
}

/**
 * Opens the plan's idle connections and keeps them open until the child is stopped.
 * @throws Error if not all of them were answered within 60 s
 */
export async function hold(plan: Plan, cores: string): Promise<Child> {
  const child = generator(plan, cores)
  let isOver = false
  void child.exited.then(() => {
    isOver = true
  })
  const deadline = Date.now() + 60_000
  while (!child.printed().includes('\n')) {
    if (Date.now() > deadline) {
      await child.stop()
      throw new Error(`not all of ${plan.connections} connections were answered within 60 s`)
    }
    if (isOver) throw new Error(`the generator ended: ${child.complaints()}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  const { errors } = JSON.parse(child.printed()) as Findings
  if (errors > 0) throw new Error(`${errors} of ${plan.connections} connections were refused`)
  return child
}

function wrkCommand(wrk: string, plan: Plan, directory: string): string[] {
  const url = `http://${plan.address}:${plan.port}${plan.path}`
  const command = [wrk, '-t1', `-c${plan.connections}`, `-d${plan.seconds}s`, '--latency', '--timeout', '10s', url]
  const file = join(directory, 'wrk.lua')
  writeFileSync(file, wrkScript(plan))
  return [...command, '-s', file]
}

/** With one Host the request is made once; with many they are made ahead and sent in turn. */
function wrkScript({ method, hosts, bodyBytes }: Plan): string {
  const common = `wrk.method = "${method}"\nwrk.headers["Host"] = "${hosts[0]}"\n${
    bodyBytes > 0 ? `wrk.body = string.rep("x", ${bodyBytes})\n` : ''
  }`
  if (hosts.length === 1) return common
  return `${common}local hosts = {${hosts.map((host) => `"${host}"`).join(',')}}
local ready = {}
local at = 0
function init(args)
  for i, host in ipairs(hosts) do wrk.headers["Host"] = host; ready[i] = wrk.format() end
end
function request()
  at = at % #ready + 1
  return ready[at]
end
`
}

const unitsMs: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000 }

/**
 * Reads what wrk prints.
 * @throws Error if it is not what wrk prints
 */
export function parseWrk(text: string): Findings {
  const total = /(\d+) requests in ([\d.]+)(us|ms|s|m)/.exec(text)
  if (total === null) throw new Error(`wrk printed: ${text.slice(0, 500)}`)
  const percentile = (label: string) => {
    const found = new RegExp(`\\s${label}%\\s+([\\d.]+)(us|ms|s|m)`).exec(text)
    return found === null ? 0 : Number(found[1]) * unitsMs[found[2]!]!
  }
  const socket = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text)?.slice(1) ?? []
  const status = /Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? '0'
  return {
    requests: Number(total[1]),
    seconds: (Number(total[2]) * unitsMs[total[3]!]!) / 1000,
    p50Ms: percentile('50'),
    p99Ms: percentile('99'),
    errors: [...socket, status].reduce((sum, count) => sum + Number(count), 0),
  }
}
