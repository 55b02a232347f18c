// Upgrades through a data thread: the switch itself, what a refusal becomes, and the leaks that http-proxy is known for.

import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { expect } from 'chai'
import { type AgentUnderTest, startAgent } from '../../support/agent.ts'
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
  let server: Server
  let agent: AgentUnderTest
  let seen: string[]
  let sockets: Set<Socket>
  /** What the endpoint does with the bytes of a new connection. */
  let onData: (socket: Socket, text: string, count: number) => void

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

  async function call(): Promise<{ socket: Socket; got: () => string; isClosed: () => boolean }> {
    const socket = connect({ host: agent.address, port: agent.port, allowHalfOpen: true })
    let text = ''
    let isClosed = false
    socket.on('data', (data) => {
      text += data.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      isClosed = true
    })
    await once(socket, 'connect')
    return { socket, got: () => text, isClosed: () => isClosed }
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

  it('passes a refusal on as a whole response, and tunnels nothing', async () => {
    onData = (socket) =>
      socket.write('HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n2\r\nno\r\n0\r\n\r\n')
    const { socket, got, isClosed } = await call()
    socket.write(ask)
    await until(() => got().endsWith('\r\n\r\nno'), 'the refusal')
    expect(got()).to.match(/^HTTP\/1\.1 403 Forbidden\r\nX-A: 1\r\nconnection: close\r\n\r\nno$/)
    socket.end('GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(isClosed, 'the close')
    expect(seen.join('')).not.to.contain('smuggled')
    await until(() => agent.settled.length === 1, 'the settled exchange')
    expect(agent.settled[0]).to.include({ status: 403 })
  })

  it('does not forward what comes before the 101', async () => {
    onData = () => {}
    const { socket } = await call()
    socket.write(`${ask}GET /early HTTP/1.1\r\nHost: a\r\n\r\n`)
    await until(() => agent.settled.length === 1, 'the timeout')
    expect(seen.join('')).not.to.contain('early')
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
    onData = (socket) => socket.write(agree)
    for (const side of ['caller', 'endpoint']) {
      const { socket, got, isClosed } = await call()
      socket.write(ask)
      await until(() => got().includes('101'), 'the 101')
      if (side === 'caller') socket.resetAndDestroy()
      else for (const own of sockets) own.resetAndDestroy()
      await until(() => isClosed() && sockets.size === 0, `both ends after a reset of the ${side}`)
    }
  })
})
