// Control thread: what the pods of this node answered, under the names that Istio, Linkerd and Open Service Mesh gave it on
// the server's side, so that Flagger's built-in checks and other people's queries find it. Ours are in metrics.ts.

import type { Gatherer, Total } from './gather.ts'
import type { Metric, Sample } from './metrics.ts'
import { bucketEndsMs, served, slotsOf } from './series.ts'

/** Whose names can be had. */
export const lenders = ['istio', 'linkerd', 'osm'] as const
export type Lender = (typeof lenders)[number]

type Labels = Readonly<Record<string, string>>

interface Names {
  requests: string
  durations: string
  /** Labels of a workload. */
  workload(namespace: string, name: string): Labels
  /** Labels of a status. */
  status(status: string): Labels
}

/** What controls a pod is called a Deployment here, whatever it is: that is what those who ask put into their queries. */
const names: Record<Lender, Names> = {
  istio: {
    requests: 'istio_requests_total',
    durations: 'istio_request_duration_milliseconds',
    workload: (namespace, name) => ({
      reporter: 'destination',
      destination_workload_namespace: namespace,
      destination_workload: name,
    }),
    status: (status) => ({ response_code: status }),
  },
  linkerd: {
    requests: 'response_total',
    durations: 'response_latency_ms',
    workload: (namespace, name) => ({ direction: 'inbound', namespace, deployment: name }),
    status: (status) => ({ status_code: status, classification: status.startsWith('5') ? 'failure' : 'success' }),
  },
  osm: {
    requests: 'osm_request_total',
    durations: 'osm_request_duration_ms',
    workload: (namespace, name) => ({
      destination_namespace: namespace,
      destination_kind: 'Deployment',
      destination_name: name,
    }),
    status: (status) => ({ response_code: status }),
  },
}

/** The metrics under these names. */
export function borrowedMetrics(gatherer: Gatherer, wanted: readonly Lender[]): Metric[] {
  return wanted.flatMap((lender) => metricsOf(gatherer, names[lender]))
}

function metricsOf(gatherer: Gatherer, { requests, durations, workload, status }: Names): Metric[] {
  return [
    {
      name: requests,
      help: 'Requests that the pods of a workload on this node answered, by status.',
      type: 'counter',
      read: () =>
        gatherer.totals('answered', slotsOf('answered')).map(({ labels, slots }) => ({
          value: slots[0]!,
          labels: { ...workload(labels[0]!, labels[1]!), ...status(labels[2]!) },
        })),
    },
    {
      name: durations,
      help: 'What they took, in ms.',
      type: 'histogram',
      read: () =>
        gatherer
          .totals('served', slotsOf('served'))
          .flatMap((total) => histogram(durations, workload(total.labels[0]!, total.labels[1]!), total)),
    },
  ]
}

function histogram(name: string, labels: Labels, { slots }: Total): Sample[] {
  let count = 0
  const buckets = [...bucketEndsMs.map(String), '+Inf'].map((le, i): Sample => {
    count += slots[served.buckets + i]!
    return { value: count, labels: { ...labels, le }, metricName: `${name}_bucket` }
  })
  return [
    ...buckets,
    { value: slots[served.sumMs]!, labels, metricName: `${name}_sum` },
    { value: count, labels, metricName: `${name}_count` },
  ]
}
