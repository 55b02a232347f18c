// Our HTTP/2 against another one, Node's own (nghttp2), in both roles: what holds between our two ends must hold with
// other implementations of HBONE too.

import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { createSecureContext } from 'node:tls'
import { expect } from 'chai'
import { systemClock } from '../../../agent/clock.ts'
import { sniLabel } from '../../../agent/identity/sni.ts'
import { makeDialer } from '../../../agent/tunnel/dial.ts'
import { testLeaf, testRoot } from '../../support/certificates.ts'
import { Ear, listen, open, type TestTunnel, testCredentials, testTunnel } from '../../support/tunnel.ts'
import { until } from '../../support/until.ts'

const root = testRoot()
const clientPair = testLeaf(root, 'spiffe://cluster.local/ns/shop/sa/client')
const reviewsPair = testLeaf(root, 'spiffe://cluster.local/ns/shop/sa/reviews')
const big = Buffer.alloc(2 << 20)
for (let at = 0; at < big.length; at += 4) big.writeUInt32BE(at * 7, at)

/** Collects what a stream of node:http2 brings, and how it ends. */
function watch(stream: ClientHttp2Stream | ServerHttp2Stream) {
  const seen = { bytes: Buffer.alloc(0), isEnded: false, isAborted: false, rst: -1, error: '' }
  stream.on('data', (chunk: Buffer) => {
    seen.bytes = Buffer.concat([seen.bytes, chunk])
  })
  stream.on('end', () => {
    seen.isEnded = true
  })
  stream.on('aborted', () => {
    seen.isAborted = true
  })
  stream.on('error', (error) => {
    seen.error = error.message
  })
  stream.on('close', () => {
    seen.rst = stream.rstCode ?? -1
  })
  return seen
}

