// Lines of the access log.

import { Writable } from 'node:stream'
import { expect } from 'chai'
import { Exchange } from '../../../agent/exchange.ts'
import { AccessRecorder, AccessSink, accessLine } from '../../../agent/observe/accesslog.ts'
import { FakeClock } from '../../support/clock.ts'
import { backend, endpoint, service, snapshot, workload } from '../../support/snapshot.ts'

function exchange(path = '/a', headers: Record<string, string> = {}): Exchange {
  const head = { method: 'GET', path, host: 'reviews-mesh', header: (name: string) => headers[name] ?? null }
  const made = new Exchange(
    'outbound',
    snapshot(),
    { address: '10.0.0.9', workload: workload('10.0.0.9', 'shop/page') },
    head as unknown as Exchange['request'],
    0,
  )
  made.port = service({ key: 'shop/reviews' }).ports.get(9080)!
  made.backend = backend([])
  made.endpoint = endpoint('10.0.1.1', { node: 'node2' })
  made.status = 200
  made.attempts = 2
  made.bytesUp = 3
  made.bytesDown = 4
  return made
}

describe('agent/observe/accesslog', () => {
  it('has the names that users know', () => {
    const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const line = accessLine(exchange('/a', { traceparent: parent }), 1.23456, Date.UTC(2026, 0, 2))
    expect(line.endsWith('}\n')).to.equal(true)
    expect(JSON.parse(line)).to.deep.equal({
      time: '2026-01-02T00:00:00.000Z',
      direction: 'outbound',
      'src.addr': '10.0.0.9',
      'src.workload': 'page-pod',
      'src.namespace': 'shop',
      'src.identity': 'spiffe://cluster.local/ns/shop/sa/page',
      'dst.addr': '10.0.1.1:8080',
      'dst.workload': 'pod-10.0.1.1',
      'dst.namespace': 'shop',
      'dst.identity': 'spiffe://cluster.local/ns/shop/sa/reviews',
      'dst.service': 'reviews.shop:9080',
      upstream: 'shop/reviews:9080',
      method: 'GET',
      host: 'reviews-mesh',
      path: '/a',
      status: 200,
      bytes_sent: 3,
      bytes_recv: 4,
      duration_ms: 1.235,
      retries: 1,
      trace_id: '0af7651916cd43dd8448eb211c80319c',
    })
  })

  it('says why the mesh ended an exchange that got nowhere', () => {
    const lost = new Exchange('outbound', snapshot(), { address: '10.0.0.9', workload: null }, null, 0)
    lost.reason = 'bad_request'
    lost.status = 400
    expect(JSON.parse(accessLine(lost, 0, 0))).to.include({
      reason: 'bad_request',
      'src.addr': '10.0.0.9',
      'dst.addr': '',
    })
  })

  it('stays one line whatever a caller sends (log injection)', () => {
    for (const evil of ['/a\n{"status":200}', '/"', '/\\', '/\u0000\u001b[2J', '/\u2028', '/\r']) {
      const line = accessLine(exchange(evil, { traceparent: '00-"}\n' }), 1, 0)
      expect(line.indexOf('\n')).to.equal(line.length - 1)
      expect(JSON.parse(line).path).to.equal(evil)
      expect(line).not.to.match(/[\u0000-\u0009\u000b-\u001f]/)
    }
  })

  it('hands lines over in batches: after a tenth of a second, or when there are many', () => {
    const clock = new FakeClock()
    const posted: string[] = []
    const recorder = new AccessRecorder((message) => message.type === 'lines' && posted.push(message.text), clock)
    recorder.record(exchange(), 1)
    recorder.record(exchange(), 1)
    expect(posted).to.deep.equal([])
    clock.tick(100)
    expect(posted.map((text) => text.split('\n').length - 1)).to.deep.equal([2])
    for (let i = 0; i < 200; i++) recorder.record(exchange(), 1)
    expect(posted.length).to.be.greaterThan(1)
    recorder.flush()
    expect(posted.join('').split('\n').length - 1).to.equal(202)
  })

  it('drops lines rather than hold more than 8 MiB for a reader that stalls', () => {
    const stuck = new Writable({ write() {} })
    const sink = new AccessSink(stuck)
    const lines = `${'x'.repeat(1023)}\n`.repeat(64)
    for (let i = 0; i < 200; i++) sink.write(lines)
    expect(stuck.writableLength).to.be.at.most(8 * 1024 * 1024)
    expect(sink.dropped).to.equal(200 * 64 - stuck.writableLength / 1024)
  })
})
