// PromQL, as much of it as canary tools send: sums of rates of counters, quotients of them, quantiles of histograms, over
// scrapes that a test takes of real metrics pages. It computes from their text alone, by Prometheus's rules where these
// matter: matchers are anchored, a series that was seen once has no rate, a counter that fell was reset, 0/0 is no number.

type Labels = Readonly<Record<string, string>>

interface Point {
  labels: Labels
  value: number
}

interface Scrape {
  atMs: number
  /** By name and labels as they stand there. */
  values: Map<string, Point & { name: string }>
}

export interface Recording {
  /** Takes the text of one target's metrics page; the target becomes the label `instance`. */
  add(atMs: number, pages: Readonly<Record<string, string>>): void
  /**
   * Evaluates a query over the scrapes of its range; the range ends with the last one.
   * @returns the one value; null where Prometheus has no data
   * @throws Error if the query is none of those that are understood
   */
  query(text: string): number | null
}

/** Begins with no scrapes. */
export function openRecording(): Recording {
  const scrapes: Scrape[] = []
  return {
    add(atMs, pages) {
      const values: Scrape['values'] = new Map()
      for (const [instance, page] of Object.entries(pages)) {
        for (const line of page.split('\n')) readLine(line, instance, values)
      }
      scrapes.push({ atMs, values })
    },
    query(text) {
      const points = new Evaluator(text, scrapes).evaluate()
      if (points.length > 1) throw new Error(`the query has ${points.length} results: ${text}`)
      return points[0]?.value ?? null
    },
  }
}

function readLine(line: string, instance: string, values: Scrape['values']): void {
  const parts = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)
  if (line.startsWith('#') || parts === null) return
  const [, name = '', inner = '', value = ''] = parts
  const labels = { ...readLabels(inner), instance }
  values.set(`${name} ${JSON.stringify(labels)}`, { name, labels, value: Number(value.replace('Inf', 'Infinity')) })
}

function readLabels(text: string): Labels {
  const pairs = text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)",?/g)
  return Object.fromEntries([...pairs].map(([, name, value]) => [name!, JSON.parse(`"${value}"`) as string]))
}

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const tokenForm = /\s*([\w.]+|"(?:[^"\\]|\\.)*"|=~|!~|!=|[-+*/(){}[\],=])/gy

/** A query: its words, and where it has been read to. */
class Evaluator {
  private readonly text: string
  private readonly scrapes: readonly Scrape[]
  private readonly words: string[]
  private at = 0

  constructor(text: string, scrapes: readonly Scrape[]) {
    this.text = text
    this.scrapes = scrapes
    this.words = [...text.trim().matchAll(tokenForm)].map(([, word]) => word!)
    if (this.words.join('') !== text.replace(/\s/g, '')) throw new Error(`not understood: ${text}`)
  }

  evaluate(): Point[] {
    const result = this.product()
    if (this.at < this.words.length) throw new Error(`not understood from ${this.words[this.at]}: ${this.text}`)
    return result
  }

  /** Quotients and products, from the left. */
  private product(): Point[] {
    let left = this.operand()
    while (this.words[this.at] === '/' || this.words[this.at] === '*') {
      const operator = this.words[this.at++]
      const right = this.operand()
      // One value on each side, as sums without `by` give it; no data on either side is no data.
      if (left.length > 1 || right.length > 1) throw new Error(`vectors can't be matched here: ${this.text}`)
      const [a] = left
      const [b] = right
      const value = operator === '/' ? (a?.value ?? 0) / (b?.value ?? 0) : (a?.value ?? 0) * (b?.value ?? 0)
      left = a === undefined || b === undefined ? [] : [{ labels: {}, value }]
    }
    return left
  }

  private operand(): Point[] {
    const word = this.words[this.at++] ?? ''
    if (/^[\d.]+$/.test(word)) return [{ labels: {}, value: Number(word) }]
    if (word === '(') return this.closed(() => this.product())
    if (word === 'sum') return this.sum()
    if (word === 'rate' || word === 'irate') return this.rate()
    if (word === 'histogram_quantile') return this.quantile()
    throw new Error(`not understood at ${word}: ${this.text}`)
  }