describe('tunnel: our server with the client of node:http2', () => {
  let tunnel: TestTunnel
  let session: ClientHttp2Session

  beforeEach(async () => {
    tunnel = await testTunnel({ root })
    session = connect(`https://127.0.0.1:${tunnel.port}`, {
      key: clientPair.keyPem,
      cert: clientPair.pem,
      ca: root.pem,
      servername: sniLabel('spiffe://cluster.local/ns/shop/sa/reviews'),
      checkServerIdentity: () => undefined,
    })
    session.on('error', () => {})
    await once(session, 'connect')
  })
  afterEach(() => {
    session.destroy()
    tunnel.close()
  })

  const ask = (headers: Record<string, string> = {}) =>
    session.request({ ':method': 'CONNECT', ':authority': '10.0.0.1:9080', ...headers })

  it('carries bytes and ends both ways', async () => {
    const stream = ask({ 'x-some-header': 'a value that is compressed', 'x-other': 'ÄÖ~^{}\\' })
    const seen = watch(stream)
    const [headers] = await once(stream, 'response')
    expect(headers[':status']).to.equal(200)
    const ear = listen(tunnel.asks[0]!.wire)
    expect(tunnel.asks[0]!.headers).to.deep.include(['x-some-header', 'a value that is compressed'])
    stream.write(big)
    stream.end('.')
    await until(() => ear.isEnded)
    expect(ear.bytes.equals(Buffer.concat([big, Buffer.from('.')]))).to.equal(true)
    tunnel.asks[0]!.wire.writeBytes(big)
    tunnel.asks[0]!.wire.end()
    await until(() => seen.rst >= 0)
    expect(seen).to.include({ isEnded: true, isAborted: false, rst: 0 })
    expect(seen.bytes.equals(big)).to.equal(true)
    expect(ear.closed).to.equal(null)
  })

  it('shows its reset as a reset, and hears one', async () => {
    const first = ask()
    const seen = watch(first)
    await once(first, 'response')
    listen(tunnel.asks[0]!.wire)
    tunnel.asks[0]!.wire.writeText('part')
    await until(() => seen.bytes.length === 4)
    tunnel.asks[0]!.wire.reset()
    await until(() => seen.rst >= 0)
    expect(seen).to.include({ isAborted: true, rst: constants.NGHTTP2_CANCEL })

    const second = ask()
    second.on('error', () => {})
    await once(second, 'response')
    const ear = listen(tunnel.asks[1]!.wire)
    second.write('part')
    await until(() => ear.text === 'part')
    second.destroy(new Error('gone'))
    await until(() => ear.closed instanceof Error)
    expect(ear.isEnded).to.equal(false)
  })

  it('refuses what is no CONNECT', async () => {
    const get = session.request({ ':method': 'GET', ':path': '/' })
    const [headers] = await once(get, 'response')
    expect(headers).to.include({ ':status': 405, 'x-weft-error': 'method_refused' })
    const post = session.request({ ':method': 'POST', ':path': '/' })
    post.on('error', () => {})
    post.write('body')
    expect((await once(post, 'response'))[0][':status']).to.equal(405)
    expect(tunnel.asks).to.have.length(0)
    const after = ask()
    expect((await once(after, 'response'))[0][':status']).to.equal(200)
  })

  it('answers pings and changed settings', async () => {
    await new Promise<void>((resolve, reject) => {
      session.ping((error) => (error === null ? resolve() : reject(error)))
    })
    await new Promise<void>((resolve) => session.settings({ initialWindowSize: 1_000 }, () => resolve()))
    const stream = ask()
    const seen = watch(stream)
    await once(stream, 'response')
    tunnel.asks[0]!.wire.writeBytes(Buffer.alloc(50_000))
    await until(() => seen.bytes.length === 50_000)
    expect(session.remoteSettings.maxConcurrentStreams).to.equal(1_000)
    expect(session.remoteSettings.initialWindowSize).to.equal(256 << 10)
  })

  it('tells of its drain', async () => {
    const stream = ask()
    await once(stream, 'response')
    const goaway = once(session, 'goaway')
    tunnel.server.drain()
    expect((await goaway).slice(0, 2)).to.deep.equal([0, 1])
    stream.end()
    tunnel.asks[0]!.wire.end()
    tunnel.asks[0]!.wire.resume()
    await once(session, 'close')
  })

  it('carries a thousand streams one after the other, with a compression that remembers', async () => {
    for (let count = 0; count < 1_000; count++) {
      const stream = ask({ 'x-number': `${count % 7}`, [`x-${count % 90}`]: 'y'.repeat(count % 150) })
      await once(stream, 'response')
      expect(tunnel.asks.at(-1)!.headers).to.deep.include(['x-number', `${count % 7}`])
      expect(tunnel.asks.at(-1)!.headers).to.deep.include([`x-${count % 90}`, 'y'.repeat(count % 150)])
      tunnel.asks.at(-1)!.wire.end()
      stream.resume()
      stream.end()
      tunnel.asks.at(-1)!.wire.resume()
      await once(stream, 'close')
    }
  })
})

