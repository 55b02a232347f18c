// Where a data thread's counters lie in shared memory, and what each slot means: the one agreement between the thread
// that counts (counters.ts) and the control thread that publishes (metrics.ts).

/** Requests of one (direction, service, port, backend). */
export const route = {
  kind: 'route',
  labels: ['direction', 'namespace', 'service', 'port', 'backend'],
  /** Requests that the mesh did not end itself, by status class: [0] none sent, [1] 1xx … [5] 5xx. */
  classes: 0,
  /** Durations by bucket (bucketOf), then their sum in ms. */
  buckets: 6,
  sumMs: 25,
  bytesUp: 26,
  bytesDown: 27,
  size: 28,
} as const

/** Opaque connections of one (direction, service, port, backend). */
export const stream = {
  kind: 'stream',
  labels: route.labels,
  open: 0,
  bytesUp: 1,
  bytesDown: 2,
  size: 3,
} as const

/** What the pods of a workload on this node answered: durations by bucket (bucketOf), then their sum in ms. */
export const served = { buckets: 0, sumMs: 19, size: 20 } as const

/** Counters that are touched rarely: one slot for each set of labels. All label values come from closed sets. */
export const cells = {
  /** Requests that the mesh ended, by reason (and the class of the status that went down before it). */
  ended: [...route.labels, 'status_class', 'reason'],
  /** Opaque connections that have ended. */
  closed: [...route.labels, 'reason'],
  /** Further attempts, by what ended the one before. */
  retries: ['namespace', 'service', 'port', 'reason'],
  /** Refusals by access rules; the rule is the TrafficTarget that came closest, or empty. */
  denials: ['source', 'destination', 'cause', 'rule'],
  /** Copies of requests for another Service, by what became of them (mirror/mirror.ts). */
  mirrors: ['namespace', 'service', 'port', 'target', 'outcome'],
  /** Changes of breakers, by the backend they belong to. */
  breakers: ['namespace', 'service', 'port', 'state'],
  /** How long the pods of a workload took; more than one slot: `served`. Counted only where other names are wanted. */
  served: ['namespace', 'workload'],
  /** What they answered, by status. */
  answered: ['namespace', 'workload', 'status'],
} as const

export type CellKind = keyof typeof cells

/** Slots of each kind. */
export function slotsOf(kind: CellKind): number {
  return kind === 'served' ? served.size : 1
}

/** Status classes as labels, by their number. */
export const statusClasses = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const

/** Number of a status' class; 0 for what is no status. */
export function classOf(status: number): number {
  const number = (status / 100) | 0
  return number > 5 ? 0 : number
}

/** Upper ends of the duration buckets in ms: 0.25 ms doubling to 32.8 s; one more bucket is open-ended. */
export const bucketEndsMs: readonly number[] = Array.from({ length: 18 }, (_, i) => 0.25 * 2 ** i)

/** The bucket of a duration in ms. */
export function bucketOf(ms: number): number {
  if (ms <= 0.25) return 0
  return ms > 32_768 ? 18 : 32 - Math.clz32(Math.ceil(ms * 4) - 1)
}

interface ScalarFacts {
  readonly metric: string
  /** Gauges that mean nothing when added up carry the thread as a label. */
  readonly type: 'counter' | 'gauge' | 'gauge by thread'
  readonly help: string
  readonly labels?: Readonly<Record<string, string>>
}

