// DNS answers as a function, and over real sockets.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect } from 'chai'
import dns from 'dns-packet'
import { answerQuery } from '../../../agent/dns/answer.ts'
import { type DnsServer, serveDns } from '../../../agent/dns/serve.ts'
import { reversed, zoneOf } from '../../../agent/dns/zone.ts'
import { nothing, Reader, type Wanted } from '../../../agent/mesh/store.ts'
import type { Resource } from '../../../controller/contract/resources.ts'
import { QuietLog } from '../../support/quiet.ts'
import { mesh, service } from '../../support/resources.ts'
import { seededRandom } from '../../support/snapshot.ts'

function wanted(...resources: Resource[]): Wanted {
  const reader = new Reader('1', null)
  for (const resource of resources) reader.take({ type: 'set', resource }, JSON.stringify({ type: 'set', resource }))
  return reader.finish({ type: 'commit', version: '1', count: resources.length })
}

const zone = zoneOf(
  wanted(
    mesh,
    service('shop/reviews'),
    service('shop/redis', { address: '10.96.7.7' }),
    service('shop/reviews-v1', { enrolled: false }),
    service('other/only-backend', { enrolled: false }),
  ),
)

function query(name: string, type: string, more: Partial<dns.Packet> = {}): Buffer {
  const question = { name, type, class: 'IN' } as dns.Question
  return dns.encode({ type: 'query', id: 4711, flags: dns.RECURSION_DESIRED, questions: [question], ...more })
}

function ask(name: string, type = 'A', more: Partial<dns.Packet> = {}, from = zone): dns.DecodedPacket {
  return dns.decode(answerQuery(query(name, type, more), from, false)!.bytes)
}

const rcodeOf = (packet: dns.DecodedPacket) => (packet as unknown as { rcode: string }).rcode

