// Opaque connections: byte for byte, each half to its end, resets as resets, and no faster than the slower side reads.

import { expect } from 'chai'
import type { Resource, ServicePolicy } from '../../controller/contract/resources.ts'
import { type AgentUnderTest, startAgent } from '../support/agent.ts'
import { countsOf } from '../support/policy.ts'
import { RawServer, type RawSocket, rawConnect } from '../support/raw.ts'
import { clean } from '../support/rawmesh.ts'
import { endpoints, service, spec, split } from '../support/resources.ts'
import { seededRandom } from '../support/snapshot.ts'
import { until } from '../support/until.ts'

/** Dedicated mesh ports of `shop/db` (opaque) and of `shop/api` (HTTP). */
const dbPort = 16500
const apiPort = 16501
const piece = Buffer.alloc(64 * 1024, 'x')

describe('opaque connections', () => {
  let agent: AgentUnderTest
  let servers: RawServer[]
  let callers: RawSocket[]

  beforeEach(() => {
    callers = []
  })

  afterEach(async () => {
    for (const caller of callers) caller.reset()
    try {
      await clean(agent)
    } finally {
      await agent.stop()
      for (const server of servers) await server.stop()
    }
  })

  async function open(count = 1, policy: ServicePolicy = {}, more: Resource[] = []): Promise<void> {
    servers = await Promise.all(Array.from({ length: count }, () => RawServer.listen()))
    const specs = servers.map(({ port }) => spec('127.0.0.1', { port }))
    const db = { number: 5432, name: 'tcp-db', protocol: 'tcp' as const, splits: [] }
    agent = await startAgent({
      random: seededRandom(3),
      resources: [
        service('shop/db', { ports: [db], policy }),
        endpoints('shop/db:5432', ...specs),
        service('shop/api', { policy }),
        endpoints('shop/api:80', ...specs),
        { kind: 'port', name: String(dbPort), port: 5432, service: { name: 'shop/db', uid: 'uid-shop/db' } },
        { kind: 'port', name: String(apiPort), port: 80, service: { name: 'shop/api', uid: 'uid-shop/api' } },
        ...more,
      ],
    })
  }

  async function call(port = dbPort): Promise<RawSocket> {
    const caller = await rawConnect(port, agent.address)
    callers.push(caller)
    return caller
  }

  async function joined(): Promise<{ caller: RawSocket; endpoint: RawSocket }> {
    const caller = await call()
    return { caller, endpoint: await servers[0]!.next() }
  }

  it('carries bytes both ways, whatever they are', async () => {
    await open()
    const { caller, endpoint } = await joined()
    const bytes = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join('')
    for (const text of [bytes, 'GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01', bytes.repeat(2000)]) {
      caller.send(text)
      expect(await endpoint.read(text.length)).to.equal(text)
      endpoint.send(text)
      expect(await caller.read(text.length)).to.equal(text)
    }
  })

  it('lets the endpoint speak first', async () => {
    await open()
    const { caller, endpoint } = await joined()
    endpoint.send('220 ready\r\n')
    expect(await caller.readThrough('\r\n')).to.equal('220 ready\r\n')
  })

  it('keeps each half open until its own end', async () => {
    await open()
    for (const first of ['caller', 'endpoint'] as const) {
      const both = await joined()
      const [ender, other] = first === 'caller' ? [both.caller, both.endpoint] : [both.endpoint, both.caller]
      ender.send('last')
      ender.end()
      expect(await other.gone()).to.deep.equal({ how: 'end', rest: 'last' })
      expect(ender.hasEnded).to.equal(false)
      other.send('and more')
      other.end()
      expect(await ender.gone()).to.deep.equal({ how: 'end', rest: 'and more' })
    }
    await until(() => agent.settled.length === 2, 'the settled exchanges')
    expect(agent.settled.map(({ reason, bytesUp, bytesDown }) => [reason, bytesUp, bytesDown])).to.deep.equal([
      [null, 4, 8],
      [null, 8, 4],
    ])
  })

  it('ends a caller that has ended before the endpoint was reached', async () => {
    await open()
    const caller = await call()
    caller.send('only this')
    caller.end()
    const endpoint = await servers[0]!.next()
    expect(await endpoint.gone()).to.deep.equal({ how: 'end', rest: 'only this' })
    endpoint.end()
    await caller.gone()
  })

  it('passes resets on as resets, in both directions', async () => {
    await open()
    for (const breaker of ['caller', 'endpoint'] as const) {
      const both = await joined()
      both.caller.send('hello')
      await both.endpoint.read(5)
      both[breaker].reset()
      const other = breaker === 'caller' ? both.endpoint : both.caller
      await until(() => other.isClosed, 'the end of the other side')
      expect(other.isReset, `reset after that of the ${breaker}`).to.equal(true)
    }
    expect(agent.settled.map(({ reason }) => reason)).to.deep.equal(['caller_gone', 'upstream_reset'])
  })

  for (const reader of ['caller', 'endpoint'] as const) {
    it(`stops the other side while the ${reader} does not read`, async () => {
      await open()
      const both = await joined()
      const sender = reader === 'caller' ? both.endpoint : both.caller
      const stuck = both[reader]
      stuck.socket.pause()
      // The kernel's buffers on the way take some megabytes, the agent next to nothing.
      let sent = 0
      const send = () => {
        while (sent < 64 << 20 && sender.socket.write(piece)) sent += piece.length
      }
      sender.socket.on('drain', send)
      send()
      let before = -1
      while (before !== sent) {
        before = sent
        await new Promise((resolve) => setTimeout(resolve, 300))
      }
      expect(sent).to.be.lessThan(32 << 20)
      let received = 0
      stuck.socket.on('data', (chunk: Buffer) => {
        received += chunk.length
        stuck.received = ''
      })
      stuck.socket.resume()
      await until(() => sent >= 64 << 20, 'that all is sent')
      sender.end()
      await until(() => stuck.hasEnded, 'the end')
      stuck.end()
      expect(received % piece.length).to.equal(0)
      expect(received).to.be.at.least(64 << 20)
    })
  }

  it('tries another endpoint where one can not be reached', async () => {
    await open(3, { breaker: { consecutive: 10_000, minimum: 10_000 } })
    await servers[0]!.stop()
    for (const server of servers.slice(1)) server.each((connection) => connection.send('hi'))
    for (let count = 0; count < 10; count++) expect(await (await call()).read(2)).to.equal('hi')
    expect((await countsOf(agent, 'retries')).get('shop db 5432 connect_failed')![0]).to.be.greaterThan(0)
  })

  it('resets the caller where no endpoint can be reached', async () => {
    await open(2)
    for (const server of servers) await server.stop()
    const caller = await call()
    await until(() => caller.isClosed, 'the end')
    expect(caller.isReset).to.equal(true)
    expect(agent.settled[0]).to.include({ reason: 'connect_failed', attempts: 2 })
  })

  it('divides connections by a split, and goes by no request', async () => {
    await open(2)
    const [blue, green] = servers.map(({ port }) => spec('127.0.0.1', { port }))
    const never = { ...split('shop/never', { 'shop/blue': 1 }), matches: [] }
    const port = (splits: ReturnType<typeof split>[]) => ({ number: 5432, name: '', protocol: 'tcp' as const, splits })
    await agent.apply(
      service('shop/blue', { enrolled: false, ports: [port([])] }),
      service('shop/green', { enrolled: false, ports: [port([])] }),
      endpoints('shop/blue:5432', blue!),
      endpoints('shop/green:5432', green!),
      service('shop/db', { ports: [port([never, split('shop/split', { 'shop/blue': 1, 'shop/green': 3 })])] }),
    )
    for (const [number, server] of servers.entries()) server.each((connection) => connection.send(String(number)))
    let toGreen = 0
    for (let count = 0; count < 100; count++) {
      const caller = await call()
      if ((await caller.read(1)) === '1') toGreen++
      caller.reset()
    }
    expect(toGreen).to.be.within(60, 90)
  })

  it('ends what is idle for too long', async () => {
    await open(1, { timeouts: { idleMs: 300 } })
    const { caller, endpoint } = await joined()
    await until(() => caller.isClosed && endpoint.isClosed, 'the end of both sides')
    expect(caller.isReset).to.equal(true)
    expect(agent.settled[0]).to.include({ reason: 'upstream_timeout' })
  })

  it('ends what access rules come to forbid', async () => {
    await open()
    const { caller, endpoint } = await joined()
    caller.send('hello')
    await endpoint.read(5)
    await agent.apply({ kind: 'access', name: 'shop/default', rules: [] })
    await until(() => caller.isClosed && endpoint.isClosed, 'the end of both sides')
    expect(agent.settled[0]).to.include({ reason: 'denied' })
    const late = await call()
    await until(() => late.isClosed, 'the end')
    expect(late.isReset).to.equal(true)
  })

  it('counts what is open and what has passed, while it lives', async () => {
    await open()
    const { caller, endpoint } = await joined()
    caller.send('hello')
    await endpoint.read(5)
    endpoint.send('hi')
    await caller.read(2)
    const labels = 'outbound shop db 5432 shop/db'
    const counts = async () => (await countsOf(agent, 'stream', 3)).get(labels)?.join(' ')
    await until(async () => (await counts()) === '1 5 2', 'the counts')
    caller.send('!')
    caller.end()
    await endpoint.gone()
    endpoint.end()
    await until(async () => (await counts()) === '0 6 2', 'the counts at the end')
    expect((await countsOf(agent, 'closed')).get(`${labels} `)).to.deep.equal([1])
  })

  describe('on ports for HTTP', () => {
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
    const hello = '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'

    it('carries HTTP/2 as it is where the port alone says who is meant', async () => {
      await open()
      const caller = await call(apiPort)
      caller.send(`${preface}frames`)
      const endpoint = await servers[0]!.next()
      expect(await endpoint.read(preface.length + 6)).to.equal(`${preface}frames`)
      endpoint.send('settings')
      expect(await caller.read(8)).to.equal('settings')
      caller.end()
      expect((await endpoint.gone()).how).to.equal('end')
      endpoint.end()
      await caller.gone()
      await until(() => agent.settled.length === 1, 'the settled exchange')
      expect(agent.settled[0]).to.include({ reason: null, bytesUp: preface.length + 6, bytesDown: 8 })
    })

    it('refuses HTTP/2 where the Host would have to say who is meant', async () => {
      await open()
      const caller = await call(agent.port)
      caller.send(preface)
      await until(() => caller.isClosed || caller.hasEnded, 'the end')
      expect(servers[0]!.connections).to.have.length(0)
    })

    it('closes a connection that begins with a TLS ClientHello', async () => {
      await open()
      for (const port of [agent.port, apiPort]) {
        const caller = await call(port)
        caller.send(hello)
        await until(() => caller.isClosed || caller.hasEnded, 'the end')
        expect(caller.received).to.equal('')
      }
      expect(servers[0]!.connections).to.have.length(0)
    })
  })

  for (const way of ['at once', 'after a while without it'] as const) {
    it(`closes a port's connections when it comes to stand for another Service ${way}`, async () => {
      await open()
      const { caller, endpoint } = await joined()
      const other = {
        kind: 'port',
        name: String(dbPort),
        port: 5432,
        service: { name: 'shop/db', uid: 'uid-reborn' },
      } as const
      const reborn = service('shop/db', {
        uid: 'uid-reborn',
        ports: [{ number: 5432, name: 'tcp-db', protocol: 'tcp', splits: [] }],
      })
      if (way !== 'at once') {
        await agent.remove({ kind: 'port', name: String(dbPort), gone: true })
        caller.send('kept')
        expect(await endpoint.read(4), 'while nobody else has the port').to.equal('kept')
      }
      await agent.apply(reborn, other)
      await until(() => caller.isClosed && endpoint.isClosed, 'the end of both sides')
      expect(caller.isReset).to.equal(true)
      const next = await call()
      next.send('hello')
      expect(await (await servers[0]!.next()).read(5)).to.equal('hello')
    })
  }
})
