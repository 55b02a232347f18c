// The agent's configuration: flags and environment variables → one frozen object of plain data, which goes to the data
// threads as it is. The table below is the one place of every default, each with its reason.

import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { type Lender, lenders } from './observe/borrowed.ts'
import {
  duration,
  flag,
  ip,
  ips,
  OptionError,
  oneOf,
  optional,
  origin,
  port,
  portRange,
  resolveOptions,
  several,
  share,
  size,
  text,
  unknownVariables,
  type Values,
  whole,
} from './options.ts'

const logLevels = ['error', 'warn', 'info', 'debug', 'trace'] as const
export type LogLevel = (typeof logLevels)[number]

/** Whether a text names a log level. */
export function isLogLevel(level: string): level is LogLevel {
  return logLevels.some((known) => known === level)
}

const options = {
  node: text(null, 'NAME', 'name of this node; set it by fieldRef spec.nodeName'),
  pod: text(null, 'NAME', 'name of this pod; set it by fieldRef metadata.name'),
  address: ips(
    null,
    "this pod's address, where all ports but the admin one listen, and one of the other family for callers; fieldRef status.podIPs",
  ),
  controller: origin(null, 'origin of the controller'),
  'token-file': optional('FILE', 'projected token to show to the controller; read anew for each connection'),
  // Where the manifests mount the ConfigMap weft-trust.
  'trust-dir': text('/var/run/weft/trust', 'DIR', 'trust bundle of the mesh; used when the controller is https'),
  // The one path that a read-only root file system needs a volume for.
  'state-dir': text('/var/lib/weft', 'DIR', 'where the last good snapshot is kept'),
  // 0: from --cpu-request. A thread more than cores takes turns with its siblings and makes every tail longer.
  'data-threads': whole('0', 0, 64, 'data threads; 0: the CPU request rounded up, at most 4'),
  // What resourceFieldRef requests.cpu gives: whole cores, rounded up.
  'cpu-request': whole('1', 0, 4096, 'cores that this container requests; set it by resourceFieldRef'),
  'entry-port': port('15001', 'HTTP by Host or absolute-form URL'),
  // Below Linux's ephemeral range (32768 up), whose outgoing connections would take the ports away.
  'mesh-ports': portRange('16384-32767', 'ports that stand for Service ports; must match the controller'),
  'hbone-port': port('15008', 'HBONE, from other agents'),
  'stats-port': port('15020', '/readyz, /livez, /metrics'),
  'admin-port': port('15000', '/debug'),
  // Loopback: what it shows and can do is for kubectl port-forward alone.
  'admin-address': ip('127.0.0.1', 'where the admin port listens'),
  'dns-port': port('15053', 'DNS, UDP and TCP'),

  // Within a cluster a SYN is answered in milliseconds; one retransmission (1 s) still loses the attempt, not the request.
  'connect-timeout': duration('1s', 'to connect to an endpoint'),
  // A caller on the same node has no reason to be slow; longer only helps slowloris.
  'request-head-timeout': duration('10s', 'for the head of a request, from its first byte'),
  // What HTTP clients commonly give up after is 30 s: half of it leaves room for one retry.
  'first-byte-timeout': duration('15s', "for the head of the response, from the request's end"),
  // Envoy's edge default for streams; long polls and event streams send something within it.
  'idle-timeout': duration('5m', 'without a byte in either direction within an exchange or an opaque connection'),
  // Longer than the 90 s after which Go's clients drop an idle connection: who closes first must be the caller, or its next
  // request meets our FIN.
  'keep-alive-timeout': duration('2m', "between two requests on a caller's connection"),
  // Shorter than the 5 s after which Node's servers close theirs: who closes first must be us, for the same reason.
  'pool-idle-timeout': duration('4s', 'that an unused connection to an endpoint is kept'),

  // What Node, nginx and Envoy's edge advice converge on; a head is held in memory for each connection.
  'head-limit': size('16KiB', 'of a message head'),
  // As Envoy; beyond it something is usually wrong, and counting is what stops header floods.
  'header-limit': whole('100', 1, 10_000, 'headers in a message'),
  // Enough for most API calls; what is kept for a retry is memory for each exchange.
  'body-buffer': size('64KiB', 'of a request body that is kept for a retry'),
  // 4 KiB each when idle: 40 MiB a thread at worst, within the container's limit.
  'connection-limit': whole('10000', 1, 1_000_000, "callers' connections for each data thread"),
  // One caller may use a good part of the agent, never all of it.
  'in-flight-per-caller': whole(
    '1024',
    1,
    1_000_000,
    'requests in flight for each caller identity, in the whole agent',
  ),
  // A burst is absorbed; a longer queue only makes everybody late.
  'queue-per-caller': whole('100', 0, 1_000_000, 'requests waiting for each caller identity, in the whole agent'),
  // After it, waiting is worse than an answer that can be retried.
  'queue-timeout': duration('3s', 'that a request waits in the queue'),
  // A pod's first call comes 0.3–0.5 s before the API shows its address.
  'caller-timeout': duration('3s', 'that a connection from an unknown address waits for its pod to be known'),
  // An address scan must not fill the connection limit with waiters.
  'caller-waiters': whole('256', 0, 1_000_000, 'connections that wait for their pod to be known, for each data thread'),
  // Above the in-flight count of a busy backend; idle ones leave by the pool's time-out anyway.
  'pool-per-endpoint': whole('256', 0, 100_000, 'unused connections kept for each endpoint and data thread'),
  // 10,000 series of requests are 2.2 MiB of counters and 20 MB of metrics text: more would hurt who scrapes it.
  'series-limit': whole('10000', 1, 1_000_000, 'label sets in the metrics, for each data thread'),

  // One is what helps against a bad endpoint; more multiply an outage.
  retries: whole('1', 0, 10, 'further attempts for a request that may be repeated'),
  // Linkerd's budget: an outage costs at most a fifth more load, a quiet service still gets its retries.
  'retry-budget': share('0.2', 'of the requests that may be retried'),
  'retry-minimum': whole('10', 0, 100_000, 'retries a second that the budget always allows'),
  'retry-window': duration('10s', 'over which the budget counts'),
  'retry-backoff': duration('25ms', 'before the first retry at most (full jitter); doubles'),
  'retry-backoff-max': duration('250ms', 'before any retry at most'),

  // Linkerd's failure accrual, which is in use at many sites: seven in a row are no accident.
  'breaker-failures': whole('7', 1, 10_000, 'failures in a row that open a breaker'),
  'breaker-success-rate': share('0.8', 'of requests below which a breaker opens'),
  // Below it, a rate says nothing.
  'breaker-minimum': whole('5', 1, 10_000, 'requests in the window before the rate counts'),
  'breaker-window': duration('10s', 'over which the rate is taken'),
  // A restarting process is often back within a second; one that is down for long is asked once a minute.
  'breaker-open': duration('1s', 'that a breaker stays open first; doubles with each failed probe'),
  'breaker-open-max': duration('60s', 'that a breaker stays open at most'),
  // So that the agents' probes don't come in step.
  'breaker-jitter': share('0.5', 'by which the open time varies'),
  // With more than half gone, the rest would be overloaded by what is meant to help.
  'breaker-ejected': share('0.5', "of a backend's endpoints that breakers may take out"),

  // kube-proxy was seen sending new connections for more than a second after an endpoint began to terminate.
  'drain-quiet': duration('2s', 'without a new connection before the listeners close'),
  'drain-minimum': duration('5s', 'before the listeners close'),
  // terminationGracePeriodSeconds (60) less 5 s to end in an orderly way.
  'drain-deadline': duration('55s', 'after which what is still open is closed'),

  // Off: they double the series, and who has another mesh as well would count twice.
  'metrics-as': several(lenders, 'further names for what the pods of this node answered'),
  'access-log': flag('one JSON line for each exchange on standard output'),
  'log-level': oneOf(logLevels, 'info', 'least severity that is logged'),
}