describe('agent/dns/answer', () => {
  it('gives the mesh Service’s address, or the dedicated one', () => {
    const shared = ask('reviews.shop.mesh.internal')
    expect(shared.answers).to.deep.equal([
      { name: 'reviews.shop.mesh.internal', type: 'A', ttl: 5, class: 'IN', flush: false, data: '10.96.0.20' },
    ])
    expect(shared).to.include({
      id: 4711,
      type: 'response',
      flag_aa: true,
      flag_rd: true,
      flag_ra: false,
      flag_tc: false,
    })
    expect(ask('redis.shop.mesh.internal').answers![0]).to.include({ data: '10.96.7.7' })
  })

  it('gives each IP family its own address, and IPv6 alone where the cluster has nothing else', () => {
    const dual = zoneOf(
      wanted(
        { ...mesh, secondAddress: 'fd00:96::20' },
        service('shop/reviews'),
        service('shop/redis', { address: 'fd00:96::7', secondAddress: '10.96.7.7' }),
      ),
    )
    const data = (name: string, type: string, from = dual) =>
      ask(`${name}.shop.mesh.internal`, type, {}, from).answers!.map((answer) => [
        answer.type,
        'data' in answer && answer.data,
      ])
    expect(data('reviews', 'A')).to.deep.equal([['A', '10.96.0.20']])
    expect(data('reviews', 'AAAA')).to.deep.equal([['AAAA', 'fd00:96::20']])
    expect(data('redis', 'AAAA')).to.deep.equal([['AAAA', 'fd00:96::7']])
    expect(data('redis', 'ANY')).to.deep.equal([
      ['AAAA', 'fd00:96::7'],
      ['A', '10.96.7.7'],
    ])
    const six = zoneOf(wanted({ ...mesh, address: 'fd00:96::20' }, service('shop/reviews')))
    expect(data('reviews', 'AAAA', six)).to.deep.equal([['AAAA', 'fd00:96::20']])
    expect(data('reviews', 'A', six)).to.deep.equal([])
  })

  it('matches without regard to case and gives the question back as it came', () => {
    const answer = ask('ReViews.Shop.MESH.internal')
    expect(answer.questions![0]!.name).to.equal('ReViews.Shop.MESH.internal')
    expect(answer.answers![0]).to.include({ name: 'ReViews.Shop.MESH.internal', data: '10.96.0.20' })
  })

  it('gives the number and the address of a named port', () => {
    const answer = ask('_http._tcp.reviews.shop.mesh.internal', 'SRV')
    expect(answer.answers).to.have.length(1)
    expect(answer.answers![0]).to.deep.include({
      name: '_http._tcp.reviews.shop.mesh.internal',
      type: 'SRV',
      ttl: 5,
      data: { priority: 0, weight: 100, port: 80, target: 'reviews.shop.mesh.internal' },
    })
    expect(answer.additionals).to.have.length(1)
    expect(answer.additionals![0]).to.include({ name: 'reviews.shop.mesh.internal', type: 'A', data: '10.96.0.20' })
    expect(ask('_HTTP._TCP.reviews.shop.mesh.internal', 'SRV').answers).to.have.length(1)
    expect(ask('_http._tcp.reviews.shop.mesh.internal', 'ANY').answers).to.have.length(1)
    for (const [name, type] of [
      ['_http._tcp.reviews.shop', 'A'],
      ['_tcp.reviews.shop', 'SRV'],
    ] as const) {
      const empty = ask(`${name}.mesh.internal`, type)
      expect([rcodeOf(empty), empty.answers, empty.authorities![0]!.type], name).to.deep.equal(['NOERROR', [], 'SOA'])
    }
    for (const name of [
      '_http._udp.reviews.shop',
      '_udp.reviews.shop',
      '_grpc._tcp.reviews.shop',
      'http._tcp.reviews.shop',
      'a._http._tcp.reviews.shop',
      '_http._tcp.reviews-v1.shop',
      '_http._tcp.nobody.shop',
    ]) {
      const answer = ask(`${name}.mesh.internal`, 'SRV')
      expect([rcodeOf(answer), answer.additionals], name).to.deep.equal(['NXDOMAIN', []])
    }
  })

  it('gives addresses back their names, and no others', () => {
    const name = (address: string) => `${address.split('.').reverse().join('.')}.in-addr.arpa`
    expect(ask(name('10.96.7.7'), 'PTR').answers![0]).to.deep.include({
      type: 'PTR',
      ttl: 5,
      data: 'redis.shop.mesh.internal',
    })
    // Most Services share one address: its name is the domain, which leads back to it.
    expect(ask(name('10.96.0.20').toUpperCase(), 'PTR').answers![0]).to.include({ data: 'mesh.internal' })
    expect(ask('mesh.internal', 'A').answers![0]).to.include({ type: 'A', data: '10.96.0.20' })
    const other = ask(name('10.96.7.7'), 'A')
    expect([rcodeOf(other), other.answers, other.authorities]).to.deep.equal(['NOERROR', [], []])
    for (const foreign of [name('10.96.7.8'), 'in-addr.arpa', '7.7.96.10.in-addr.arpa.example', '1.2.in-addr.arpa']) {
      expect(rcodeOf(ask(foreign, 'PTR')), foreign).to.equal('REFUSED')
    }
  })

  it('reads names of the reverse tree', () => {
    expect(reversed('7.7.96.10.in-addr.arpa')).to.equal('10.96.7.7')
    const six = '5.3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa'
    expect(reversed(six)).to.equal('fd00::35')
    expect(reversed(six.slice(2))).to.equal(null)
    expect(reversed('mesh.internal')).to.equal(null)
    const dual = zoneOf(wanted({ ...mesh, secondAddress: 'fd00::35' }, service('shop/reviews')))
    expect(ask(six, 'PTR', {}, dual).answers![0]).to.include({ data: 'mesh.internal' })
    expect(
      ask('_http._tcp.reviews.shop.mesh.internal', 'SRV', {}, dual).additionals!.map(({ type }) => type),
    ).to.deep.equal(['A', 'AAAA'])
  })

  it('says at the domain itself who answers', () => {
    expect(ask('mesh.internal', 'NS').answers![0]).to.include({ type: 'NS', data: 'mesh.internal' })
    const soa = ask('mesh.internal', 'SOA').answers![0] as dns.SoaAnswer
    expect(soa.data).to.include({ mname: 'mesh.internal', rname: 'hostmaster.mesh.internal', minimum: 5 })
    const empty = ask('mesh.internal', 'TXT')
    expect([rcodeOf(empty), empty.answers, empty.authorities![0]!.type]).to.deep.equal(['NOERROR', [], 'SOA'])
  })

  it('answers other types of a known name with nothing, and when to ask again', () => {
    for (const type of ['AAAA', 'SRV', 'TXT', 'HTTPS', 'MX']) {
      const answer = ask('reviews.shop.mesh.internal', type)
      expect(rcodeOf(answer), type).to.equal('NOERROR')
      expect(answer.answers).to.deep.equal([])
      expect(answer.authorities![0]).to.include({ type: 'SOA', name: 'mesh.internal', ttl: 5 })
    }
    expect(ask('reviews.shop.mesh.internal', 'ANY').answers).to.have.length(1)
  })

  it('knows what does not exist, and what is only a backend', () => {
    for (const name of ['nobody.shop', 'reviews.nowhere', 'a.reviews.shop', 'reviews-v1.shop', 'nowhere', 'other']) {
      const answer = ask(`${name}.mesh.internal`)
      expect(rcodeOf(answer), name).to.equal('NXDOMAIN')
      expect(answer.authorities![0]!.type).to.equal('SOA')
    }
    expect(rcodeOf(ask('shop.mesh.internal')), 'an empty non-terminal').to.equal('NOERROR')
    expect(rcodeOf(ask('mesh.internal'))).to.equal('NOERROR')
    expect(ask('mesh.internal', 'SOA').answers![0]!.type).to.equal('SOA')
  })

  it('refuses names that are not its own, and classes', () => {
    for (const name of ['example.com', 'xmesh.internal', 'internal', '']) {
      expect(rcodeOf(ask(name)), name).to.equal('REFUSED')
    }
    const chaos = { questions: [{ name: 'mesh.internal', type: 'TXT', class: 'CH' }] } as Partial<dns.Packet>
    expect(rcodeOf(ask('', 'A', chaos))).to.equal('REFUSED')
  })

  it('says that it does not know yet: no snapshot, or no address', () => {
    expect(rcodeOf(ask('reviews.shop.mesh.internal', 'A', {}, zoneOf(nothing)))).to.equal('SERVFAIL')
    const early = zoneOf(wanted({ ...mesh, address: '' }, service('shop/reviews')))
    expect(rcodeOf(ask('reviews.shop.mesh.internal', 'A', {}, early))).to.equal('SERVFAIL')
  })

  it('speaks EDNS version 0', () => {
    const opt = (ednsVersion: number): Partial<dns.Packet> => ({
      additionals: [
        {
          type: 'OPT',
          name: '.',
          udpPayloadSize: 4096,
          extendedRcode: 0,
          ednsVersion,
          flags: 0,
          flag_do: false,
          options: [],
        },
      ],
    })
    const answer = ask('reviews.shop.mesh.internal', 'A', opt(0))
    expect(answer.additionals![0]).to.include({ type: 'OPT', udpPayloadSize: 1232, ednsVersion: 0 })
    expect(ask('reviews.shop.mesh.internal').additionals).to.deep.equal([])
    const bad = ask('reviews.shop.mesh.internal', 'A', opt(1))
    expect(bad.additionals![0]).to.include({ extendedRcode: 1 })
    expect(bad.answers).to.deep.equal([])
  })

  it('refuses what is no plain question', () => {
    const question = { name: 'mesh.internal', type: 'A', class: 'IN' } as dns.Question
    expect(rcodeOf(ask('', 'A', { questions: [] }))).to.equal('FORMERR')
    expect(rcodeOf(ask('', 'A', { questions: [question, question] }))).to.equal('FORMERR')
    const update = query('mesh.internal', 'A')
    update[2] = 5 << 3
    expect(rcodeOf(dns.decode(answerQuery(update, zone, false)!.bytes))).to.equal('NOTIMP')
    const cut = query('mesh.internal', 'A').subarray(0, 15)
    expect(rcodeOf(dns.decode(answerQuery(cut, zone, false)!.bytes))).to.equal('FORMERR')
    expect(answerQuery(cut.subarray(0, 11), zone, false)).to.equal(null)
  })

  it('never answers a response', () => {
    expect(answerQuery(dns.encode({ type: 'response', id: 1, questions: [] }), zone, false)).to.equal(null)
  })

  it('is cut for a datagram that can’t hold it, not for a stream', () => {
    const long = [63, 63, 63, 45].map((length) => 'x'.repeat(length)).join('.')
    const wide = zoneOf(wanted({ ...mesh, meshDomain: long }, service('s/r')))
    const name = `r.s.${long}`
    const datagram = dns.decode(answerQuery(query(name, 'AAAA'), wide, false)!.bytes)
    expect(datagram).to.include({ flag_tc: true, rcode: 'NOERROR' })
    expect(datagram.authorities).to.deep.equal([])
    expect(dns.decode(answerQuery(query(name, 'AAAA'), wide, true)!.bytes).authorities).to.have.length(1)
  })

  it('survives garbled queries: an answer or none, never an exception', () => {
    const random = seededRandom(7)
    const whole = query('reviews.shop.mesh.internal', 'A')
    for (let i = 0; i < 20_000; i++) {
      const bent = Buffer.from(whole)
      for (let n = 0; n <= random() * 4; n++) bent[Math.floor(random() * bent.length)] = Math.floor(random() * 256)
      const answer = answerQuery(bent.subarray(0, Math.floor(random() * (bent.length + 1))), zone, false)
      if (answer !== null) expect(answer.bytes.length).to.be.at.most(1232)
    }
  })
})

