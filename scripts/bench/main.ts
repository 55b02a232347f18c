// `npm run bench`: what a request costs in the agent, beside nginx, HAProxy, Envoy and a plain Node proxy, in one run on
// the same cores. README.md in this folder says how to read it.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { type Case, cases } from './cases.ts'
import { startOrigin } from './origin.ts'
import { envoy } from './peers/envoy.ts'
import { haproxy } from './peers/haproxy.ts'
import { nginx } from './peers/nginx.ts'
import { node } from './peers/node.ts'
import { weft } from './peers/weft.ts'
import { cores, endAll, which } from './process.ts'
import { type Row, ratios, table } from './report.ts'
import { type Conditions, runCase } from './run.ts'
import type { Contender } from './setting.ts'

const proxies: readonly Contender[] = [weft, nginx, haproxy, envoy, node]

interface Options {
  case: string[]
  proxy: string[]
  connections: number[] | null
  rounds: number
  seconds: number
  quick: boolean
  json: string | null
}

const positive = (text: string): number => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number above 0 is needed.')
  return value
}

function oneOf(known: readonly string[]): (text: string) => string[] {
  return (text) => {
    const names = text.split(',')
    const wrong = names.find((name) => !known.includes(name))
    if (wrong !== undefined) throw new InvalidArgumentError(`${wrong} is none of ${known.join(', ')}.`)
    return names
  }
}

const caseNames = cases.map(({ name }) => name)

function parse(): Options {
  return new Command('bench')
    .description("The agent's CPU time per request beside other proxies, in one run on the same cores.")
    .option('--case <names>', `${caseNames.join(', ')}, or all`, oneOf([...caseNames, 'all']), ['get'])
    .option(
      '--proxy <names>',
      'which proxies, separated by commas',
      oneOf(proxies.map(({ name }) => name)),
      proxies.map(({ name }) => name),
    )
    .option('--connections <numbers>', "instead of the case's own", (text) => text.split(',').map(positive), null)
    .option('--rounds <n>', 'rounds in which the proxies take turns', positive, 7)
    .option('--seconds <n>', 'length of one turn', positive, 5)
    .option('--quick', '3 rounds of 2 s: to see that it works, not to decide by', false)
    .option('--json <file>', 'write the figures there too', (text) => text, null)
    .parse()
    .opts<Options>()
}

async function main(): Promise<void> {
  const options = parse()
  const directory = mkdtempSync(join(tmpdir(), 'weft-bench-'))
  const end = async () => {
    await endAll()
    rmSync(directory, { recursive: true, force: true })
  }
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => void end().then(() => process.exit(130)))
  }
  try {
    await run(options, directory)
  } catch (error) {
    process.exitCode = 1
    process.stderr.write(`bench: ${(error as Error).message}\n`)
  } finally {
    await end()
  }
}

/** Two cores or more: the proxy has the first for itself; with one, nothing is pinned, and the figures say less. */
function pinning(): { proxyCores: string; loadCores: string } {
  const [first, second] = cores()
  if (second === undefined || which('taskset') === null) return { proxyCores: '', loadCores: '' }
  execFileSync('taskset', ['-cp', `${second}`, `${process.pid}`], { stdio: 'ignore' })
  return { proxyCores: `${first}`, loadCores: `${second}` }
}

async function run(options: Options, directory: string): Promise<void> {
  const say = (text: string) => process.stderr.write(`${text}\n`)
  const versions: Record<string, string> = {}
  const missing: Record<string, string> = {}
  const present = proxies.filter((proxy) => {
    const found = proxy.find()
    if (!options.proxy.includes(proxy.name)) return false
    if ('version' in found) versions[proxy.name] = found.version
    else missing[proxy.name] = found.missing
    return 'version' in found
  })
  for (const [name, reason] of Object.entries(missing)) say(`${name}: left out, ${reason}`)
  if (which('wrk') === null) say('wrk is not installed: the load comes from a generator in Node, at a lower rate')
  const machine = { cpu: cpus()[0]?.model ?? '', cores: cores().length, kernel: release() }
  const pinned = pinning()
  if (pinned.proxyCores === '') say('one core, or no taskset: nothing is pinned, the figures are rough')

  const conditions: Conditions = {
    directory,
    origin: await startOrigin(directory, pinned.loadCores),
    rounds: options.quick ? 3 : options.rounds,
    seconds: options.quick ? 2 : options.seconds,
    warmSeconds: options.quick ? 1 : 2,
    proxies: present,
    ...pinned,
    connections: options.connections,
    say,
  }
  const rows: Row[] = []
  for (const wanted of chosen(options.case)) rows.push(...(await runCase(wanted, conditions)))
  const compared = ratios(rows)
  process.stdout.write(`${table(rows)}\n\n${ratioLines(compared)}`)
  if (options.json !== null) {
    const { rounds, seconds } = conditions
    const document = {
      when: new Date().toISOString(),
      machine: { ...machine, ...pinned },
      versions,
      missing,
      rounds,
      seconds,
    }
    writeFileSync(options.json, `${JSON.stringify({ ...document, cases: rows, ratios: compared }, null, 2)}\n`)
  }
}

function chosen(names: readonly string[]): readonly Case[] {
  return names.includes('all') ? cases : cases.filter(({ name }) => names.includes(name))
}

function ratioLines(compared: Record<string, number>): string {
  return Object.entries(compared)
    .map(([name, value]) => `${name.padEnd(32)} ${value}\n`)
    .join('')
}

await main()
