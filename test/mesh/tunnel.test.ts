// Two agents, a real tunnel between them: requests, refusals, resets, and what a change of rules does to live connections.

import { once } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import { connect, type Socket } from 'node:net'
import { expect } from 'chai'
import type { AccessResource, Resource } from '../../controller/contract/resources.ts'
import { type CallAnswer, type CallOptions, call as send } from '../support/call.ts'
import { client, type Pair, type PairOptions, server, startPair } from '../support/pair.ts'
import { until } from '../support/until.ts'

function call(pair: Pair, path = '/', { headers = {}, ...options }: Partial<CallOptions> = {}): Promise<CallAnswer> {
  const near = { host: pair.near.address, port: pair.near.port, from: pair.caller }
  return send({ ...near, ...options, path, headers: { host: 'web-mesh.shop', ...headers } })
}

const only = (rules: AccessResource['rules']): Resource => ({ kind: 'access', name: server, rules })
const allowClient = only([{ name: 'shop/t', sources: [client], ports: null, http: null }])
const denyAll = only([])

describe('mesh: tunnel', () => {
  let pair: Pair

  afterEach(() => pair.stop())

  async function open(options: PairOptions = {}): Promise<void> {
    pair = await startPair(options)
  }

  async function dial(): Promise<{ socket: Socket; got: () => string; end: () => string }> {
    const socket = connect({
      host: pair.near.address,
      port: pair.near.port,
      localAddress: pair.caller,
      allowHalfOpen: true,
    })
    let text = ''
    let end = ''
    socket.on('data', (data) => {
      text += data.toString('latin1')
    })
    socket.on('end', () => {
      end ||= 'end'
    })
    socket.on('error', () => {
      end = 'reset'
    })
    await once(socket, 'connect')
    return { socket, got: () => text, end: () => end }
  }

  it('carries requests, with the caller named by its certificate alone', async () => {
    const seen: IncomingHttpHeaders[] = []
    await open({
      handler: (request, response) => {
        seen.push(request.headers)
        response.end('hello')
      },
    })
    const forged = { 'x-forwarded-client-cert': 'URI=spiffe://cluster.local/ns/a/sa/admin' }
    for (let at = 0; at < 5; at++) {
      const { status, body } = await call(pair, '/', { headers: forged })
      expect({ status, body }).to.eql({ status: 200, body: 'hello' })
    }
    for (const headers of seen) {
      expect(headers['x-forwarded-client-cert']).to.equal(
        'By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/shop/sa/client',
      )
      expect(headers['x-forwarded-for']).to.equal(pair.caller)
      expect(headers.via).to.equal('1.1 weft')
      expect(headers.traceparent).to.match(/^00-/)
    }
    expect(pair.far.settled).to.have.length(5)
  })

  it('gives a caller without identity no name, and no permission that asks for one', async () => {
    let seen: IncomingHttpHeaders = {}
    await open({
      flags: ['--caller-timeout', '1ms'],
      handler: (request, response) => {
        seen = request.headers
        response.end()
      },
    })
    const stranger = pair.caller.replace(/11$/, '99')
    expect((await call(pair, '/', { from: stranger })).status).to.equal(200)
    expect(seen['x-forwarded-client-cert']).to.equal(undefined)
    await pair.apply(allowClient)
    const { status, headers } = await call(pair, '/', { from: stranger })
    expect(status).to.equal(403)
    expect(headers['x-weft-error']).to.equal('denied')
    expect((await call(pair)).status).to.equal(200)
  })

  it('permits each request of a connection by the rules in force', async () => {
    const match = { name: 'm', path: '/open', methods: ['GET'], headers: [] }
    await open({ resources: [only([{ name: 'shop/t', sources: [client], ports: null, http: [match] }])] })
    expect((await call(pair, '/open')).status).to.equal(200)
    expect((await call(pair, '/open', { method: 'POST' })).status).to.equal(403)
    expect((await call(pair, '/closed')).status).to.equal(403)
    expect((await call(pair, '/open/../closed')).status).to.equal(403)
    await pair.apply(denyAll)
    expect((await call(pair, '/open')).status).to.equal(403)
    await pair.apply(allowClient)
    expect((await call(pair, '/closed')).status).to.equal(200)
  })

  it('carries large bodies both ways', async () => {
    await open({ handler: (request, response) => void request.pipe(response) })
    const body = 'x'.repeat(3_000_000)
    const answer = await call(pair, '/', { method: 'POST', body })
    expect(answer.body.length).to.equal(body.length)
  })

  it('retries when the pod refuses connections, and says so', async () => {
    await open()
    await pair.apply({
      kind: 'endpoints',
      name: 'shop/web:80',
      endpoints: [
        { ...pair.endpoint, port: 1, node: 'node2', pod: 'shop/web-1', podUid: 'u', account: server, workload: 'web' },
      ],
    })
    const { status, headers } = await call(pair)
    expect(status).to.equal(502)
    expect(headers['x-weft-error']).to.equal('connect_failed')
    expect(pair.near.settled.at(-1)).to.include({ attempts: 2 })
  })

  it('answers 503 no_peer where the node has no agent, unless plain text is allowed and nothing is guarded', async () => {
    await open({ policy: {} })
    const gone = { kind: 'peer' as const, name: 'node2', gone: true as const }
    await pair.near.remove(gone)
    expect((await call(pair)).headers['x-weft-error']).to.equal('no_peer')
    await pair.near.apply({
      kind: 'service',
      name: 'shop/web',
      uid: 'uid-web',
      enrolled: true,
      address: '',
      ports: [{ number: 80, name: 'main', protocol: 'http', splits: [] }],
      policy: { plaintext: true },
    })
    expect((await call(pair)).status).to.equal(200)
    await pair.near.apply(allowClient)
    expect((await call(pair)).headers['x-weft-error']).to.equal('no_peer')
  })

  it('carries opaque connections with half-close, and closes them when the rules forbid them', async () => {
    const sockets: Socket[] = []
    await open({
      protocol: 'tcp',
      onSocket: (socket) => {
        sockets.push(socket)
        socket.on('error', () => {})
        socket.on('data', (data) => socket.write(data))
        socket.on('end', () => socket.end('bye'))
      },
    })
    const first = await dial()
    first.socket.write('one')
    await until(() => first.got() === 'one', 'the echo')
    first.socket.end()
    await until(() => first.got() === 'onebye' && first.end() === 'end', 'the answer after the half-close')

    const second = await dial()
    second.socket.write('two')
    await until(() => second.got() === 'two', 'the echo')
    await pair.apply(denyAll)
    await until(() => second.end() === 'reset', 'the reset by the new rule')
    const third = await dial()
    third.socket.write('three')
    await until(() => third.end() === 'reset', 'the refusal')
    for (const socket of sockets) socket.destroy()
  })

  it('passes resets on in both directions', async () => {
    const sockets: Socket[] = []
    let resets = 0
    await open({
      protocol: 'tcp',
      onSocket: (socket) => {
        sockets.push(socket)
        socket.on('error', () => {
          resets++
        })
        socket.on('data', (data) => socket.write(data))
      },
    })
    const first = await dial()
    first.socket.write('a')
    await until(() => first.got() === 'a', 'the echo')
    first.socket.resetAndDestroy()
    await until(() => resets === 1, 'the reset at the pod')
    const second = await dial()
    second.socket.write('b')
    await until(() => second.got() === 'b', 'the echo')
    sockets.at(-1)!.resetAndDestroy()
    await until(() => second.end() === 'reset', 'the reset at the caller')
  })

  it('shows a response that is cut short as a reset, never as whole', async () => {
    await open({
      protocol: 'http',
      onSocket: (socket) => {
        socket.on('error', () => {})
        socket.once('data', () => {
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', () => socket.resetAndDestroy())
        })
      },
    })
    const { socket, end } = await dial()
    socket.write('GET / HTTP/1.1\r\nHost: web-mesh.shop\r\n\r\n')
    await until(() => end() === 'reset', 'the reset')
  })
})