describe('agent/dns/serve', () => {
  let server: DnsServer
  beforeEach(async () => {
    server = await serveDns({ address: '127.0.0.1', port: 0, zone: () => zone, log: new QuietLog() })
  })
  afterEach(() => server.close())

  it('answers by UDP', async () => {
    const socket = createSocket('udp4')
    socket.send(query('reviews.shop.mesh.internal', 'A'), server.port, '127.0.0.1')
    const [bytes] = (await once(socket, 'message')) as [Buffer]
    socket.close()
    expect(dns.decode(bytes).answers![0]).to.include({ data: '10.96.0.20' })
    expect(server.answered.get('noerror')).to.equal(1)
  })

  it('answers by TCP: several queries, in pieces, in their order', async () => {
    const socket = connect(server.port, '127.0.0.1')
    const framed = Buffer.concat(
      ['reviews', 'redis', 'nobody'].map((name) => {
        const bytes = query(`${name}.shop.mesh.internal`, 'A')
        return Buffer.concat([Buffer.from([0, bytes.length]), bytes])
      }),
    )
    for (const at of [0, 1, 5, 60]) socket.write(framed.subarray(at, { 0: 1, 1: 5, 5: 60, 60: framed.length }[at]))
    const answers: string[] = []
    let held = Buffer.alloc(0)
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      held = Buffer.concat([held, chunk])
      while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
        const packet = dns.decode(held.subarray(2, 2 + held.readUInt16BE(0)))
        const [first] = packet.answers!
        answers.push(first?.type === 'A' ? first.data : rcodeOf(packet))
        held = held.subarray(2 + held.readUInt16BE(0))
      }
      if (answers.length === 3) break
    }
    expect(answers).to.deep.equal(['10.96.0.20', '10.96.7.7', 'NXDOMAIN'])
  })

  it('closes a stream that sends nonsense', async () => {
    const socket = connect(server.port, '127.0.0.1')
    socket.write(Buffer.from([0, 3, 1, 2, 3]))
    socket.resume()
    await once(socket, 'close')
    expect(server.ignored()).to.equal(1)
  })

  it('says which port it could not open', async () => {
    let failure: NodeJS.ErrnoException | null = null
    try {
      await serveDns({ address: '127.0.0.1', port: server.port, zone: () => zone, log: new QuietLog() })
    } catch (error) {
      failure = error as NodeJS.ErrnoException
    }
    expect(failure?.code).to.equal('EADDRINUSE')
  })
})
