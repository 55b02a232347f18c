// Control thread: the metrics page. prom-client keeps the registry and writes the text; the values come from the data
// threads' counters as they stand at that moment, without its inc() and observe(), which cost too much on the path.

import type { Registry } from 'prom-client'
import type { Gatherer, Total } from './gather.ts'
import { bucketEndsMs, type CellKind, cells, route, scalars, statusClasses, stream } from './series.ts'

type Labels = Readonly<Record<string, string>>

/** One line of the page. */
export interface Sample {
  readonly value: number
  readonly labels?: Labels
  /** Where it differs from the metric's name: `…_bucket`, `…_sum`, `…_count`. */
  readonly metricName?: string
}

/** A metric whose values are taken when they are asked for. */
export interface Metric {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly read: () => Sample[]
}

function labelled(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? '']))
}

/** The metrics that the data threads' counters make up. */
export function pathMetrics(gatherer: Gatherer): Metric[] {
  const routes = () => gatherer.totals(route.kind, route.size)
  const streams = () => gatherer.totals(stream.kind, stream.size, [stream.open])
  const slotOf = (totals: () => Total[], slot: number) => () =>
    totals().map(({ labels, slots }) => ({ value: slots[slot]!, labels: labelled(route.labels, labels) }))
  const cell = (kind: CellKind) => () =>
    gatherer.totals(kind, 1).map(({ labels, slots }) => ({ value: slots[0]!, labels: labelled(cells[kind], labels) }))
  return [
    {
      name: 'weft_requests_total',
      help: 'Requests that have ended, by the status class sent and the reason if the mesh ended them.',
      type: 'counter',
      read: () => [...routes().flatMap(byClass), ...cell('ended')()],
    },
    {
      name: 'weft_request_duration_seconds',
      help: 'From the complete head of the request to the end of the response.',
      type: 'histogram',
      read: () => routes().flatMap(durations),
    },
    {
      name: 'weft_request_bytes_total',
      help: 'Bytes of request bodies.',
      type: 'counter',
      read: slotOf(routes, route.bytesUp),
    },
    {
      name: 'weft_response_bytes_total',
      help: 'Bytes of response bodies.',
      type: 'counter',
      read: slotOf(routes, route.bytesDown),
    },
    {
      name: 'weft_tcp_connections',
      help: 'Open opaque connections.',
      type: 'gauge',
      read: slotOf(streams, stream.open),
    },
    {
      name: 'weft_tcp_connections_closed_total',
      help: 'Opaque connections that have ended, by the reason if the mesh ended them.',
      type: 'counter',
      read: cell('closed'),
    },
    {
      name: 'weft_tcp_sent_bytes_total',
      help: 'Bytes of opaque connections from callers.',
      type: 'counter',
      read: slotOf(streams, stream.bytesUp),
    },
    {
      name: 'weft_tcp_received_bytes_total',
      help: 'Bytes of opaque connections to callers.',
      type: 'counter',
      read: slotOf(streams, stream.bytesDown),
    },
    {
      name: 'weft_retries_total',
      help: 'Further attempts, by what ended the one before.',
      type: 'counter',
      read: cell('retries'),
    },
    {
      name: 'weft_denials_total',
      help: 'Requests and connections refused by access rules.',
      type: 'counter',
      read: cell('denials'),
    },
    {
      name: 'weft_mirrored_requests_total',
      help: 'Copies of requests for another Service, by what became of them.',
      type: 'counter',
      read: cell('mirrors'),
    },
    {
      name: 'weft_breaker_changes_total',
      help: 'Changes of circuit breakers, by the state they went to.',
      type: 'counter',
      read: cell('breakers'),
    },
    ...scalarMetrics(gatherer),
  ]
}

function byClass({ labels, slots }: Total): Sample[] {
  const shared = labelled(route.labels, labels)
  return statusClasses.flatMap((name, i) => {
    const value = slots[route.classes + i]!
    return value === 0 ? [] : [{ value, labels: { ...shared, status_class: name, reason: '' } }]
  })
}

function durations({ labels, slots }: Total): Sample[] {
  const shared = labelled(route.labels, labels)
  const samples: Sample[] = []
  let count = 0
  for (let i = 0; i <= bucketEndsMs.length; i++) {
    count += slots[route.buckets + i]!
    const end = bucketEndsMs[i]
    const le = end === undefined ? '+Inf' : String(end / 1000)
    samples.push({ value: count, labels: { ...shared, le }, metricName: 'weft_request_duration_seconds_bucket' })
  }
  const sum = slots[route.sumMs]! / 1000
  samples.push({ value: sum, labels: shared, metricName: 'weft_request_duration_seconds_sum' })
  samples.push({ value: count, labels: shared, metricName: 'weft_request_duration_seconds_count' })
  return samples
}

/** Scalars that share a metric's name differ in their labels. */
function scalarMetrics(gatherer: Gatherer): Metric[] {
  const metrics = new Map<string, Metric>()
  for (const [slot, { metric, type, help, labels = {} }] of scalars.entries()) {
    const isByThread = type === 'gauge by thread'
    const scale = metric.includes('_seconds') ? 1000 : 1
    const read = (): Sample[] => {
      const { live, ended } = gatherer.scalar(slot)
      if (isByThread) {
        return live.map(({ thread, value }) => ({ value: value / scale, labels: { thread: String(thread) } }))
      }
      const sum = live.reduce((total, { value }) => total + value, type === 'counter' ? ended : 0)
      return [{ value: sum / scale, labels }]
    }
    const before = metrics.get(metric)
    const all = before === undefined ? read : () => [...before.read(), ...read()]
    metrics.set(metric, { name: metric, help, type: type === 'counter' ? 'counter' : 'gauge', read: all })
  }
  return [...metrics.values()]
}

/** The page of these metrics, a metric at a time, so that nothing else on this thread waits for all of it. */
export async function* metricsPage(metrics: readonly Metric[]): AsyncGenerator<string> {
  // Loaded by the first who asks: an agent that nobody scrapes does without its megabytes.
  const { Registry } = await import('prom-client')
  const registry = new Registry()
  for (const { name, help, type, read } of metrics) {
    const metric = { name, help, type, get: async () => ({ name, help, type, values: read() }) }
    registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0])
    yield `${await registry.getSingleMetricAsString(name)}\n`
    await new Promise(setImmediate)
  }
}

/** Content type of the page (Prometheus text format 0.0.4). */
export const metricsType = 'text/plain; version=0.0.4; charset=utf-8'
