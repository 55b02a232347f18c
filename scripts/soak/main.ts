// `npm run soak`: ten minutes of mixed load with faults on both sides and a configuration that keeps changing. In the end
// nothing may be in flight, every answer must have been the right one, and the agent's memory must not have grown.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import type { Resource } from '../../controller/contract/resources.ts'
import { endAll, launch, listening, rssBytes } from '../bench/process.ts'
import { median } from '../bench/report.ts'
import { startStandin } from '../bench/standin.ts'
import { choose, closeCallers, type Outcome } from './callers.ts'
import { startEndpoint } from './endpoints.ts'
import { meshPort, resourcesFor } from './resources.ts'

const positive = (text: string): number => {
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('a number above 0 is needed.')
  return value
}

const options = new Command('soak')
  .description('Mixed load with faults; the memory of the agent must stay where it is.')
  .option('--minutes <n>', 'how long', positive, 10)
  .option('--callers <n>', 'how many callers at once', positive, 24)
  .option('--json <file>', 'write the findings there too', (text) => text, null)
  .parse()
  .opts<{ minutes: number; callers: number; json: string | null }>()

const script = fileURLToPath(new URL('../../agent/main.ts', import.meta.url))
const address = `127.${64 + ((process.pid >> 8) & 63)}.${process.pid & 255}.254`
const host = 'web-mesh.soak'
/** How much more memory than after the first minute. */
const growthMost = 1.1

interface Findings {
  counts: Record<string, Record<string, number>>
  wrong: string[]
  /** MiB: after the first minute (or a tenth of the time, if that is shorter), and at the end, each over 10 s. */
  rssFirst: number
  rssLast: number
  left: string[]
}

function tally(findings: Findings, name: string, outcome: Outcome): void {
  const counts = findings.counts[name] ?? {}
  findings.counts[name] = counts
  const kind = typeof outcome === 'string' ? outcome : 'wrong'
  counts[kind] = (counts[kind] ?? 0) + 1
  if (typeof outcome !== 'string' && findings.wrong.length < 20) findings.wrong.push(`${name}: ${outcome.wrong}`)
}

async function callers(findings: Findings, isOver: () => boolean): Promise<void> {
  const aim = { address, port: meshPort, host }
  const one = async () => {
    while (!isOver()) {
      const scenario = choose(Math.random())
      tally(findings, scenario.name, await scenario.run(aim))
    }
  }
  await Promise.all(Array.from({ length: options.callers }, one))
}

/** Gauges that must be back at zero once nobody calls, and the debug endpoints that must be empty. */
async function leftOver(): Promise<string[]> {
  const gauges = ['weft_exchanges_in_flight', 'weft_requests_queued', 'weft_connections{side="downstream"}']
  const metrics = await (await fetch(`http://${address}:15020/metrics`)).text()
  // A gauge that is not there is not at zero.
  const left = gauges.filter((gauge) => !metrics.includes(`\n${gauge}`)).map((gauge) => `${gauge} is missing`)
  for (const line of metrics.split('\n')) {
    const [name = '', value] = line.split(' ')
    const isWatched = gauges.some((gauge) => name === gauge || name.startsWith(`${gauge}{`))
    if (isWatched && Number(value) !== 0) left.push(line)
    if (name.startsWith('weft_exchanges_twice') && Number(value) !== 0) left.push(line)
  }
  return left
}

async function settle(): Promise<string[]> {
  let left: string[] = []
  for (let second = 0; second < 20; second++) {
    left = await leftOver()
    if (left.length === 0) return left
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
  return left
}

async function soak(directory: string): Promise<Findings> {
  const endpoints = await Promise.all(['127.0.0.2', '127.0.0.3', '127.0.0.4'].map((each) => startEndpoint(each)))
  const ports = endpoints.map(({ port }) => port)
  const all = (turn: number): Resource[] => resourcesFor(ports, turn)
  const standin = await startStandin(all(0))
  const flags = ['--node', 'node1', '--pod', 'weft-agent-1', '--address', address, '--controller', standin.url]
  const more = ['--state-dir', directory, '--data-threads', '1', '--log-level', 'error', '--first-byte-timeout', '2s']
  const grace = ['--drain-minimum', '0s', '--drain-quiet', '0s', '--admin-port', '0']
  const agent = launch('weft', [process.execPath, script, ...flags, ...more, ...grace], { cores: '' })
  await listening(agent, address, meshPort)

  const findings: Findings = { counts: {}, wrong: [], rssFirst: 0, rssLast: 0, left: [] }
  const startedAt = Date.now()
  const totalMs = options.minutes * 60_000
  const firstMs = Math.min(60_000, totalMs / 10)
  const samples: { at: number; mib: number }[] = []
  let turn = 0
  const sampler = setInterval(
    () => samples.push({ at: Date.now() - startedAt, mib: rssBytes([agent.pid]) / 2 ** 20 }),
    500,
  )
  const changer = setInterval(() => standin.send(all(++turn)), 2000)
  const teller = setInterval(() => {
    const requests = Object.values(findings.counts).flatMap((counts) => Object.values(counts))
    const sum = requests.reduce((total, count) => total + count, 0)
    process.stderr.write(
      `\r${Math.round((Date.now() - startedAt) / 1000)} s, ${sum} requests, ${samples.at(-1)?.mib.toFixed(0)} MiB `,
    )
  }, 1000)
  await callers(findings, () => Date.now() - startedAt > totalMs)
  clearInterval(changer)
  clearInterval(teller)
  clearInterval(sampler)
  process.stderr.write('\n')

  const around = (from: number, to: number) =>
    median(samples.filter(({ at }) => at >= from && at <= to).map(({ mib }) => mib))
  findings.rssFirst = around(firstMs - 5_000, firstMs + 5_000)
  findings.rssLast = around(totalMs - 10_000, totalMs)
  await closeCallers()
  findings.left = await settle()
  await agent.stop()
  await standin.stop()
  await Promise.all(endpoints.map((endpoint) => endpoint.stop()))
  return findings
}

function report(findings: Findings): boolean {
  const { rssFirst, rssLast, wrong, left } = findings
  for (const [name, counts] of Object.entries(findings.counts)) {
    const text = Object.entries(counts).map(([kind, count]) => `${kind} ${count}`)
    process.stdout.write(`${name.padEnd(30)} ${text.join(', ')}\n`)
  }
  const growth = rssLast / rssFirst
  process.stdout.write(
    `memory: ${rssFirst.toFixed(1)} MiB, in the end ${rssLast.toFixed(1)} MiB (× ${growth.toFixed(3)})\n`,
  )
  for (const each of wrong) process.stdout.write(`WRONG ${each}\n`)
  for (const each of left) process.stdout.write(`LEFT ${each}\n`)
  const isFine = wrong.length === 0 && left.length === 0 && growth <= growthMost
  process.stdout.write(isFine ? 'passed\n' : 'FAILED\n')
  return isFine
}

const directory = mkdtempSync(join(tmpdir(), 'weft-soak-'))
const end = async () => {
  await endAll()
  rmSync(directory, { recursive: true, force: true })
}
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => void end().then(() => process.exit(130)))
try {
  const findings = await soak(directory)
  if (!report(findings)) process.exitCode = 1
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(findings, null, 2)}\n`)
} finally {
  await end()
}
