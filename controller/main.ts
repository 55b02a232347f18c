// The controller's process: starts the parts in the order in which they need each other, and stops them in reverse. The
// only file of the controller that uses process.*.

import { randomBytes } from 'node:crypto'
import { type Logger, pino, stdSerializers, stdTimeFunctions } from 'pino'
import { openAdmin, openStats } from './admin/admin.ts'
import { openMetrics, type Parts } from './admin/metrics.ts'
import { openLedger } from './admin/ready.ts'
import { startAdmission } from './admission/start.ts'
import { startAuthority } from './authority/start.ts'
import { systemClock } from './clock.ts'
import { type ControllerConfig, HelpWanted, readConfig } from './config.ts'
import { ConfigError } from './errors.ts'
import { loadCluster } from './observe/access.ts'
import { openApi } from './observe/api.ts'
import { startElection } from './observe/lease.ts'
import { startObserver } from './observe/observer.ts'
import { startPipeline } from './pipeline.ts'
import { resolve } from './resolve/resolve.ts'
import { type Handler, startServer } from './serve.ts'
import { translate } from './translate/translate.ts'
import { startSpread } from './transmit/spread.ts'
import { openTransmitter } from './transmit/transmitter.ts'
import { openCallers } from './update/callers.ts'
import { openUpdater } from './update/updater.ts'

/** Both signals' deadline: the orderly stop takes well under this, or something hangs. */
const stopDeadlineMs = 10_000

async function start(config: ControllerConfig, log: Logger): Promise<() => Promise<void>> {
  const clock = systemClock
  const { settings } = config
  const api = openApi(loadCluster())
  const ledger = openLedger()
  const parts: Parts = {
    clock,
    observer: null,
    pipeline: null,
    transmitter: null,
    updater: null,
    election: null,
    authority: null,
    admission: null,
  }
  const metrics = openMetrics(parts)
  let isStopping = false
  ledger.add(() => (isStopping ? ['shutting down'] : []))

  // Health first: whoever waits for us can read what we wait for.
  const stats = await startServer(config.address, config.statsPort, [openStats({ parts, ledger, metrics })])
  const admin = await startAdmin(config, log, openAdmin({ parts, ledger, metrics }))

  const observer = startObserver({ api, clock, log, changed: () => pipeline.poke() })
  parts.observer = observer

  const isLeader = () => parts.election?.isLeader ?? false
  const authority = startAuthority({
    api,
    clock,
    log,
    world: observer.world,
    isLeader,
    namespace: settings.namespace,
    trustDomain: settings.trustDomain,
    agentSelector: settings.agentSelector,
    controller: config.pod,
    lifetimeMs: config.certificateMs,
  })
  parts.authority = authority
  ledger.add(() => (authority.open === null ? [`authority: ${authority.trouble()}`] : []))

  const callers = openCallers(clock)
  const transmitter = openTransmitter({
    clock,
    log,
    controller: config.pod,
    authenticate: authority.authenticate,
    reported: (report) => {
      authority.reported(report)
      if (callers.take(report)) pipeline.poke()
    },
  })
  parts.transmitter = transmitter

  const updater = openUpdater({
    api,
    clock,
    log,
    settings,
    controller: config.pod,
    served: observer.served,
    isLeader,
    noticed: callers.notices,
  })
  parts.updater = updater

  const pipeline = startPipeline({
    clock,
    log,
    settings,
    missing: observer.missing,
    world: observer.world,
    resolve,
    translate,
    publish: ({ translation }) => transmitter.publish(translation.common, translation.nodes),
    update: updater.update,
    measured: metrics.measured,
  })
  parts.pipeline = pipeline
  ledger.add(() => (pipeline.last === null ? [...observer.missing(), describe('first pass', pipeline.trouble)] : []))

  // To a replica that has not seen all pods yet, every agent would be a stranger.
  const early: Handler = (_request, response) => {
    if (pipeline.last !== null) return false
    response.writeHead(503, { 'retry-after': '1', 'content-type': 'application/json' })
    response.end('{"error":"not_ready","message":"this replica has not seen the whole cluster yet"}\n')
    return true
  }
  const link = await startServer(
    config.address,
    config.port,
    [early, authority.handle, transmitter.handle],
    authority.tls,
  )

  const admission = await startAdmission(config.address, config.admissionPort, {
    ...{ api, clock, log, settings, authority, isLeader },
  })
  parts.admission = admission

  const stopSpread = startSpread({
    ...{ clock, log, settings, world: observer.world, shed: transmitter.shed },
    sessions: () => transmitter.sessions,
  })

  const election = startElection({
    api,
    clock,
    log,
    namespace: settings.namespace,
    name: 'weft-controller',
    identity: `${config.pod}_${randomBytes(4).toString('hex')}`,
    ...config.lease,
    started: () => {
      updater.lead(true)
      admission.lead()
    },
    stopped: () => updater.lead(false),
  })
  parts.election = election
  const ports = { port: link.port, statsPort: stats.port, adminPort: admin?.port, admissionPort: admission.port }
  log.info({ ...ports, namespace: settings.namespace }, 'controller started')

  return async function stop() {
    isStopping = true
    // Nothing is written any more before another replica may lead.
    await updater.stop()
    await election.stop()
    await stopSpread()
    await transmitter.close()
    await link.close(1000)
    await admission.stop()
    await authority.stop()
    await pipeline.stop()
    await observer.stop()
    await admin?.close(500)
    await stats.close(500)
    await api.close()
  }
}

/** The mesh does not depend on the debug pages: a port that is taken is said, and no more. */
async function startAdmin({ adminAddress, adminPort }: ControllerConfig, log: Logger, handler: Handler) {
  try {
    return await startServer(adminAddress, adminPort, [handler])
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown
    log.error({ error: thrown.message }, 'no debug pages: choose another --admin-address or --admin-port')
    return null
  }
}

function describe(what: string, trouble: string): string {
  return trouble === '' ? what : `${what}: ${trouble}`
}

function openLog(level: string, pod: string): Logger {
  return pino({
    level,
    base: { process: 'controller', replica: pod },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (name) => ({ level: name }) },
    serializers: { error: stdSerializers.err },
  })
}

async function main(): Promise<void> {
  const config = readConfig(process.argv.slice(2), process.env)
  const log = openLog(config.logLevel, config.pod)
  if (config.unknownVariables.length > 0) {
    log.warn({ variables: config.unknownVariables }, 'environment variables mean nothing to the controller')
  }
  const stop = await start(config, log)

  let isStopping = false
  const end = (signal: string) => {
    if (isStopping) return
    isStopping = true
    log.info({ signal }, 'stopping')
    setTimeout(() => {
      log.error('the orderly stop took too long')
      process.exit(1)
    }, stopDeadlineMs).unref()
    stop().then(
      () => {
        log.info('stopped')
        process.exit(0)
      },
      (thrown) => {
        log.error({ error: thrown }, 'stopping failed')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
}

main().catch((thrown) => {
  if (thrown instanceof HelpWanted) {
    process.stdout.write(thrown.message)
    process.exit(0)
  }
  process.stderr.write(`weft-controller: ${thrown instanceof ConfigError ? thrown.message : thrown?.stack}\n`)
  process.exit(thrown instanceof ConfigError ? 64 : 1)
})
