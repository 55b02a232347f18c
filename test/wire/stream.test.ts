// Opaque connections byte by byte: what has no HTTP in it, on a dedicated mesh port.

import { expect } from 'chai'
import { FakeClock } from '../support/clock.ts'
import { RawServer, type RawSocket } from '../support/raw.ts'
import { type Bed, startBed } from '../support/rawmesh.ts'
import { endpoints, service, spec, split } from '../support/resources.ts'
import { until } from '../support/until.ts'

const meshPort = 16400

describe('opaque connections on the wire', () => {
  let bed: Bed
  let clock: FakeClock | null = null

  async function open(): Promise<void> {
    bed = await startBed(clock === null ? {} : { clock })
    const port = { number: 5432, name: 'tcp-sql', protocol: 'tcp' as const, splits: [] }
    await bed.agent.apply(
      { kind: 'port', name: `${meshPort}`, port: 5432, service: { name: 'shop/sql', uid: 'uid-shop/sql' } },
      service('shop/sql', { ports: [port] }),
      endpoints('shop/sql:5432', spec('127.0.0.1', { port: bed.server.port })),
    )
  }
  beforeEach(open)
  afterEach(async () => {
    clock = null
    // A half-open connection is none that the agent may end.
    for (const connection of bed.server.connections) connection.destroy()
    await bed.stop()
  })

  async function connected(): Promise<{ caller: RawSocket; endpoint: RawSocket }> {
    const caller = await bed.caller(meshPort)
    return { caller, endpoint: await bed.server.next() }
  }

  it('connects before the caller says anything: the endpoint may speak first', async () => {
    const { caller, endpoint } = await connected()
    endpoint.send('220 ready\r\n')
    expect(await caller.read(11)).to.equal('220 ready\r\n')
    caller.send('EHLO x\r\n')
    expect(await endpoint.read(8)).to.equal('EHLO x\r\n')
  })

  it('carries every byte, whatever it looks like', async () => {
    const { caller, endpoint } = await connected()
    const bytes = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join('')
    for (const text of [
      bytes,
      'GET / HTTP/1.1\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      '\x16\x03\x01\x02\x00',
      bytes.repeat(4000),
    ]) {
      caller.send(text)
      expect((await endpoint.read(text.length)) === text).to.equal(true)
      endpoint.send(text)
      expect((await caller.read(text.length)) === text).to.equal(true)
    }
  })

  it('passes the end of each direction on by itself', async () => {
    const { caller, endpoint } = await connected()
    caller.send('question')
    caller.end()
    expect((await endpoint.gone()).rest).to.equal('question')
    endpoint.send('answer')
    expect(await caller.read(6)).to.equal('answer')
    endpoint.send(' and more')
    endpoint.end()
    expect(await caller.gone()).to.deep.equal({ how: 'end', rest: ' and more' })
    await until(() => bed.agent.settled.length === 1, 'the end of the exchange')
    expect(bed.agent.settled[0]).to.deep.include({ reason: null, bytesUp: 8, bytesDown: 15 })
  })

  it('passes the endpoint’s end on first, then the caller’s', async () => {
    const { caller, endpoint } = await connected()
    endpoint.send('bye')
    endpoint.end()
    expect(await caller.gone()).to.deep.equal({ how: 'end', rest: 'bye' })
    caller.send('last words')
    caller.end()
    expect((await endpoint.gone()).rest).to.equal('last words')
  })

  it('passes a reset on, in both directions', async () => {
    const one = await connected()
    one.caller.send('x')
    await one.endpoint.read(1)
    one.caller.reset()
    await until(() => one.endpoint.isClosed || one.endpoint.hasEnded, 'the end at the endpoint')
    expect(one.endpoint.isReset).to.equal(true)
    const two = await connected()
    two.endpoint.send('x')
    await two.caller.read(1)
    two.endpoint.reset()
    await until(() => two.caller.isClosed || two.caller.hasEnded, 'the end at the caller')
    expect(two.caller.isReset).to.equal(true)
  })

  it('resets when there is no endpoint, or none that answers', async () => {
    await bed.agent.apply(endpoints('shop/sql:5432'))
    const none = await bed.caller(meshPort)
    await until(() => none.isClosed || none.hasEnded, 'the end')
    expect(none.isReset).to.equal(true)
    const dead = await RawServer.listen()
    const { port } = dead
    await dead.stop()
    await bed.agent.apply(endpoints('shop/sql:5432', spec('127.0.0.1', { port })))
    const refused = await bed.caller(meshPort)
    await until(() => refused.isClosed || refused.hasEnded, 'the end')
    expect(refused.isReset).to.equal(true)
    expect(bed.agent.settled.map(({ reason }) => reason)).to.deep.equal(['no_endpoint', 'connect_failed'])
  })

  it('goes to another endpoint when the first can’t be reached', async () => {
    const dead = await RawServer.listen()
    const { port } = dead
    await dead.stop()
    await bed.agent.apply(
      endpoints('shop/sql:5432', spec('127.0.0.1', { port }), spec('127.0.0.1', { port: bed.server.port })),
    )
    bed.server.each((connection) => connection.send('here'))
    for (let count = 0; count < 10; count++) {
      const caller = await bed.caller(meshPort)
      expect(await caller.read(4)).to.equal('here')
      caller.destroy()
    }
  })

  it('stops either side while the other does not read', async () => {
    const { caller, endpoint } = await connected()
    for (const [reader, writer] of [
      [caller, endpoint],
      [endpoint, caller],
    ] as const) {
      reader.socket.pause()
      const sent = await writer.sendUntilStuck()
      reader.socket.resume()
      await until(() => reader.unread.length === sent, 'that all arrives in the end')
      await reader.read(reader.unread.length)
    }
  })

  it('ends a connection in which nothing moves for 5 minutes', async () => {
    await bed.stop()
    clock = new FakeClock()
    await open()
    const { caller, endpoint } = await connected()
    for (let minute = 0; minute < 4; minute++) clock.tick(60_000)
    caller.send('x')
    await endpoint.read(1)
    for (let minute = 0; minute < 4; minute++) clock.tick(60_000)
    endpoint.send('y')
    await caller.read(1)
    for (let minute = 0; minute < 6; minute++) clock.tick(60_000)
    await until(() => caller.isClosed || caller.hasEnded, 'the end at the caller')
    await until(() => endpoint.isClosed || endpoint.hasEnded, 'the end at the endpoint')
  })

  it('splits connection by connection', async () => {
    const other = await RawServer.listen()
    try {
      bed.server.each((connection) => connection.send('a').end())
      other.each((connection) => connection.send('b').end())
      const splits = [split('shop/sql-split', { 'shop/sql': 700, 'shop/new': 300 })]
      const port = { number: 5432, name: 'tcp-sql', protocol: 'tcp' as const, splits }
      await bed.agent.apply(
        service('shop/sql', { ports: [port] }),
        service('shop/new', { enrolled: false, ports: [{ ...port, splits: [] }] }),
        endpoints('shop/new:5432', spec('127.0.0.1', { port: other.port })),
      )
      let seen = ''
      for (let count = 0; count < 300; count++) {
        const caller = await bed.caller(meshPort)
        seen += await caller.read(1)
        caller.destroy()
      }
      // 90 of 300, four standard deviations to either side.
      expect(seen.replaceAll('a', '').length).to.be.within(58, 122)
    } finally {
      await other.stop()
    }
  })

  it('breaks connections off when the mesh port comes to stand for another service', async () => {
    const { caller, endpoint } = await connected()
    caller.send('x')
    await endpoint.read(1)
    await bed.agent.apply(
      { kind: 'port', name: `${meshPort}`, port: 5432, service: { name: 'shop/sql', uid: 'another' } },
      service('shop/sql', { uid: 'another', ports: [{ number: 5432, name: 'tcp', protocol: 'tcp', splits: [] }] }),
    )
    await until(() => caller.isClosed || caller.hasEnded, 'the end at the caller')
    await until(() => endpoint.isClosed || endpoint.hasEnded, 'the end at the endpoint')
    expect(caller.isReset).to.equal(true)
  })
})