  private sum(): Point[] {
    let by = this.by()
    this.expect('(')
    const points = this.closed(() => this.product())
    by = by.length > 0 ? by : this.by()
    const groups = Map.groupBy(points, ({ labels }) => by.map((name) => labels[name] ?? '').join('\n'))
    return [...groups.values()].map((members) => ({
      labels: Object.fromEntries(by.map((name) => [name, members[0]!.labels[name] ?? ''])),
      value: members.reduce((total, { value }) => total + value, 0),
    }))
  }

  private by(): string[] {
    if (this.words[this.at] !== 'by') return []
    this.at++
    this.expect('(')
    const end = this.words.indexOf(')', this.at)
    const names = this.words.slice(this.at, end).filter((word) => word !== ',')
    this.at = end + 1
    return names
  }

  private rate(): Point[] {
    this.expect('(')
    const name = this.words[this.at++] ?? ''
    const isWanted = this.matchers()
    this.expect('[')
    const [, amount = '', unit = ''] = /^(\d+)(ms|s|m|h)$/.exec(this.words[this.at++] ?? '') ?? []
    this.expect(']')
    this.expect(')')
    const rangeMs = Number(amount) * units[unit]!
    const end = this.scrapes.at(-1)?.atMs ?? 0
    const within = this.scrapes.filter(({ atMs }) => atMs >= end - rangeMs)
    const series = new Map<string, { labels: Labels; samples: [number, number][] }>()
    for (const { atMs, values } of within) {
      for (const [key, point] of values) {
        if (point.name !== name || !isWanted(point.labels)) continue
        const known = series.get(key) ?? { labels: point.labels, samples: [] }
        known.samples.push([atMs, point.value])
        series.set(key, known)
      }
    }
    return [...series.values()].flatMap(({ labels, samples }) => {
      if (samples.length < 2) return []
      let increase = 0
      for (let i = 1; i < samples.length; i++) {
        const before = samples[i - 1]![1]
        const now = samples[i]![1]
        increase += now < before ? now : now - before
      }
      const seconds = (samples.at(-1)![0] - samples[0]![0]) / 1000
      return [{ labels, value: increase / seconds }]
    })
  }

  private matchers(): (labels: Labels) => boolean {
    const tests: ((labels: Labels) => boolean)[] = []
    if (this.words[this.at] === '{') {
      this.at++
      while (this.words[this.at] !== '}') {
        const name = this.words[this.at++]!
        const operator = this.words[this.at++]!
        const value = JSON.parse(this.words[this.at++]!) as string
        const expression = new RegExp(`^(?:${value})$`)
        const isMatch = (own: string) => (operator.endsWith('~') ? expression.test(own) : own === value)
        tests.push((labels) => isMatch(labels[name] ?? '') !== operator.startsWith('!'))
        if (this.words[this.at] === ',') this.at++
      }
      this.at++
    }
    return (labels) => tests.every((test) => test(labels))
  }

  private quantile(): Point[] {
    this.expect('(')
    const [{ value: wanted } = { value: 0 }] = this.operand()
    this.expect(',')
    const buckets = this.closed(() => this.product())
      .map(({ labels, value }) => ({ end: Number((labels['le'] ?? '').replace('+Inf', 'Infinity')), count: value }))
      .sort((a, b) => a.end - b.end)
    const total = buckets.at(-1)?.count ?? 0
    if (total === 0) return []
    const rank = wanted * total
    const index = buckets.findIndex(({ count }) => count >= rank)
    const bucket = buckets[index]!
    // As Prometheus: in the open bucket the end of the one before; within a bucket, as if its values were spread evenly.
    if (bucket.end === Number.POSITIVE_INFINITY) return [{ labels: {}, value: buckets[index - 1]?.end ?? Number.NaN }]
    const from = buckets[index - 1] ?? { end: 0, count: 0 }
    const share = (rank - from.count) / (bucket.count - from.count)
    return [{ labels: {}, value: from.end + (bucket.end - from.end) * share }]
  }

  private closed(read: () => Point[]): Point[] {
    const points = read()
    this.expect(')')
    return points
  }

  private expect(word: string): void {
    if (this.words[this.at++] !== word)
      throw new Error(`${word} is missing after ${this.words[this.at - 2]}: ${this.text}`)
  }
}