/** Plain data all through: it is cloned to the data threads. Durations in ms, sizes in bytes. */
export interface AgentConfig {
  readonly node: string
  readonly pod: string
  /** The pod's own address: what other agents, kubelet and Prometheus know it by. */
  readonly address: string
  /** All of them: in a dual-stack cluster callers come by either family. */
  readonly addresses: readonly string[]
  /** An origin, without a slash at its end. */
  readonly controller: string
  /** Empty: none. */
  readonly tokenFile: string
  readonly trustDir: string
  readonly stateDir: string
  /** The last good snapshot, in stateDir. */
  readonly cacheFile: string
  readonly dataThreads: number
  readonly adminAddress: string
  readonly ports: Readonly<Record<'entry' | 'meshFirst' | 'meshLast' | 'hbone' | 'stats' | 'admin' | 'dns', number>>
  readonly timeouts: Readonly<
    Record<'connectMs' | 'requestHeadMs' | 'firstByteMs' | 'idleMs' | 'keepAliveMs' | 'poolIdleMs', number>
  >
  readonly limits: Readonly<{
    headBytes: number
    headers: number
    bodyBufferBytes: number
    /** For each data thread. */
    connections: number
    /** For the agent as a whole, as is queuePerCaller. */
    inFlightPerCaller: number
    queuePerCaller: number
    queueMs: number
    callerWaitMs: number
    /** For each data thread. */
    callerWaiters: number
    poolPerEndpoint: number
    series: number
  }>
  readonly retry: Readonly<{
    attempts: number
    budgetRatio: number
    /** Retries a second. */
    budgetMin: number
    budgetWindowMs: number
    backoffMs: number
    backoffMaxMs: number
  }>
  readonly breaker: Readonly<{
    consecutive: number
    successRate: number
    minimum: number
    windowMs: number
    openMs: number
    maxOpenMs: number
    jitter: number
    maxEjected: number
  }>
  readonly drain: Readonly<{ quietMs: number; minimumMs: number; deadlineMs: number }>
  readonly metricsAs: readonly Lender[]
  readonly accessLog: boolean
  readonly logLevel: LogLevel
}

