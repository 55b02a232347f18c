// Upgrades through a data thread: the switch itself, what a refusal becomes, and the leaks that http-proxy is known for.

import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { expect } from 'chai'
import { type AgentUnderTest, startAgent } from '../../support/agent.ts'
import { service } from '../../support/resources.ts'
import { until } from '../../support/until.ts'

const ask = [
  'GET /chat HTTP/1.1',
  'Host: web-mesh.shop',
  'Connection: keep-alive, Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Key: abc',
  '',
  '',
].join('\r\n')
const agree = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\n'

describe('upgrade', () => {
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  let server: Server
  let agent: AgentUnderTest
  let seen: string[]
  let sockets: Set<Socket>
  /** What the endpoint does with the bytes of a new connection. */
  let onData: (socket: Socket, text: string, count: number) => void

  before(() => {
    process.on('warning', onWarning)
  })

  after(() => {
    process.off('warning', onWarning)
  })

  beforeEach(async () => {
    seen = []
    sockets = new Set()
    server = createServer({ allowHalfOpen: true }, (socket) => {
      let count = 0
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
      socket.on('end', () => socket.end())
      socket.on('data', (data) => {
        seen.push(data.toString('latin1'))
        onData(socket, data.toString('latin1'), count++)
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    agent = await startAgent({ upstreams: [port], flags: ['--first-byte-timeout', '400ms', '--idle-timeout', '600ms'] })
  })

  afterEach(async () => {
    await agent.stop()
    for (const socket of sockets) socket.destroy()
    server.close()
  })

  interface Call {
    socket: Socket
    got: () => string
    isClosed: () => boolean
    isReset: () => boolean
  }

  async function call(): Promise<Call> {
    const socket = connect({ host: agent.address, port: agent.port, allowHalfOpen: true })
    let text = ''
    let isClosed = false
    let isReset = false
    socket.on('data', (data) => {
      text += data.toString('latin1')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      isReset = error.code === 'ECONNRESET'
    })
    socket.on('close', () => {
      isClosed = true
    })
    await once(socket, 'connect')
    return { socket, got: () => text, isClosed: () => isClosed, isReset: () => isReset }
  }

  it('switches, and carries bytes both ways until both have ended', async () => {
    onData = (socket, text, count) => socket.write(count === 0 ? agree : `echo ${text}`)
    const { socket, got, isClosed } = await call()
    socket.write(ask)
    await until(() => got().endsWith('\r\n\r\n'), 'the 101')
    expect(got()).to.match(/^HTTP\/1\.1 101 Switching Protocols\r\n/)
    expect(seen[0]).to.match(/^GET \/chat HTTP\/1\.1\r\n/)
    expect(seen[0]).to.match(/sec-websocket-key: abc\r\n/i)
    expect(seen[0]).to.match(/upgrade: websocket\r\n/i)
    socket.write('ping')
    await until(() => got().endsWith('echo ping'), 'the echo')
    socket.end()
    await until(isClosed, 'the close')
    await until(() => agent.settled.length === 1, 'the settled exchange')
    expect(agent.settled[0]).to.include({ status: 101, reason: null })
    await until(() => sockets.size === 0, "the endpoint's connection to end")
  })

  it('counts a switch that comes too late as a failure of the endpoint, and makes it', async () => {
    const outcome = () => agent.thread.fuses.report().map(({ successes, failures }) => ({ successes, failures }))
    onData = (socket) => setTimeout(() => socket.write(agree), 60)
    await agent.apply(service('shop/web', { policy: { breaker: { slowMs: 10_000 } } }))
    const first = await call()
    first.socket.write(ask)
    await until(() => first.got().endsWith('\r\n\r\n'), 'the 101')
    expect(outcome()).to.deep.equal([{ successes: 1, failures: 0 }])
    await agent.apply(service('shop/web', { policy: { breaker: { slowMs: 20 } } }))
    const second = await call()
    second.socket.write(ask)
    await until(() => second.got().endsWith('\r\n\r\n'), 'the 101')
    expect(outcome()).to.deep.equal([{ successes: 1, failures: 1 }])
    first.socket.destroy()
    second.socket.destroy()
  })

  it('passes a refusal on as a whole response, and tunnels nothing', async () => {
    const lines =
      'Date: today\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nX-Weft-Error: denied\r\nConnection: x-b\r\nX-B: 1\r\n'
    onData = (socket) => socket.write(`HTTP/1.1 403 Forbidden\r\n${lines}\r\n2\r\nno\r\n0\r\n\r\n`)
    const { socket, got, isClosed } = await call()
    socket.write(ask)
    await until(() => got().endsWith('\r\n\r\nno'), 'the refusal')
    expect(got()).to.equal('HTTP/1.1 403 Forbidden\r\nDate: today\r\nX-A: 1\r\nconnection: close\r\n\r\nno')
    socket.end('GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(isClosed, 'the close')
    expect(seen.join('')).not.to.contain('smuggled')
    await until(() => agent.settled.length === 1, 'the settled exchange')
    expect(agent.settled[0]).to.include({ status: 403, reason: null, bytesDown: 2 })
    await until(() => sockets.size === 0, "the endpoint's connection to end")
  })

  it('dates a refusal that has no date, and keeps its length', async () => {
    onData = (socket) => socket.write('HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno')
    const { socket, got } = await call()
    socket.write(ask)
    await until(() => got().endsWith('\r\n\r\nno'), 'the refusal')
    expect(got()).to.match(
      /^HTTP\/1\.1 426 Upgrade Required\r\nContent-Length: 2\r\ndate: [^\r]* GMT\r\nconnection: close\r\n\r\nno$/,
    )
    socket.destroy()
  })

  it('breaks off a refusal that was cut short', async () => {
    onData = (socket) => {
      socket.write('HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nno')
      socket.end()
    }
    const { socket, isReset } = await call()
    socket.write(ask)
    await until(isReset, 'the reset')
    await until(() => agent.settled.length === 1, 'the settled exchange')
    expect(agent.settled[0]).to.include({ status: 403, reason: 'caller_gone' })
  })

  it('refuses a caller that sent bytes before the 101, and forwards none of them', async () => {
    let endpoint: Socket | null = null
    onData = (socket) => {
      endpoint = socket
    }
    const early = 'GET /early HTTP/1.1\r\nHost: a\r\n\r\n'
    for (const isAtOnce of [true, false]) {
      const { socket, got, isClosed } = await call()
      socket.write(isAtOnce ? `${ask}${early}` : ask)
      await until(() => endpoint !== null, 'the request at the endpoint')
      if (!isAtOnce) {
        socket.write(early)
        // The agent is in this process: one turn of the loop, and it has read them.
        await until(() => socket.writableLength === 0, 'the bytes to go')
        await new Promise(setImmediate)
      }
      endpoint!.write(agree)
      endpoint = null
      await until(() => got().includes('x-weft-error: bad_request'), 'the refusal')
      expect(got()).to.match(/^HTTP\/1\.1 400 /)
      socket.end()
      await until(isClosed, 'the close')
      await until(() => sockets.size === 0, "the endpoint's connection to end")
    }
    expect(seen.join('')).not.to.contain('early')
    expect(agent.settled).to.have.length(2)
  })

  it('answers 504 when the endpoint never does', async () => {
    onData = () => {}
    const { socket, got, isClosed } = await call()
    socket.write(ask)
    await until(() => got().includes('x-weft-error: upstream_timeout'), 'the 504')
    socket.end()
    await until(isClosed, 'the close')
    await until(() => sockets.size === 0, "the endpoint's connection to end")
  })

  it('lets the endpoint go when the caller leaves before the 101', async () => {
    onData = () => {}
    for (const leave of ['destroy', 'resetAndDestroy'] as const) {
      const { socket } = await call()
      socket.write(ask)
      await until(() => sockets.size === 1, "the endpoint's connection")
      socket[leave]()
      await until(() => sockets.size === 0, `the endpoint's connection to end after ${leave}`)
    }
  })

  it('ends a switched connection that is idle for too long', async () => {
    onData = (socket) => socket.write(agree)
    const { socket, got, isClosed } = await call()
    socket.write(ask)
    await until(() => got().includes('101'), 'the 101')
    await until(isClosed, 'the close')
    expect(agent.settled[0]).to.include({ status: 101, reason: 'upstream_timeout' })
    await until(() => sockets.size === 0, "the endpoint's connection to end")
  })

  it('passes a reset on, in both directions', async () => {
    let resets = 0
    onData = (socket) => socket.write(agree)
    server.on('connection', (socket) => {
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ECONNRESET') resets++
      })
    })
    for (const side of ['caller', 'endpoint']) {
      const { socket, got, isClosed, isReset } = await call()
      socket.write(ask)
      await until(() => got().includes('101'), 'the 101')
      if (side === 'caller') socket.resetAndDestroy()
      else for (const own of sockets) own.resetAndDestroy()
      await until(() => isClosed() && sockets.size === 0, `both ends after a reset of the ${side}`)
      if (side === 'endpoint') expect(isReset()).to.equal(true)
      else expect(resets).to.equal(1)
    }
    expect(agent.settled.map(({ reason }) => reason)).to.deep.equal(['caller_gone', 'upstream_reset'])
  })

  it('carries each half to its end, whichever side ends first', async () => {
    for (const first of ['caller', 'endpoint']) {
      let endpoint: Socket | null = null
      onData = (socket, _text, count) => {
        endpoint = socket
        if (count === 0) socket.write(agree)
        if (count === 0 && first === 'endpoint') socket.end()
      }
      server.removeAllListeners('connection')
      server.on('connection', (socket) => {
        let count = 0
        sockets.add(socket)
        socket.on('close', () => sockets.delete(socket))
        socket.on('data', (data) => onData(socket, data.toString('latin1'), count++))
        if (first === 'caller') socket.on('end', () => socket.end('last words'))
      })
      const { socket, got, isClosed } = await call()
      socket.write(ask)
      await until(() => got().includes('101'), 'the 101')
      if (first === 'caller') {
        socket.end('bye')
        await until(() => got().endsWith('last words'), 'what the endpoint said last')
      } else {
        await until(() => socket.readableEnded, 'the end')
        socket.end('bye')
      }
      await until(() => isClosed() && sockets.size === 0, 'both ends')
      expect(endpoint).not.to.equal(null)
    }
    expect(agent.settled.map(({ reason, bytesUp, bytesDown }) => [reason, bytesUp, bytesDown])).to.deep.equal([
      [null, 3, 10],
      [null, 3, 0],
    ])
  })

  it('switches to whatever was asked for, and to nothing else', async () => {
    onData = (socket, _text, count) => {
      if (count === 0) socket.write('HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n')
    }
    const good = await call()
    good.socket.write(ask.replace('websocket', 'SPDY/3.1'))
    await until(() => good.got().includes('101'), 'the 101')
    good.socket.destroy()
    const bad = await call()
    bad.socket.write(ask)
    await until(() => bad.got().includes('x-weft-error: upstream_invalid'), 'the refusal')
    expect(bad.got()).to.match(/^HTTP\/1\.1 502 /)
    bad.socket.destroy()
    await until(() => sockets.size === 0, "the endpoint's connections to end")
  })

  it('forwards the path, names and values as they were permitted', async () => {
    onData = (socket, _text, count) => {
      if (count === 0) socket.write(agree.replace('X-A: 1', 'X-A: caf\xe9\r\nX-Weft-Error: denied'), 'latin1')
    }
    const { socket, got } = await call()
    const target = "/a/http:/b/%7Bx%7D/'q'?u=http://c//d&e=?{f}"
    const lines = 'X-One: 1\r\nx-one: 2\r\nX-Latin: \xe9\r\nExpect: 100-continue\r\n'
    socket.write(ask.replace('/chat', target).replace('Sec-', `${lines}Sec-`), 'latin1')
    await until(() => got().includes('101'), 'the 101')
    expect(seen[0]).to.contain(`GET ${target} HTTP/1.1\r\nhost: web-mesh.shop\r\n`)
    expect(seen[0]).to.contain('X-One: 1\r\nX-One: 2\r\nX-Latin: \xe9\r\n')
    expect(seen[0]).not.to.match(/expect:/i)
    expect(got()).to.contain('x-a: caf\xe9\r\n')
    expect(got()).not.to.match(/x-weft-error/i)
    socket.destroy()
  })

  it('takes only a GET without a body for an upgrade', async () => {
    onData = (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine')
    const { socket, got } = await call()
    socket.write(`${ask.replace('GET', 'POST').replace('Sec-', 'Content-Length: 2\r\nSec-')}ab`)
    await until(() => got().endsWith('fine'), 'the response')
    expect(seen.join('')).not.to.match(/upgrade/i)
    expect(seen.join('')).to.match(/\r\n\r\nab$/)
    socket.destroy()
  })

  it('tries another endpoint where one can not be reached', async () => {
    onData = (socket) => socket.write(agree)
    const { port } = server.address() as { port: number }
    const closed = createServer().listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const dead = (closed.address() as { port: number }).port
    await new Promise((resolve) => closed.close(resolve))
    await agent.stop()
    agent = await startAgent({ upstreams: [dead, port], random: () => 0 })
    const { socket, got } = await call()
    socket.write(ask)
    await until(() => got().includes('101'), 'the 101')
    socket.destroy()
    await until(() => agent.settled.length === 1, 'the settled exchange')
    expect(agent.settled[0]).to.include({ status: 101, attempts: 2 })
  })

  it('lasts while the agent drains, until its deadline', async () => {
    onData = (socket, text, count) => socket.write(count === 0 ? agree : `echo ${text}`)
    const { socket, got, isReset } = await call()
    socket.write(ask)
    await until(() => got().includes('101'), 'the 101')
    agent.thread.handle({ type: 'drain' })
    agent.thread.handle({ type: 'close' })
    socket.write('ping')
    await until(() => got().endsWith('echo ping'), 'the echo')
    expect(agent.messages.some(({ type }) => type === 'drained')).to.equal(false)
    agent.thread.handle({ type: 'end' })
    await until(isReset, 'the reset')
    await until(() => sockets.size === 0, "the endpoint's connection to end")
    expect(agent.settled).to.have.length(1)
  })

  it('warns of nothing deprecated', () => {
    expect(warnings.map(({ message }) => message)).to.deep.equal([])
  })
})
