// From samples to figures: medians, spreads, ratios, the table and the JSON.

/** One measurement of one proxy in one round. */
export interface Sample {
  readonly cpuUs: number
  readonly requests: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly errors: number
}

/** One line of the result; the names are those of the JSON file. */
export interface Row {
  case: string
  proxy: string
  connections: number
  /** Median of the rounds, with the lowest and the highest. */
  cpu_us_per_request: number
  cpu_us_min: number
  cpu_us_max: number
  rps: number
  p50_ms: number
  p99_ms: number
  rss_mib: number
  requests: number
  /** Responses other than 2xx, and failed connections: a row with errors proves nothing. */
  errors: number
  /** Case `large`: response bytes for each second of CPU. */
  gib_per_cpu_second?: number
  /** Case `latency`: what the proxy adds to the origin's own. */
  added_p50_ms?: number
  added_p99_ms?: number
  /** Case `latency`: the rate that was asked for; a proxy that falls behind it has no latency worth the name. */
  target_rps?: number
  /** Case `idle`. */
  bytes_per_connection?: number
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half]! : ((sorted[half - 1] ?? 0) + (sorted[half] ?? 0)) / 2
}

/** Figures of one proxy over all rounds. */
export function summarise(name: string, proxy: string, connections: number, rss: number, samples: Sample[]): Row {
  const costs = samples.map((sample) => sample.cpuUs / sample.requests)
  return {
    case: name,
    proxy,
    connections,
    cpu_us_per_request: round(median(costs), 2),
    cpu_us_min: round(Math.min(...costs), 2),
    cpu_us_max: round(Math.max(...costs), 2),
    rps: Math.round(median(samples.map((sample) => sample.requests / sample.seconds))),
    p50_ms: round(median(samples.map((sample) => sample.p50Ms)), 3),
    p99_ms: round(median(samples.map((sample) => sample.p99Ms)), 3),
    rss_mib: round(rss / (1 << 20), 1),
    requests: samples.reduce((sum, sample) => sum + sample.requests, 0),
    errors: samples.reduce((sum, sample) => sum + sample.errors, 0),
  }
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

/** The figure by which a case is judged; less is better. */
function figure(row: Row): number {
  return row.bytes_per_connection ?? (row.case === 'latency' ? row.p99_ms : row.cpu_us_per_request)
}

/**
 * The agent against each other proxy of the same case and number of connections, by the case's figure: CPU per request,
 * for `latency` p99, for `idle` bytes of memory; for `threads` two data threads against one. Below 1 the first is better.
 */
export function ratios(rows: readonly Row[]): Record<string, number> {
  const found: Record<string, number> = {}
  for (const row of rows) {
    const first = row.case === 'threads' ? 'weft-2' : 'weft'
    if (row.proxy === first || row.proxy === 'direct') continue
    const own = rows.find(
      (other) => other.proxy === first && other.case === row.case && other.connections === row.connections,
    )
    if (own === undefined || figure(row) === 0) continue
    found[`${row.case}/${row.connections} ${first}:${row.proxy}`] = round(figure(own) / figure(row), 3)
  }
  return found
}

const columns: [string, (row: Row) => string][] = [
  ['case', (row) => `${row.case}/${row.connections}`],
  ['proxy', (row) => row.proxy],
  ['cpu µs/request (min–max)', (row) => `${row.cpu_us_per_request} (${row.cpu_us_min}–${row.cpu_us_max})`],
  ['requests/s', (row) => `${row.rps}`],
  ['p50 ms', (row) => `${row.p50_ms}`],
  ['p99 ms', (row) => `${row.p99_ms}`],
  ['rss MiB', (row) => `${row.rss_mib}`],
  ['', remark],
]

function remark(row: Row): string {
  const parts: string[] = []
  if (row.gib_per_cpu_second !== undefined) parts.push(`${row.gib_per_cpu_second} GiB per CPU second`)
  if (row.added_p50_ms !== undefined) parts.push(`adds p50 ${row.added_p50_ms} ms, p99 ${row.added_p99_ms} ms`)
  if (row.target_rps !== undefined && row.rps < 0.97 * row.target_rps) parts.push('DOES NOT CARRY THIS RATE')
  if (row.bytes_per_connection !== undefined) parts.push(`${row.bytes_per_connection} bytes per connection`)
  if (row.errors > 0) parts.push(`${row.errors} ERRORS`)
  return parts.join('; ')
}

/** The rows as aligned text. */
export function table(rows: readonly Row[]): string {
  const cells = [columns.map(([title]) => title), ...rows.map((row) => columns.map(([, cell]) => cell(row)))]
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]!.length)))
  return cells
    .map((line) =>
      line
        .map((cell, at) => (at < 2 ? cell.padEnd(widths[at]!) : at < 7 ? cell.padStart(widths[at]!) : cell))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