describe('tunnel: our client with the server of node:http2', () => {
  let server: Http2SecureServer
  let sessions: ServerHttp2Session[]
  let streams: ServerHttp2Stream[]
  let onStream: (stream: ServerHttp2Stream) => void
  let dialer: ReturnType<typeof makeDialer>
  const target = () => ({
    source: 'shop/client',
    destination: 'shop/reviews',
    address: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    authority: '10.0.0.1:9080',
  })

  beforeEach(async () => {
    sessions = []
    streams = []
    onStream = (stream) => stream.respond({ ':status': 200, 'x-other': 'something' })
    const context = createSecureContext({ key: reviewsPair.keyPem, cert: reviewsPair.pem, ca: root.pem })
    server = createSecureServer({
      SNICallback: (_name, answer) => answer(null, context),
      requestCert: true,
      ca: root.pem,
      settings: { maxConcurrentStreams: 5, initialWindowSize: 100_000 },
    })
    server.on('session', (session) => sessions.push(session))
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('error', () => {})
      streams.push(stream)
      onStream(stream)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    dialer = makeDialer({
      credentials: testCredentials(root, 'shop/client'),
      clock: systemClock,
      random: () => 0.5,
      connectMs: 2_000,
    })
  })
  afterEach(() => {
    dialer.close()
    for (const session of sessions) session.destroy()
    server.close()
  })

  it('carries bytes and ends both ways', async () => {
    const { wire } = await open(dialer, target())
    const ear = listen(wire!)
    const seen = watch(streams[0]!)
    wire!.writeBytes(Buffer.from(big))
    wire!.end()
    await until(() => seen.isEnded)
    expect(seen.bytes.equals(big)).to.equal(true)
    streams[0]!.end(big)
    await until(() => ear.closed === null)
    expect(ear.isEnded && ear.bytes.equals(big)).to.equal(true)
    expect(seen.isAborted).to.equal(false)
  })

  it('shows its reset as a reset, and hears one in every form it has', async () => {
    const { wire } = await open(dialer, target())
    listen(wire!)
    const seen = watch(streams[0]!)
    wire!.writeText('part')
    await until(() => seen.bytes.length === 4)
    wire!.reset()
    await until(() => seen.isAborted)
    for (const cut of [
      (stream: ServerHttp2Stream) => stream.destroy(),
      (stream: ServerHttp2Stream) => stream.destroy(new Error('x')),
      (stream: ServerHttp2Stream) => stream.session!.destroy(),
      (stream: ServerHttp2Stream) => stream.session!.socket.destroy(),
    ]) {
      const { wire: next } = await open(dialer, target())
      const ear = listen(next!)
      const stream = streams.at(-1)!
      stream.write('part')
      await until(() => ear.text === 'part')
      cut(stream)
      await until(() => ear.closed !== undefined)
      expect(ear.closed, String(cut)).to.be.instanceOf(Error)
      expect(ear.isEnded, String(cut)).to.equal(false)
    }
  })

  it('opens another connection at the limit of streams that the server sets', async () => {
    const opened = await Promise.all(Array.from({ length: 17 }, () => open(dialer, target())))
    expect(opened.flatMap(({ error }) => (error === null ? [] : [error.message]))).to.deep.equal([])
    const counts = dialer.sessions().map((each) => each.streams)
    expect(Math.max(...counts)).to.be.at.most(5)
    expect(counts.reduce((sum, count) => sum + count, 0)).to.equal(17)
  })

  it('tries a stream again that the server has not looked at when it said goodbye', async () => {
    await open(dialer, target())
    const first = sessions[0]!
    // The stream crosses the GOAWAY: Node answers it with a reset of its own.
    first.goaway(constants.NGHTTP2_NO_ERROR, 1)
    const { error, wire } = await open(dialer, target())
    expect(error).to.equal(null)
    const ear = new Ear()
    wire!.handler = ear
    streams.at(-1)!.write('second')
    await until(() => ear.text === 'second')
    expect(sessions.length).to.equal(2)
  })

  it('is refused with what the server says', async () => {
    onStream = (stream) => stream.respond({ ':status': 503, 'x-weft-error': 'overloaded' }, { endStream: true })
    expect((await open(dialer, target())).error).to.include({ reason: 'overloaded' })
    onStream = (stream) => stream.respond({ ':status': 401 }, { endStream: true })
    expect((await open(dialer, target())).error).to.include({ reason: 'connect_failed' })
    onStream = (stream) => stream.respond({ ':status': 403 })
    expect((await open(dialer, target())).error).to.include({ reason: 'denied' })
    onStream = (stream) => stream.respond({ ':status': 403, 'x-weft-error': '__proto__' }, { endStream: true })
    expect((await open(dialer, target())).error).to.include({ reason: 'denied' })
    await until(() => dialer.sessions()[0]!.streams === 0)
  })

  it('7.45 waits for nothing when the server offers no stream at all, and says goodbye', async () => {
    onStream = () => {}
    server.updateSettings({ maxConcurrentStreams: 0 })
    server.on('session', (session) => session.goaway())
    const impatient = makeDialer({
      credentials: testCredentials(root, 'shop/client'),
      clock: systemClock,
      random: () => 0.5,
      connectMs: 300,
    })
    const { error } = await open(impatient, target())
    expect(error).to.include({ reason: 'connect_failed' })
    impatient.close()
  })
})
