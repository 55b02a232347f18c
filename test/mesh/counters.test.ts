// What two agents say about themselves while they carry something, sampled once a second.

import { expect } from 'chai'
import { type Pair, type PairOptions, startPair } from '../support/pair.ts'
import { type RawSocket, rawConnect } from '../support/raw.ts'
import { until } from '../support/until.ts'

describe('mesh: counters', () => {
  let pair: Pair
  const callers: RawSocket[] = []

  async function start(options: PairOptions = {}): Promise<void> {
    pair = await startPair(options)
  }
  afterEach(async () => {
    for (const caller of callers.splice(0)) caller.destroy()
    await pair.stop()
  })

  async function connect(): Promise<RawSocket> {
    const caller = await rawConnect(pair.near.port, pair.near.address, pair.caller)
    callers.push(caller)
    return caller
  }
  const get = (lines = '') => `GET / HTTP/1.1\r\nHost: web-mesh.shop\r\n${lines}\r\n`
  const value = (place: 'near' | 'far', name: string, labels: Record<string, string> = {}) =>
    pair[place]
      .metric(name)
      .find((sample) => Object.entries(labels).every(([label, wanted]) => sample.labels?.[label] === wanted))?.value ??
    0

  it('tell what is in flight, and over which tunnels', async () => {
    let answer = () => {}
    await start({
      handler: (_request, response) => {
        answer = () => response.end('late')
      },
    })
    const caller = await connect()
    caller.send(get())
    await until(() => value('near', 'weft_exchanges_in_flight') === 1, 'the exchange', 5_000)
    await until(() => value('far', 'weft_exchanges_in_flight') === 1, 'the exchange', 5_000)
    expect(value('near', 'weft_tunnel_sessions', { side: 'dialled' })).to.equal(1)
    expect(value('near', 'weft_tunnel_streams', { side: 'dialled' })).to.equal(1)
    expect(value('far', 'weft_tunnel_sessions', { side: 'served' })).to.equal(1)
    expect(value('far', 'weft_tunnel_streams', { side: 'served' })).to.equal(1)
    expect(value('far', 'weft_tunnel_sessions', { side: 'dialled' })).to.equal(0)
    answer()
    expect(await caller.readMessage()).to.match(/^HTTP\/1\.1 200 /)
    await until(() => value('near', 'weft_exchanges_in_flight') === 0, 'its end', 5_000)
    expect(value('near', 'weft_exchanges_unsettled_total')).to.equal(0)
    expect(value('far', 'weft_exchanges_unsettled_total')).to.equal(0)
  })

  it('tell which side sends what is no HTTP', async () => {
    await start({
      onSocket: (socket) => {
        socket.on('error', () => {})
        socket.once('data', () => socket.end('HTTP/1.1 20O OK\r\n\r\n'))
      },
    })
    for (const flaw of [
      'GET /\r\n\r\n',
      'GET / HTTP/3.0\r\nHost: a\r\n\r\n',
      get('Content-Length: 1\r\nContent-Length: 2\r\n'),
    ]) {
      const caller = await connect()
      caller.send(flaw)
      await caller.gone()
    }
    await until(() => value('near', 'weft_parse_errors_total', { side: 'downstream' }) === 3, 'the flaws')
    const caller = await connect()
    caller.send(get())
    expect(await caller.readMessage()).to.match(/^HTTP\/1\.1 502 [\s\S]*upstream_invalid/)
    await until(() => value('far', 'weft_parse_errors_total', { side: 'upstream' }) === 1, "the pod's flaw")
    expect(value('near', 'weft_parse_errors_total', { side: 'upstream' })).to.equal(0)

    // On its own node the attempt is made again, and each is counted.
    await pair.place('near')
    caller.send(get())
    expect(await caller.readMessage()).to.match(/^HTTP\/1\.1 502 [\s\S]*upstream_invalid/)
    await until(() => value('near', 'weft_parse_errors_total', { side: 'upstream' }) === 2, "the pod's flaws")
  })

  it('tell what a tunnel holds for those who do not read', async () => {
    await start({
      handler: (_request, response) => {
        response.end(Buffer.alloc(8 << 20))
      },
    })
    const caller = await connect()
    caller.socket.pause()
    caller.send(get())
    // The sum of this process: both threads of the test share it.
    await until(() => value('near', 'weft_tunnel_unread_bytes') > 100_000, 'bytes that nobody reads', 5_000)
    expect(value('near', 'weft_tunnel_unread_bytes')).to.be.lessThan(1 << 20)
    caller.destroy()
    await until(() => value('near', 'weft_tunnel_unread_bytes') === 0, 'their end', 5_000)
  })

  it('are not held up by pooled streams: a session that is to end ends', async () => {
    await start({ flags: ['--pool-idle-timeout', '1h'] })
    const caller = await connect()
    caller.send(get())
    await caller.readMessage()
    expect(pair.near.thread.hop.counts.idle).to.equal(1)
    expect(pair.far.thread['parts'].tunnel.openSessions).to.equal(1)
    // As when a certificate ends, or the peer is replaced.
    pair.near.thread['parts'].dialer.drain()
    // Sooner than the pod closes what is idle.
    await until(() => pair.far.thread['parts'].tunnel.openSessions === 0, 'the end of the session', 3_000)
    expect(pair.near.thread.hop.counts.idle).to.equal(0)
  })

  it('and one in use ends with its exchange', async () => {
    let answer = () => {}
    await start({
      handler: (_request, response) => {
        answer = () => response.end('late')
        response.write('begun')
      },
    })
    const caller = await connect()
    caller.send(get())
    await caller.readThrough('begun')
    pair.near.thread['parts'].dialer.drain()
    answer()
    await caller.readThrough('0\r\n\r\n')
    await until(() => pair.far.thread['parts'].tunnel.openSessions === 0, 'the end of the session')
    expect(pair.near.thread.hop.counts.idle).to.equal(0)
  })
})
