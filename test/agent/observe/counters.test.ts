// From a data thread's counters to the metrics page.

import { expect } from 'chai'
import { reasonNumber } from '../../../agent/errors.ts'
import type { FromThread } from '../../../agent/mesh/thread.ts'
import { Counters } from '../../../agent/observe/counters.ts'
import { Gatherer } from '../../../agent/observe/gather.ts'
import { metricsPage, pathMetrics } from '../../../agent/observe/metrics.ts'
import { bucketEndsMs, bucketOf, classOf } from '../../../agent/observe/series.ts'

describe('agent/observe/counters', () => {
  let gatherer: Gatherer

  /** A thread's counters, whose messages reach the gatherer as they would. */
  function thread(number: number, limit = 1000): { counters: Counters; handle: object } {
    const handle = gatherer.join(number)
    const post = (message: FromThread) => {
      const copy = structuredClone(message)
      if (copy.type === 'slots') gatherer.addSlots(handle, (message as typeof copy).buffer)
      else if (copy.type === 'series') gatherer.change(handle, copy)
    }
    return { counters: new Counters(post, limit), handle }
  }

  async function page(): Promise<string[]> {
    await new Promise(setImmediate)
    const lines: string[] = []
    for await (const part of metricsPage(pathMetrics(gatherer))) lines.push(...part.split('\n'))
    return lines.filter((line) => !line.startsWith('#') && line !== '')
  }

  const linesOf = async (metric: string) => (await page()).filter((line) => /^\w+/.exec(line)![0] === metric)

  beforeEach(() => {
    gatherer = new Gatherer()
  })

  it('publishes requests by class and reason, added up over threads', async () => {
    const one = thread(0).counters
    const two = thread(1).counters
    one.route('outbound', 'shop/reviews', 9080, 'shop/reviews-v1:9080').settle(200, -1, 1, 10, 100)
    one.route('outbound', 'shop/reviews', 9080, 'shop/reviews-v1:9080').settle(404, -1, 1, 0, 0)
    one
      .route('outbound', 'shop/reviews', 9080, 'shop/reviews-v1:9080')
      .settle(504, reasonNumber('upstream_timeout'), 1, 0, 0)
    two.route('outbound', 'shop/reviews', 9080, 'shop/reviews-v1:9080').settle(201, -1, 1, 0, 0)
    two.route('outbound', '', 0, '').settle(404, reasonNumber('no_route'), 1, 0, 0)
    const labels = 'direction="outbound",namespace="shop",service="reviews",port="9080",backend="shop/reviews-v1"'
    expect(await linesOf('weft_requests_total')).to.have.members([
      `weft_requests_total{${labels},status_class="2xx",reason=""} 2`,
      `weft_requests_total{${labels},status_class="4xx",reason=""} 1`,
      `weft_requests_total{${labels},status_class="5xx",reason="upstream_timeout"} 1`,
      'weft_requests_total{direction="outbound",namespace="",service="",port="",backend="",status_class="4xx",reason="no_route"} 1',
    ])
    expect(await linesOf('weft_request_bytes_total')).to.include(`weft_request_bytes_total{${labels}} 10`)
    expect(await linesOf('weft_response_bytes_total')).to.include(`weft_response_bytes_total{${labels}} 100`)
  })

  it('publishes durations as a cumulative histogram in seconds', async () => {
    const series = thread(0).counters.route('inbound', 'shop/a', 80, 'shop/a:80')
    for (const ms of [0.1, 0.25, 0.3, 3, 40_000]) series.settle(200, -1, ms, 0, 0)
    const labels = 'direction="inbound",namespace="shop",service="a",port="80",backend="shop/a"'
    const buckets = await linesOf('weft_request_duration_seconds_bucket')
    expect(buckets).to.have.length(19)
    expect(buckets[0]).to.equal(`weft_request_duration_seconds_bucket{${labels},le="0.00025"} 2`)
    expect(buckets[1]).to.equal(`weft_request_duration_seconds_bucket{${labels},le="0.0005"} 3`)
    expect(buckets[17]).to.equal(`weft_request_duration_seconds_bucket{${labels},le="32.768"} 4`)
    expect(buckets[18]).to.equal(`weft_request_duration_seconds_bucket{${labels},le="+Inf"} 5`)
    expect(await linesOf('weft_request_duration_seconds_count')).to.deep.equal([
      `weft_request_duration_seconds_count{${labels}} 5`,
    ])
    const [sum] = await linesOf('weft_request_duration_seconds_sum')
    expect(Number(sum!.split(' ').at(-1))).to.be.closeTo(40.00365, 1e-9)
  })

  it('puts every duration in the bucket whose end is the next above it', () => {
    for (const ms of [0, 0.2, 0.25, 0.2500001, 0.5, 0.51, 1, 7.9, 8, 8.1, 1000, 32_768, 32_769, 1e9]) {
      const index = bucketEndsMs.findIndex((end) => ms <= end)
      expect(bucketOf(ms), `${ms} ms`).to.equal(index < 0 ? 18 : index)
    }
    expect([0, 99, 100, 204, 599, 600, 1000].map(classOf)).to.deep.equal([0, 0, 1, 2, 5, 0, 0])
  })

  it('publishes opaque connections, retries and breakers', async () => {
    const { counters } = thread(0)
    const stream = counters.stream('outbound', 'shop/redis', 6379, 'shop/redis:6379')
    stream.open()
    stream.open()
    stream.bytes(3, 4)
    stream.settle(-1)
    counters.retried('shop/a', 80, 'connect_failed')
    counters.breakerMoved('shop/a:80', 'open')
    counters.breakerMoved('shop/a:80', 'open')
    const labels = 'direction="outbound",namespace="shop",service="redis",port="6379",backend="shop/redis"'
    const lines = await page()
    expect(lines).to.include.members([
      `weft_tcp_connections{${labels}} 1`,
      `weft_tcp_connections_closed_total{${labels},reason=""} 1`,
      `weft_tcp_sent_bytes_total{${labels}} 3`,
      `weft_tcp_received_bytes_total{${labels}} 4`,
      'weft_retries_total{namespace="shop",service="a",port="80",reason="connect_failed"} 1',
      'weft_breaker_changes_total{namespace="shop",service="a",port="80",state="open"} 2',
    ])
  })

  it('publishes scalars: sums, and by thread where a sum means nothing', async () => {
    const one = thread(0).counters
    const two = thread(1).counters
    one.set('upstreamOpen', 3)
    two.set('upstreamOpen', 4)
    one.set('loopLagMs', 1500)
    one.add('settledTwice')
    const lines = await page()
    expect(lines).to.include.members([
      'weft_connections{side="upstream"} 7',
      'weft_connections{side="downstream"} 0',
      'weft_event_loop_lag_seconds{thread="0"} 1.5',
      'weft_event_loop_lag_seconds{thread="1"} 0',
      'weft_exchanges_settled_twice_total 1',
    ])
    expect(lines.filter((line) => line.startsWith('weft_connections{'))).to.have.length(2)
  })

  it('keeps the counts of an ended thread and drops its gauges', async () => {
    const { counters, handle } = thread(0)
    counters.route('outbound', 'shop/a', 80, 'shop/a:80').settle(200, -1, 1, 0, 0)
    counters.stream('outbound', 'shop/r', 1, 'shop/r:1').open()
    counters.set('upstreamOpen', 3)
    counters.add('upstreamOpened', 5)
    await new Promise(setImmediate)
    gatherer.leave(handle)
    thread(0).counters.route('outbound', 'shop/a', 80, 'shop/a:80').settle(200, -1, 1, 0, 0)
    const lines = await page()
    expect(lines.find((line) => line.startsWith('weft_requests_total'))).to.match(/ 2$/)
    expect(lines.find((line) => line.startsWith('weft_tcp_connections{'))).to.match(/ 0$/)
    expect(lines).to.include('weft_connections{side="upstream"} 0')
    expect(lines).to.include('weft_connections_opened_total{side="upstream"} 5')
  })

  it('goes on in a new stretch when one is full', async () => {
    const { counters } = thread(0)
    for (let i = 0; i < 500; i++) counters.route('outbound', `shop/s${i}`, 80, `shop/s${i}:80`).settle(200, -1, 1, 0, 0)
    const lines = await linesOf('weft_requests_total')
    expect(lines).to.have.length(500)
    expect(lines.every((line) => line.endsWith(' 1'))).to.equal(true)
  })

  it('counts what is beyond the limit in one series, and says so', async () => {
    const { counters } = thread(0, 3)
    for (let i = 0; i < 5; i++) {
      const series = counters.route('outbound', `shop/s${i}`, 80, `shop/s${i}:80`)
      series.settle(200, -1, 1, 0, 0)
      series.settle(503, reasonNumber('no_endpoint'), 1, 0, 0)
    }
    const lines = await page()
    const requests = lines.filter((line) => line.startsWith('weft_requests_total'))
    expect(requests.filter((line) => line.includes('service="(other)"'))).to.have.length(2)
    expect(requests.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)).to.equal(10)
    const [refused] = lines.filter((line) => line.startsWith('weft_series_refused_total'))
    expect(Number(refused!.split(' ')[1])).to.be.greaterThan(0)
  })

  it('does not grow with what callers choose', async () => {
    const { counters } = thread(0)
    for (let i = 0; i < 100_000; i++)
      counters.route('outbound', '', 0, '').settle(404, reasonNumber('no_route'), 1, 0, 0)
    expect(await linesOf('weft_requests_total')).to.have.length(1)
  })

  it('forgets the series of a Service ten minutes after it has gone, and uses their places again', async () => {
    const { counters } = thread(0)
    const gone = counters.route('outbound', 'shop/gone', 80, 'shop/gone:80')
    gone.settle(200, -1, 1, 0, 0)
    gone.settle(503, reasonNumber('no_endpoint'), 1, 0, 0)
    counters.route('outbound', 'shop/kept', 80, 'shop/kept:80').settle(200, -1, 1, 0, 0)
    counters.retain(new Map([['shop/kept', null]]))
    counters.tick(60_000)
    counters.tick(600_000)
    expect(await linesOf('weft_requests_total')).to.have.length(3)
    counters.tick(660_000)
    expect(await linesOf('weft_requests_total')).to.have.length(1)
    gone.settle(200, -1, 1, 0, 0)
    expect(await linesOf('weft_requests_total')).to.have.length(1)
    counters.route('outbound', 'shop/new', 80, 'shop/new:80').settle(200, -1, 1, 0, 0)
    const lines = await linesOf('weft_requests_total')
    expect(lines).to.have.length(2)
    expect(lines.every((line) => line.endsWith(' 1'))).to.equal(true)
  })

  it('keeps the series of a Service that comes back in time', async () => {
    const { counters } = thread(0)
    counters.route('outbound', 'shop/a', 80, 'shop/a:80').settle(200, -1, 1, 0, 0)
    counters.retain(new Map())
    counters.tick(60_000)
    counters.retain(new Map([['shop/a', null]]))
    counters.tick(600_000)
    counters.retain(new Map())
    counters.tick(700_000)
    counters.tick(1_200_000)
    expect(await linesOf('weft_requests_total')).to.have.length(1)
  })
})
