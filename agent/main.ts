#!/usr/bin/env node
// The agent's process: command line and environment in, signals, exit codes. The only part that uses `process`.

import { readdirSync, readFileSync } from 'node:fs'
import { pino, stdTimeFunctions } from 'pino'
import { Agent, readCached } from './agent.ts'
import { fitConnections, openFilesLimit } from './budget.ts'
import { systemClock } from './clock.ts'
import { type AgentConfig, readConfig, UsageError, unknownSettings } from './config.ts'
import { type ControlLog, controlLog, errorFields } from './observe/log.ts'
import type { ProcessFacts } from './observe/own.ts'

/** Time for the last log lines and messages after the data threads have let go. */
const lastMs = 2000

function readOrExit(): AgentConfig {
  try {
    return readConfig(process.argv.slice(2), process.env)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    const out = error.exitCode === 0 ? process.stdout : process.stderr
    out.write(error.message)
    process.exit(error.exitCode)
  }
}

function processFacts(): ProcessFacts {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  return {
    version: String(manifest.version),
    nodeVersion: process.version,
    startedAt: Date.now() / 1000 - process.uptime(),
    residentBytes: () => process.memoryUsage.rss(),
    cpuSeconds: () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    },
    openFiles: () => countFiles(),
  }
}

/** 0 where /proc doesn't tell. */
function countFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return 0
  }
}

function fileLimit(): number {
  try {
    return openFilesLimit(readFileSync('/proc/self/limits', 'utf8'))
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

/** The configuration with a connection limit that the open files allow. */
function fitted(config: AgentConfig, meshPorts: number, log: ControlLog): AgentConfig {
  const files = fileLimit()
  const connections = fitConnections(config, files, meshPorts)
  if (connections === config.limits.connections) return config
  const wanted = config.limits.connections
  log.warn({ files, wanted, connections }, 'fewer connections than configured: the limit of open files is too low')
  return Object.freeze({ ...config, limits: Object.freeze({ ...config.limits, connections }) })
}

async function run(): Promise<void> {
  const given = readOrExit()
  const logger = pino(
    {
      level: given.logLevel,
      base: { process: 'agent', node: given.node, pod: given.pod },
      // Words and dates, as the controller's: read by people first.
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (name) => ({ level: name }) },
    },
    pino.destination({ fd: 2, sync: true }),
  )
  const log = controlLog(logger)
  const end = (code: number, reason: string, fields: Record<string, unknown> = {}): never => {
    log[code === 0 ? 'info' : 'error'](fields, reason)
    process.exit(code)
  }
  process.on('uncaughtException', (error) => end(1, 'uncaught error', errorFields(error)))
  process.on('unhandledRejection', (error) => end(1, 'unhandled rejection', errorFields(error)))
  // Whoever reads the access log may go away; the agent must not go with him.
  process.stdout.on('error', () => {})
  const unknown = unknownSettings(process.env)
  if (unknown.length > 0) log.warn({ variables: unknown }, 'unknown variables; misspelt?')

  const cached = await readCached(given, log)
  const meshPorts = cached === null ? 0 : [...cached.lines.keys()].filter((key) => key.startsWith('port ')).length
  const config = fitted(given, meshPorts, log)
  const facts = processFacts()
  const agent = new Agent(config, {
    clock: systemClock,
    random: Math.random,
    log,
    out: process.stdout,
    facts,
    script: new URL('./worker.ts', import.meta.url),
    onFatal: (reason) => end(1, reason),
  })

  let isLeaving = false
  const leave = async (signal: string): Promise<void> => {
    if (isLeaving) end(1, 'second signal: ended at once', { signal })
    isLeaving = true
    log.info({ signal, deadlineMs: config.drain.deadlineMs }, 'draining')
    setTimeout(() => end(1, 'the end took too long'), config.drain.deadlineMs + lastMs).unref()
    await agent.drain()
    await agent.stop()
    end(0, 'ended')
  }
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => void leave(signal))

  const { address, dataThreads, controller } = config
  log.info({ version: facts.version, address, dataThreads, controller }, 'agent starts')
  if (!controller.startsWith('https:')) {
    log.warn({ controller }, 'the controller is not https: there are no identities, and nothing is encrypted')
  }
  await agent.start(cached)
}

run().catch((error: unknown) => {
  process.stderr.write(`weft-agent: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
