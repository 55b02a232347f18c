// The validating webhook over HTTP: its bounds, and what it counts.

import { connect } from 'node:net'
import { expect } from 'chai'
import { type Admission, admissionPath, openAdmission } from '../../../controller/admission/handle.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import { type Server, startServer } from '../../../controller/serve.ts'
import { testLog } from '../../support/authority.ts'
import { FakeClock } from '../../support/clock.ts'
import { until } from '../../support/until.ts'

describe('admission: over HTTP', () => {
  let admission: Admission
  let server: Server
  let clock: FakeClock
  const log = testLog()

  beforeEach(async () => {
    clock = new FakeClock()
    admission = openAdmission({ settings: defaultSettings, clock, log })
    server = await startServer('127.0.0.1', 0, [admission.handle])
  })
  afterEach(() => server.close(0))

  const post = (body: string, path = `${admissionPath}?timeout=5s`) =>
    fetch(`http://127.0.0.1:${server.port}${path}`, { method: 'POST', body })

  function reviewOf(weights: unknown[]): string {
    const backends = weights.map((weight) => ({ service: 'a', weight }))
    const spec = { service: 'web', backends }
    const object = { apiVersion: 'split.smi-spec.io/v1alpha2', kind: 'TrafficSplit', metadata: { name: 's' }, spec }
    const request = { uid: 'u', operation: 'CREATE', namespace: 'shop', object }
    return JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request })
  }

  it('answers reviews, and counts them by what was said', async () => {
    for (const [weights, allowed] of [
      [[1], true],
      [[1, 1], true],
      [['x'], false],
    ] as const) {
      const response = await post(reviewOf([...weights]))
      expect(response.status).to.equal(200)
      const { response: said } = (await response.json()) as { response: { uid: string; allowed: boolean } }
      expect(said).to.include({ uid: 'u', allowed })
    }
    expect(admission.counts).to.deep.equal({ allowed: 1, warned: 1, denied: 1, failed: 0 })
  })

  it('has one path and one method', async () => {
    expect((await post(reviewOf([1]), '/v1/other')).status).to.equal(404)
    const response = await fetch(`http://127.0.0.1:${server.port}${admissionPath}`)
    expect(response.status).to.equal(405)
    expect(response.headers.get('allow')).to.equal('POST')
  })

  it('says what is wrong with a body that is no review', async () => {
    for (const body of ['', '{', '[]', '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}']) {
      const response = await post(body)
      expect(response.status, body).to.equal(400)
      expect(((await response.json()) as { error: string }).error).to.not.equal('internal')
    }
    expect(admission.counts.failed).to.equal(4)
  })

  it('refuses a body beyond its limit without waiting for its end', async () => {
    const socket = connect(server.port, '127.0.0.1')
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    socket.on('error', () => {})
    socket.write(`POST ${admissionPath} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n`)
    const piece = Buffer.alloc(1 << 20, 32)
    for (let i = 0; i < 8; i++) socket.write(piece)
    await until(() => text.startsWith('HTTP/1.1 413'), 'the refusal')
    socket.destroy()
  })

  it('takes no more than its share of the time', async () => {
    // Each look at the clock takes 150 ms of it: so does every review.
    const { now } = clock
    clock.now = () => {
      clock.tick(150)
      return now.call(clock)
    }
    const statuses: number[] = []
    for (let i = 0; i < 20; i++) statuses.push((await post(reviewOf([1]))).status)
    expect(statuses.slice(0, 3)).to.deep.equal([200, 200, 200])
    expect(statuses.filter((status) => status === 503).length).to.be.within(5, 17)
    clock.now = now
    clock.tick(10_000)
    expect((await post(reviewOf([1]))).status).to.equal(200)
  })
})