/** The command line can't be used, or asked for its help: what to print and how to end. */
export class UsageError extends Error {
  override name = 'UsageError'
  readonly exitCode: number

  constructor(message: string, exitCode: number) {
    super(message)
    this.exitCode = exitCode
  }
}

/**
 * Reads the configuration.
 * @param args the command line without the program
 * @throws UsageError with the text for standard error (or, exit code 0, for standard output: --help)
 */
export function readConfig(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): AgentConfig {
  try {
    return assemble(resolveOptions(options, readFlags(args), environment))
  } catch (error) {
    if (error instanceof OptionError) throw new UsageError(`${error.message}\n`, 64)
    throw error
  }
}

/** Variables named WEFT_… that mean nothing to the agent: worth a warning, since the environment is shared by programs. */
export function unknownSettings(environment: Readonly<Record<string, string | undefined>>): string[] {
  return unknownVariables(options, environment)
}

function readFlags(args: readonly string[]): Record<string, string | undefined> {
  let printed = ''
  const command = new Command('weft-agent')
    .description("Weft's agent: carries the mesh traffic of one node. Each option is also a variable WEFT_….")
    .exitOverride()
    .configureOutput({ writeOut: (part) => (printed += part), writeErr: (part) => (printed += part) })
  for (const [name, option] of Object.entries(options)) {
    const shown = option.fallback ? ` (default ${option.fallback})` : ''
    command.option(option.value === '' ? `--${name}` : `--${name} <${option.value}>`, option.help + shown)
  }
  try {
    command.parse(args, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    throw new UsageError(printed, error.exitCode === 0 ? 0 : 64)
  }
  const parsed: Record<string, unknown> = command.opts()
  return Object.fromEntries(
    command.options.map((option) => {
      const value = parsed[option.attributeName()]
      return [option.name(), value === undefined ? undefined : String(value)]
    }),
  )
}

/** Two listeners on one port, or one amid the mesh ports, would only show as EADDRINUSE when the ports open. */
function checkPorts(values: Values<typeof options>): void {
  const taken = new Map<number, string>()
  const { first, last } = values['mesh-ports']
  for (const name of ['entry-port', 'hbone-port', 'stats-port', 'admin-port', 'dns-port'] as const) {
    const number = values[name]
    if (number === 0) continue
    const other = number >= first && number <= last ? 'mesh-ports' : taken.get(number)
    if (other !== undefined) throw new OptionError(`--${name}: port ${number} is also one of --${other}`)
    taken.set(number, name)
  }
}

function assemble(values: Values<typeof options>): AgentConfig {
  checkPorts(values)
  if (values.controller.startsWith('https:') && values['token-file'] === '') {
    throw new OptionError('--token-file is missing: a controller that is https signs certificates for a token')
  }
  const stateDir = values['state-dir']
  return deepFreeze({
    node: values.node,
    pod: values.pod,
    address: values.address[0],
    addresses: values.address,
    controller: values.controller,
    tokenFile: values['token-file'],
    trustDir: values['trust-dir'],
    stateDir,
    cacheFile: join(stateDir, `snapshot-${values.node}`),
    dataThreads: values['data-threads'] || Math.min(4, Math.max(1, values['cpu-request'])),
    adminAddress: values['admin-address'],
    ports: {
      entry: values['entry-port'],
      meshFirst: values['mesh-ports'].first,
      meshLast: values['mesh-ports'].last,
      hbone: values['hbone-port'],
      stats: values['stats-port'],
      admin: values['admin-port'],
      dns: values['dns-port'],
    },
    timeouts: {
      connectMs: values['connect-timeout'],
      requestHeadMs: values['request-head-timeout'],
      firstByteMs: values['first-byte-timeout'],
      idleMs: values['idle-timeout'],
      keepAliveMs: values['keep-alive-timeout'],
      poolIdleMs: values['pool-idle-timeout'],
    },
    limits: {
      headBytes: values['head-limit'],
      headers: values['header-limit'],
      bodyBufferBytes: values['body-buffer'],
      connections: values['connection-limit'],
      inFlightPerCaller: values['in-flight-per-caller'],
      queuePerCaller: values['queue-per-caller'],
      queueMs: values['queue-timeout'],
      callerWaitMs: values['caller-timeout'],
      callerWaiters: values['caller-waiters'],
      poolPerEndpoint: values['pool-per-endpoint'],
      series: values['series-limit'],
    },
    retry: {
      attempts: values.retries,
      budgetRatio: values['retry-budget'],
      budgetMin: values['retry-minimum'],
      budgetWindowMs: values['retry-window'],
      backoffMs: values['retry-backoff'],
      backoffMaxMs: values['retry-backoff-max'],
    },
    breaker: {
      consecutive: values['breaker-failures'],
      successRate: values['breaker-success-rate'],
      minimum: values['breaker-minimum'],
      windowMs: values['breaker-window'],
      openMs: values['breaker-open'],
      maxOpenMs: values['breaker-open-max'],
      jitter: values['breaker-jitter'],
      maxEjected: values['breaker-ejected'],
    },
    drain: {
      quietMs: values['drain-quiet'],
      minimumMs: values['drain-minimum'],
      deadlineMs: values['drain-deadline'],
    },
    metricsAs: values['metrics-as'],
    accessLog: values['access-log'],
    logLevel: values['log-level'],
  })
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part)
  return Object.freeze(value)
}
