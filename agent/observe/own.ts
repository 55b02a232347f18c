// Metrics of the agent itself: build, snapshot, link, threads, DNS and process.

import type { DnsServer } from '../dns/serve.ts'
import type { KeptIdentity } from '../identity/renew.ts'
import type { Keeper } from '../mesh/keeper.ts'
import type { Link } from '../mesh/link.ts'
import type { Threads } from '../threads.ts'
import type { AccessSink } from './accesslog.ts'
import type { Metric, Sample } from './metrics.ts'
import type { Ready } from './ready.ts'

/** What the operating system and the runtime tell of this process. */
export interface ProcessFacts {
  readonly version: string
  readonly nodeVersion: string
  /** Seconds since the epoch. */
  readonly startedAt: number
  residentBytes(): number
  cpuSeconds(): number
  openFiles(): number
}

export interface OwnSources {
  readonly facts: ProcessFacts
  readonly ready: Ready
  readonly keeper: Keeper
  readonly link: Link
  readonly threads: Threads
  readonly dns: () => DnsServer | null
  readonly sink: AccessSink
  /** The agent's own first; none in a mesh without identities. */
  readonly identities: () => KeptIdentity[]
  /** Clock's ms. */
  readonly now: () => number
}

/** The metrics of these sources. */
export function ownMetrics(sources: OwnSources): Metric[] {
  const { facts, ready, keeper, link, threads, dns, sink, identities, now } = sources
  const { version, nodeVersion } = facts
  const gauge = (name: string, help: string, read: () => number): Metric => one(name, help, 'gauge', read)
  const counter = (name: string, help: string, read: () => number): Metric => one(name, help, 'counter', read)
  return [
    labelled('weft_build_info', 'Version of the agent and its runtime.', 'gauge', () => [
      { value: 1, labels: { version, node_version: nodeVersion } },
    ]),
    gauge('weft_ready', '1 if the agent is ready.', () => Number(ready.isReady)),
    labelled('weft_snapshot_info', 'Version of the snapshot in force.', 'gauge', () => [
      { value: 1, labels: { version: keeper.inForce.version } },
    ]),
    gauge('weft_snapshot_resources', 'Resources in the snapshot in force.', () => keeper.inForce.lines.size),
    gauge('weft_snapshot_age_seconds', 'Since the snapshot in force was applied.', () =>
      keeper.inForce.version === '' ? 0 : (now() - keeper.appliedAt) / 1000,
    ),
    gauge('weft_link_connected', '1 while the link to the controller stands.', () => Number(link.status.isConnected)),
    gauge('weft_link_silence_seconds', 'Since something was last heard from the controller.', () =>
      link.status.heardAt === 0 ? 0 : (now() - link.status.heardAt) / 1000,
    ),
    counter('weft_link_connects_total', 'Links made to a controller.', () => link.status.connects),
    counter('weft_snapshots_applied_total', 'Transactions applied.', () => link.status.applied),
    counter('weft_snapshots_refused_total', 'Transactions refused as a whole.', () => link.status.refused),
    counter('weft_data_thread_restarts_total', 'Data threads that died and were replaced.', () => threads.restarts),
    labelled('weft_event_loop_busy_seconds_total', 'Time that an event loop was not idle.', 'counter', () =>
      threads.facts().map(({ number, busyMs }) => ({ value: busyMs / 1000, labels: { thread: String(number) } })),
    ),
    counter('weft_access_log_dropped_total', 'Lines of the access log that nobody took.', () => sink.dropped),
    labelled('weft_certificates', 'Accounts of this node by whether they have a certificate.', 'gauge', () =>
      certificateSamples(identities()),
    ),
    labelled(
      'weft_certificate_expiry_timestamp_seconds',
      "End of the agent's own certificate, and of the one that ends first.",
      'gauge',
      () => expirySamples(identities()),
    ),
    gauge(
      'weft_certificates_refused',
      'Accounts whose last request for a certificate failed.',
      () => identities().filter(({ problem }) => problem !== '').length,
    ),
    labelled('weft_dns_queries_total', 'DNS queries by the code of the answer.', 'counter', () => dnsSamples(dns())),
    gauge('process_resident_memory_bytes', 'Resident memory.', () => facts.residentBytes()),
    counter('process_cpu_seconds_total', 'CPU time, user and system.', () => facts.cpuSeconds()),
    gauge('process_open_fds', 'Open file descriptors.', () => facts.openFiles()),
    gauge('process_start_time_seconds', 'Start of the process since the epoch.', () => facts.startedAt),
  ]
}

function certificateSamples(identities: KeptIdentity[]): Sample[] {
  const valid = identities.filter(({ expires }) => expires > 0).length
  return [
    { value: valid, labels: { state: 'valid' } },
    { value: identities.length - valid, labels: { state: 'missing' } },
  ]
}

function expirySamples(identities: KeptIdentity[]): Sample[] {
  const own = identities[0]?.expires ?? 0
  const first = Math.min(...identities.map(({ expires }) => expires).filter((expires) => expires > 0))
  return [
    ...(own > 0 ? [{ value: own / 1000, labels: { of: 'own' } }] : []),
    ...(first < Number.POSITIVE_INFINITY ? [{ value: first / 1000, labels: { of: 'first' } }] : []),
  ]
}

function dnsSamples(server: DnsServer | null): Sample[] {
  if (server === null) return []
  const answered = Array.from(server.answered, ([rcode, value]) => ({ value, labels: { rcode } }))
  return [...answered, { value: server.ignored(), labels: { rcode: 'ignored' } }]
}

function one(name: string, help: string, type: Metric['type'], read: () => number): Metric {
  return { name, help, type, read: () => [{ value: read() }] }
}

function labelled(name: string, help: string, type: Metric['type'], read: () => Sample[]): Metric {
  return { name, help, type, read }
}
