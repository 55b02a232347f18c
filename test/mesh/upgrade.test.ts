// Upgrades between nodes: the switch goes through the tunnel, ends as the pods end it, and obeys access rules all along.

import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { expect } from 'chai'
import { type Pair, startPair } from '../support/pair.ts'
import { type RawSocket, rawConnect } from '../support/raw.ts'
import { get, refusalOf } from '../support/rawmesh.ts'
import { until } from '../support/until.ts'

const asking = 'Connection: Upgrade\r\nUpgrade: echo\r\n'
const agree = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'

describe('upgrades through the tunnel', () => {
  let pair: Pair
  let pod: Server
  let sockets: Set<Socket>
  /** Identity headers that the pod has seen. */
  let certs: (string | undefined)[]

  beforeEach(async () => {
    sockets = new Set()
    certs = []
    pod = createServer()
    pod.on('upgrade', (request, socket) => {
      certs.push(String(request.headers['x-forwarded-client-cert']))
      if (request.url === '/refused') {
        socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
        return
      }
      socket.write(agree)
      socket.on('data', (data: Buffer) => socket.write(`echo ${data.toString('latin1')}`))
      socket.on('end', () => socket.end('bye'))
      socket.on('error', () => {})
    })
    pair = await startPair({
      onSocket: (socket) => {
        sockets.add(socket)
        socket.on('close', () => sockets.delete(socket))
        pod.emit('connection', socket)
      },
    })
  })

  afterEach(() => pair.stop())

  async function call(path = '/'): Promise<RawSocket> {
    const caller = await rawConnect(pair.near.port, pair.near.address, pair.caller)
    caller.send(get(path, asking))
    return caller
  }

  async function settled(): Promise<unknown[]> {
    await until(() => pair.near.settled.length === 1 && pair.far.settled.length === 1, 'both settled exchanges')
    return [pair.near, pair.far].map((agent) => [agent.settled[0]!.status, agent.settled[0]!.reason])
  }

  it('carries bytes both ways, and each half to its end', async () => {
    const caller = await call()
    expect(await caller.readThrough('\r\n\r\n')).to.match(/^HTTP\/1\.1 101 /)
    caller.send('ping')
    expect(await caller.read(9)).to.equal('echo ping')
    caller.end()
    expect(await caller.gone()).to.deep.equal({ how: 'end', rest: 'bye' })
    expect(certs).to.deep.equal([
      'By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/shop/sa/client',
    ])
    expect(await settled()).to.deep.equal([
      [101, null],
      [101, null],
    ])
    await until(() => sockets.size === 0, "the pod's connection to end")
  })

  it('passes a refusal on', async () => {
    const caller = await call('/refused')
    expect(await caller.readMessage()).to.match(/^HTTP\/1\.1 403 Forbidden\r\n/)
    await caller.gone()
    caller.destroy()
    expect(await settled()).to.deep.equal([
      [403, null],
      [403, null],
    ])
  })

  it('passes resets on', async () => {
    const first = await call()
    await first.readThrough('\r\n\r\n')
    first.reset()
    await until(() => sockets.size === 0, "the pod's connection to end")
    const second = await call()
    await second.readThrough('\r\n\r\n')
    for (const socket of sockets) socket.resetAndDestroy()
    await until(() => second.isClosed, 'the end')
    expect(second.isReset).to.equal(true)
  })

  it('is refused by the rules of the other node, and ends when they change', async () => {
    const caller = await call()
    await caller.readThrough('\r\n\r\n')
    await pair.apply({ kind: 'access', name: 'shop/web', rules: [] })
    await until(() => caller.isClosed, 'the end')
    expect(caller.isReset).to.equal(true)
    const late = await call()
    expect(refusalOf(await late.readMessage())).to.equal('403 denied')
    await late.gone()
    late.destroy()
    await until(() => pair.near.settled.length === 2, 'the settled exchanges')
    expect(pair.near.settled[1]).to.include({ status: 403, reason: 'denied' })
  })
})
