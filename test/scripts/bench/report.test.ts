// The benchmark's arithmetic, and one short run of the whole.

import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { parseWrk } from '../../../scripts/bench/load.ts'
import { median, type Row, ratios, type Sample, summarise, table } from '../../../scripts/bench/report.ts'

const script = fileURLToPath(new URL('../../../scripts/bench/main.ts', import.meta.url))

const sample = (cpuUs: number, errors = 0): Sample => ({
  cpuUs,
  requests: 100,
  seconds: 2,
  p50Ms: 1,
  p99Ms: 5,
  errors,
})

describe('npm run bench', () => {
  it('takes the middle of the rounds, and shows how far they spread', () => {
    expect(median([3, 1, 2])).to.equal(2)
    expect(median([4, 1, 2, 3])).to.equal(2.5)
    const row = summarise('get', 'weft', 32, 10 << 20, [sample(3000), sample(1000), sample(2000, 1)])
    expect(row).to.deep.include({
      cpu_us_per_request: 20,
      cpu_us_min: 10,
      cpu_us_max: 30,
      rps: 50,
      rss_mib: 10,
      errors: 1,
    })
    expect(table([row]))
      .to.include('20 (10–30)')
      .and.include('1 ERRORS')
  })

  it('compares by what each case is about', () => {
    const row = (name: string, proxy: string, change: Partial<Row>): Row => ({
      ...summarise(name, proxy, 32, 0, [sample(2000)]),
      ...change,
    })
    const rows = [
      row('get', 'weft', { cpu_us_per_request: 30 }),
      row('get', 'nginx', { cpu_us_per_request: 20 }),
      row('latency', 'weft', { p99_ms: 1 }),
      row('latency', 'nginx', { p99_ms: 2 }),
      row('latency', 'direct', { p99_ms: 0.5 }),
      row('idle', 'weft', { bytes_per_connection: 600 }),
      row('idle', 'nginx', { bytes_per_connection: 500 }),
      row('threads', 'weft', { cpu_us_per_request: 20 }),
      row('threads', 'weft-2', { cpu_us_per_request: 21 }),
      row('post', 'nginx', {}),
    ]
    expect(ratios(rows)).to.deep.equal({
      'get/32 weft:nginx': 1.5,
      'latency/32 weft:nginx': 0.5,
      'idle/32 weft:nginx': 1.2,
      'threads/32 weft-2:weft': 1.05,
    })
  })

  it('reads what wrk prints', () => {
    const text = `Running 5s test @ http://127.0.0.1:1/
  Latency Distribution
     50%  432.00us
     75%    1.00ms
     99%    1.20s
  301780 requests in 5.00s, 60.00MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 4
Requests/sec:  60356.00
`
    const found = parseWrk(text)
    expect({ ...found, p50Ms: Math.round(found.p50Ms * 1000) }).to.deep.equal({
      requests: 301_780,
      seconds: 5,
      p50Ms: 432,
      p99Ms: 1200,
      errors: 10,
    })
    expect(() => parseWrk('unable to connect')).to.throw('wrk printed: unable to connect')
  })

  it('runs, and leaves nothing behind', async function () {
    this.timeout(60_000)
    const folder = mkdtempSync(join(tmpdir(), 'weft-test-'))
    const left = () => readdirSync(tmpdir()).filter((name) => name.startsWith(`weft-bench-`))
    const before = left()
    try {
      const file = join(folder, 'figures.json')
      const flags = ['--case', 'get', '--proxy', 'weft,node', '--connections', '2', '--rounds', '1', '--seconds', '1']
      const { stdout } = await promisify(execFile)(process.execPath, [script, ...flags, '--json', file])
      expect(stdout).to.include('get/2 weft:node')
      const { cases, ratios } = JSON.parse(readFileSync(file, 'utf8')) as { cases: Row[]; ratios: object }
      expect(cases.map(({ proxy }) => proxy)).to.deep.equal(['weft', 'node'])
      for (const row of cases) {
        expect(row.cpu_us_per_request).to.be.greaterThan(0)
        // On a machine that is busy with other tests the agent may shed some load.
        expect(row.errors).to.be.lessThan(row.requests / 10)
        expect(row.rss_mib).to.be.greaterThan(20)
      }
      expect(ratios).to.have.property('get/2 weft:node')
      expect(left()).to.deep.equal(before)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('says what is wrong with its command line', async () => {
    const run = promisify(execFile)(process.execPath, [script, '--case', 'nothing'])
    const failed = await run.then(
      () => null,
      (error: { stderr: string }) => error.stderr,
    )
    expect(failed).to.include('nothing is none of get, crowd')
  })
})
