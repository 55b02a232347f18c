// The agents' DNS as dig sees it: what no test of our own codec would notice.

import { execFile, execFileSync } from 'node:child_process'
import { expect } from 'chai'
import { type DnsServer, serveDns } from '../../../agent/dns/serve.ts'
import { zoneOf } from '../../../agent/dns/zone.ts'
import { Reader } from '../../../agent/mesh/store.ts'
import { QuietLog } from '../../support/quiet.ts'
import { mesh, service } from '../../support/resources.ts'

describe('agent/dns as dig sees it', () => {
  let server: DnsServer

  before(async function () {
    try {
      execFileSync('dig', ['-v'], { stdio: 'ignore' })
    } catch {
      this.skip()
    }
    const resources = [mesh, service('shop/reviews'), service('shop/redis', { address: '10.96.7.7' })]
    const reader = new Reader('1', null)
    for (const resource of resources) reader.take({ type: 'set', resource }, JSON.stringify({ type: 'set', resource }))
    const zone = zoneOf(reader.finish({ type: 'commit', version: '1', count: resources.length }))
    server = await serveDns({ address: '127.0.0.1', port: 0, zone: () => zone, log: new QuietLog() })
  })
  after(() => server?.close())

  const dig = (...args: string[]) =>
    new Promise<string>((done) => {
      const all = ['@127.0.0.1', '-p', String(server.port), '+tries=1', '+time=2', ...args]
      execFile('dig', all, (_error, out) => done(out))
    })
  const records = (text: string) =>
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith(';'))
      .map((line) => line.replace(/\s+/g, ' '))

  for (const way of ['+notcp', '+tcp']) {
    it(`is understood by ${way}`, async () => {
      const text = await dig(way, 'reviews.shop.mesh.internal', 'A')
      expect(text)
        .to.match(/status: NOERROR/)
        .and.match(/flags: qr aa rd;/)
        .and.match(/EDNS: version: 0, flags:; udp: 1232/)
      expect(text).to.not.match(/WARNING: Message|malformed|trailing/i)
      expect(records(text)).to.deep.equal(['reviews.shop.mesh.internal. 5 IN A 10.96.0.20'])
    })
  }

  it('knows ports, names of addresses, and where there is nothing', async () => {
    expect(records(await dig('_http._tcp.redis.shop.mesh.internal', 'SRV'))).to.deep.equal([
      '_http._tcp.redis.shop.mesh.internal. 5 IN SRV 0 100 80 redis.shop.mesh.internal.',
      'redis.shop.mesh.internal. 5 IN A 10.96.7.7',
    ])
    expect(records(await dig('-x', '10.96.7.7'))).to.deep.equal([
      '7.7.96.10.in-addr.arpa. 5 IN PTR redis.shop.mesh.internal.',
    ])
    const soa = /^mesh\.internal\. 5 IN SOA mesh\.internal\. hostmaster\.mesh\.internal\. 1 3600 600 86400 5$/
    const empty = await dig('reviews.shop.mesh.internal', 'AAAA')
    expect(empty)
      .to.match(/status: NOERROR/)
      .and.match(/ANSWER: 0, AUTHORITY: 1/)
    expect(records(empty)[0]).to.match(soa)
    const none = await dig('nobody.shop.mesh.internal')
    expect(none).to.match(/status: NXDOMAIN/)
    expect(records(none)[0]).to.match(soa)
    expect(await dig('+noedns', 'example.com')).to.match(/status: REFUSED/)
    expect(await dig('+edns=1', '+noednsneg', 'mesh.internal')).to.match(/status: BADVERS/)
  })
})