const scalarFacts = {
  downstreamOpen: {
    metric: 'weft_connections',
    type: 'gauge',
    help: 'Open connections.',
    labels: { side: 'downstream' },
  },
  upstreamOpen: { metric: 'weft_connections', type: 'gauge', help: 'Open connections.', labels: { side: 'upstream' } },
  downstreamOpened: {
    metric: 'weft_connections_opened_total',
    type: 'counter',
    help: 'Connections opened.',
    labels: { side: 'downstream' },
  },
  upstreamOpened: {
    metric: 'weft_connections_opened_total',
    type: 'counter',
    help: 'Connections opened.',
    labels: { side: 'upstream' },
  },
  downstreamRefused: {
    metric: 'weft_connections_refused_total',
    type: 'counter',
    help: "Callers' connections refused by a limit or while draining.",
  },
  upstreamFailed: {
    metric: 'weft_connections_failed_total',
    type: 'counter',
    help: 'Connections to endpoints that could not be made.',
  },
  poolIdle: { metric: 'weft_pool_idle_connections', type: 'gauge', help: 'Kept connections to endpoints.' },
  poolReused: {
    metric: 'weft_pool_reused_total',
    type: 'counter',
    help: 'Exchanges that went over a kept connection.',
  },
  inFlight: { metric: 'weft_exchanges_in_flight', type: 'gauge', help: 'Exchanges not settled yet.' },
  settledTwice: {
    metric: 'weft_exchanges_settled_twice_total',
    type: 'counter',
    help: 'Exchanges settled more than once: a bug of the agent.',
  },
  unsettled: {
    metric: 'weft_exchanges_unsettled_total',
    type: 'counter',
    help: 'Exchanges dropped without being settled: a bug of the agent.',
  },
  queued: { metric: 'weft_requests_queued', type: 'gauge', help: "Requests waiting for one of their caller's places." },
  callersWaiting: {
    metric: 'weft_callers_waiting',
    type: 'gauge',
    help: 'Connections whose pod is not known yet.',
  },
  callersUnknown: {
    metric: 'weft_callers_unknown_total',
    type: 'counter',
    help: 'Connections that stayed without identity.',
  },
  budgetSpent: {
    metric: 'weft_retries_denied_total',
    type: 'counter',
    help: 'Retries that the budget did not allow.',
  },
  callerErrors: {
    metric: 'weft_parse_errors_total',
    type: 'counter',
    help: 'Messages that are not well-formed.',
    labels: { side: 'downstream' },
  },
  endpointErrors: {
    metric: 'weft_parse_errors_total',
    type: 'counter',
    help: 'Messages that are not well-formed.',
    labels: { side: 'upstream' },
  },
  seriesRefused: {
    metric: 'weft_series_refused_total',
    type: 'counter',
    help: 'Uses of label sets beyond --series-limit, counted under (other).',
  },
  sessionsDialled: {
    metric: 'weft_tunnel_sessions',
    type: 'gauge',
    help: 'Open connections between agents.',
    labels: { side: 'dialled' },
  },
  sessionsServed: {
    metric: 'weft_tunnel_sessions',
    type: 'gauge',
    help: 'Open connections between agents.',
    labels: { side: 'served' },
  },
  streamsDialled: {
    metric: 'weft_tunnel_streams',
    type: 'gauge',
    help: 'Open streams on connections between agents.',
    labels: { side: 'dialled' },
  },
  streamsServed: {
    metric: 'weft_tunnel_streams',
    type: 'gauge',
    help: 'Open streams on connections between agents.',
    labels: { side: 'served' },
  },
  unreadBytes: {
    metric: 'weft_tunnel_unread_bytes',
    type: 'gauge by thread',
    help: 'Held for streams that nobody reads; above 128 MiB the thread gives peers no more window.',
  },
  unsentBytes: {
    metric: 'weft_tunnel_unsent_bytes',
    type: 'gauge by thread',
    help: 'Held for streams whose peers take no more.',
  },
  loopLagMs: {
    metric: 'weft_event_loop_lag_seconds',
    type: 'gauge by thread',
    help: 'Longest delay of a timer in the last second.',
  },
} as const satisfies Record<string, ScalarFacts>

export type ScalarName = keyof typeof scalarFacts

/** All scalars, in the order of their slots. */
export const scalars: readonly (ScalarFacts & { readonly name: ScalarName })[] = Object.entries(scalarFacts).map(
  ([name, facts]) => ({ name: name as ScalarName, ...facts }),
)

/** The slot of each scalar, at the beginning of a thread's first stretch. */
export const scalar = Object.fromEntries(scalars.map(({ name }, slot) => [name, slot])) as Readonly<
  Record<ScalarName, number>
>
