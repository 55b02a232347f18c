// `npm run bench:control`: how the controller and its agents take a large cluster. README.md in this folder says what is
// real in it and what is simulated.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { endAll } from '../bench/process.ts'
import { makeFleet } from './agents.ts'
import {
  freePort,
  linkPlace,
  mount,
  startAgent,
  startApi,
  startController,
  startWeb,
  until,
  untilReady,
} from './cluster.ts'
import { follow } from './follow.ts'
import { type Figure, table } from './report.ts'
import {
  measureAgent,
  measureAway,
  measureEndpoint,
  measureMemory,
  measureReconnect,
  measureRollout,
  measureStart,
  measureWeight,
  row,
  type Stage,
  settle,
} from './rows.ts'
import { startTraffic } from './traffic.ts'
import { fullSize, type Live, quickSize } from './world.ts'

interface Options {
  agents: number
  rounds: number
  away: number
  rate: number
  rows: string[]
  quick: boolean
  json: string | null
}

const positive = (text: string): number => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number above 0 is needed.')
  return value
}

const rowNames = Object.keys(row)

function rowsOf(text: string): string[] {
  const names = text.split(',')
  const wrong = names.find((name) => !rowNames.includes(name))
  if (wrong !== undefined) throw new InvalidArgumentError(`${wrong} is none of ${rowNames.join(', ')}.`)
  return names
}

function parse(): Options {
  return new Command('bench:control')
    .description('What a cluster of 5,000 Services and 50,000 endpoints asks of the controller and of an agent.')
    .option('--agents <n>', 'simulated agents', positive, 100)
    .option('--rounds <n>', 'changes of each kind that are measured', positive, 60)
    .option('--away <seconds>', 'how long the API server is away; nothing depends on it but the back-off', positive, 20)
    .option('--rate <n>', 'pods of the rollout that are replaced in a second', positive, 25)
    .option('--rows <names>', `only some of ${rowNames.join(', ')}`, rowsOf, rowNames)
    .option('--quick', 'a tenth of the cluster: to see that it works, not to decide by', false)
    .option('--json <file>', 'write the figures there too', (text) => text, null)
    .parse()
    .opts<Options>()
}

const say = (text: string) => process.stderr.write(`${text}\n`)
const meshPort = 15001

/** A run in parallel, or the one after it, must find its addresses free. */
function ownNetwork(): string {
  return `127.${80 + ((process.pid >> 8) & 31)}.${process.pid & 255}`
}

async function main(): Promise<void> {
  const options = parse()
  const folder = mkdtempSync(join(tmpdir(), 'weft-control-'))
  const closers: (() => unknown)[] = []
  const end = async () => {
    for (const close of closers.splice(0).reverse()) await close()
    await endAll()
    rmSync(folder, { recursive: true, force: true })
  }
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => void end().then(() => process.exit(130)))
  }
  try {
    await run(options, folder, closers)
  } catch (error) {
    process.exitCode = 1
    say(`bench:control: ${(error as Error).stack}`)
  } finally {
    await end()
  }
}

async function run(options: Options, folder: string, closers: (() => unknown)[]): Promise<void> {
  const size = options.quick ? quickSize : fullSize
  const net = ownNetwork()
  const load = loadavg()[0]!
  const web = await startWeb(`${net}.3`)
  closers.push(() => web.server.close().closeAllConnections())
  const live: Live = { node: 'node-0', agent: `${net}.1`, caller: `${net}.2`, server: `${net}.3`, port: web.port }
  say(`filling the API server: ${size.services} Services, ${size.endpoints} endpoints`)
  const api = await startApi(folder, size, live)
  closers.push(() => api.stop())
  const ports = { link: await freePort(), stats: await freePort() }
  const start = () => startController(api.kubeconfig, ports)
  const figures: Figure[] = []
  const wants = (name: keyof typeof row) => options.rows.includes(name)

  // The first start also writes aliases and Services; what is measured is a start in a cluster that has them.
  let controller = start()
  await untilReady(controller)
  await until(async () => !(await writes(api)), 'the first writes', 300_000)
  await controller.child.stop()
  say('a cold start')
  controller = start()
  figures.push(...(await measureStart(controller)))

  const place = await linkPlace(api, ports.link)
  const files = await mount(api, folder, 0)
  // As in the image, its code is compiled before the start that counts.
  const first = startAgent(live.agent, ports.link, files)
  await untilAgent(live.agent)
  await first.stop()
  const agent = startAgent(live.agent, ports.link, files)
  const metered = options.agents + 1
  const follower = await follow(metered, `${net}.9`, place, await mount(api, folder, metered))
  closers.push(() => follower.stop())
  const fleet = makeFleet(options.agents, place)
  closers.push(() => fleet.stop())
  fleet.start()
  await until(() => fleet.versions().every((version) => version !== ''), 'all agents', 120_000)
  await until(() => follower.version !== '', 'the metered thread')
  await untilAgent(live.agent)
  const traffic = startTraffic(live.caller, live.agent, meshPort, 'web-mesh.live', 50)
  closers.push(() => traffic.stop())
  const stage: Stage = {
    ...{ api, fleet, follower, size, controller, say },
    agents: options.agents,
    agentPid: agent.pid,
    restart: start,
    traffic: traffic.take,
  }
  await settle(stage)
  figures.push(...measureMemory(stage))
  follower.take()

  const step = async (name: keyof typeof row, measure: () => Promise<Figure[]> | Figure[]) => {
    if (!wants(name)) return
    say(name)
    figures.push(...(await measure()))
    await settle(stage)
  }
  await step('endpoint', () => measureEndpoint(stage, options.rounds))
  await step('weight', () => measureWeight(stage, options.rounds))
  const deltas = follower.take()
  await step('rollout', () => measureRollout(stage, options.rate))
  await step('agent', () => measureAgent(stage, deltas))
  await step('away', () => measureAway(stage, options.away * 1000))
  await step('reconnect', () => measureReconnect(stage))

  process.stdout.write(`${table(figures)}\n`)
  if (options.json === null) return
  const machine = { cpu: cpus()[0]?.model ?? '', cores: cpus().length, loadBefore: load, loadAfter: loadavg()[0]! }
  const { agents, rounds, away, rate } = options
  const document = { when: new Date().toISOString(), machine, node: process.version, size, agents, rounds, away, rate }
  writeFileSync(options.json, `${JSON.stringify({ ...document, figures }, null, 2)}\n`)
}

async function untilAgent(address: string): Promise<void> {
  const isReady = async () => (await fetch(`http://${address}:15020/readyz`).catch(() => null))?.status === 200
  await until(isReady, 'the agent')
}

/** Whether something was written in the last two seconds. */
async function writes(api: { asked(): Promise<{ verb: string; collection: string }[]> }): Promise<boolean> {
  await api.asked()
  await new Promise((resolve) => setTimeout(resolve, 2000))
  const asked = await api.asked()
  return asked.some(
    ({ verb, collection }) => verb !== 'list' && verb !== 'watch' && !/leases/.test(collection) && verb !== 'GET',
  )
}

await main()
