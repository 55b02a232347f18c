// Upgrades byte by byte: what passes before, at and after the switch of protocols (hazard 7.5).

import { expect } from 'chai'
import { FakeClock } from '../support/clock.ts'
import type { RawSocket } from '../support/raw.ts'
import { type Bed, get, host, ok, plain, refusalOf, startBed } from '../support/rawmesh.ts'
import { until } from '../support/until.ts'

const asking = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
const switching =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'

describe('upgrades on the wire', () => {
  let bed: Bed
  beforeEach(async () => {
    bed = await startBed({ flags: ['--retries', '0'] })
  })
  afterEach(async () => {
    try {
      await bed.works()
    } finally {
      await bed.stop()
    }
  })

  async function switched(): Promise<{ caller: RawSocket; endpoint: RawSocket }> {
    const both = await bed.begin(get('/chat', asking))
    await both.endpoint.readThrough('\r\n\r\n')
    both.endpoint.send(switching)
    await both.caller.readThrough('\r\n\r\n')
    return both
  }

  it('asks the endpoint for the same protocol, as a hop of its own', async () => {
    const { caller, endpoint } = await bed.begin(get('/chat?room=1', `${asking}Cookie: a=b\r\n`))
    const request = plain(await endpoint.readThrough('\r\n\r\n')).toLowerCase()
    expect(request).to.match(/^get \/chat\?room=1 http\/1\.1\r\n/)
    for (const line of [
      'host: web-mesh.shop',
      'upgrade: websocket',
      'cookie: a=b',
      'via: 1.1 weft',
      'x-forwarded-for: 127.0.0.1',
    ]) {
      expect(
        request.split('\r\n').filter((each) => each === line),
        line,
      ).to.have.length(1)
    }
    expect(request.match(/\r\nconnection: [^\r]*/g)).to.deep.equal(['\r\nconnection: upgrade'])
    endpoint.send(switching)
    const response = await caller.readThrough('\r\n\r\n')
    expect(response).to.match(/^HTTP\/1\.1 101 Switching Protocols\r\n/)
    expect(response.toLowerCase()).to.include('\r\nupgrade: websocket\r\n')
    expect(response).to.include('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
    caller.destroy()
    await endpoint.gone()
  })

  it('carries bytes both ways after the switch, whatever they look like', async () => {
    const { caller, endpoint } = await switched()
    const bytes = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join('')
    for (const text of [bytes, get('/smuggled'), '0\r\n\r\n', bytes.repeat(1000)]) {
      caller.send(text)
      expect(await endpoint.read(text.length)).to.equal(text)
      endpoint.send(text)
      expect(await caller.read(text.length)).to.equal(text)
    }
    caller.end()
    expect(await endpoint.gone()).to.deep.equal({ how: 'end', rest: '' })
    endpoint.end()
    await caller.gone()
  })

  it('carries what the endpoint sends together with its 101', async () => {
    const { caller, endpoint } = await bed.begin(get('/chat', asking))
    await endpoint.readThrough('\r\n\r\n')
    endpoint.send(`${switching}at once`)
    await caller.readThrough('\r\n\r\n')
    expect(await caller.read(7)).to.equal('at once')
    caller.destroy()
    await endpoint.gone()
  })

  it('7.5 what a caller sends before the 101 is not passed on', async () => {
    const { caller, endpoint } = await bed.begin(get('/chat', asking))
    await endpoint.readThrough('\r\n\r\n')
    caller.send(get('/smuggled'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    endpoint.send('HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nno\n')
    const { rest } = await caller.gone()
    if (rest !== '') expect(rest).to.match(/^HTTP\/1\.1 400 /)
    await endpoint.gone()
    expect(bed.server.received).not.to.include('smuggled')
  })

  it('7.5 what comes right behind an upgrade is not passed on, switch or no switch', async () => {
    for (const answer of [switching, 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n']) {
      const caller = await bed.caller()
      const { length } = bed.server.connections
      caller.send(get('/chat', asking) + get('/smuggled'))
      // The agent may refuse such a request at once, or go on without what came behind it.
      await until(() => bed.server.connections.length > length || caller.hasEnded, 'a connection or a refusal')
      if (bed.server.connections.length > length) {
        const endpoint = await bed.server.next()
        await endpoint.readThrough('\r\n\r\n')
        endpoint.send(answer)
        await until(() => caller.received !== '' || caller.isClosed || caller.hasEnded, 'an answer')
      } else expect(refusalOf(caller.received)).to.equal('400 bad_request')
      caller.destroy()
      await until(() => bed.agent.thread.outbound.open === 0, 'the end of the connection')
      expect(bed.server.received).not.to.include('smuggled')
    }
  })

  it('7.5 a refusal is an ordinary response, and nothing is tunnelled after it', async () => {
    for (const refusal of [
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
      'HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
      'HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nContent-Length: 2\r\n\r\nok',
    ]) {
      const { caller, endpoint } = await bed.begin(get('/chat', asking))
      await endpoint.readThrough('\r\n\r\n')
      endpoint.send(refusal)
      await caller.readThrough('ok')
      caller.send(get('/smuggled'))
      await caller.gone()
      await endpoint.gone()
      expect(endpoint.received).not.to.include('smuggled')
      caller.destroy()
      endpoint.destroy()
    }
  })

  it('7.5 a refusal that is cut short does not look whole', async () => {
    const { caller, endpoint } = await bed.begin(get('/chat', asking))
    await endpoint.readThrough('\r\n\r\n')
    endpoint.send('HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nonly this')
    await caller.readThrough('only this')
    endpoint.reset()
    await until(() => caller.isClosed || caller.hasEnded, 'the end')
    expect(caller.isReset).to.equal(true)
  })

  it('answers 502 when the endpoint goes without an answer', async () => {
    for (const how of ['end', 'reset', 'destroy'] as const) {
      const { caller, endpoint } = await bed.begin(get('/chat', asking))
      await endpoint.readThrough('\r\n\r\n')
      endpoint[how]()
      expect(refusalOf(await caller.readMessage()), how).to.equal('502 upstream_reset')
      await caller.gone()
      caller.destroy()
      endpoint.destroy()
    }
  })

  it('passes a reset on, in both directions', async () => {
    const first = await switched()
    first.caller.reset()
    await until(() => first.endpoint.isClosed || first.endpoint.hasEnded, 'the end at the endpoint')
    const second = await switched()
    second.endpoint.reset()
    await until(() => second.caller.isClosed || second.caller.hasEnded, 'the end at the caller')
  })

  it('passes an upgrade with a body on as an ordinary request, or refuses it', async () => {
    const caller = await bed.caller()
    caller.send(`POST / HTTP/1.1\r\nHost: ${host}\r\n${asking}Content-Length: 4\r\n\r\nbody`)
    bed.server.answerAll(ok('fine'))
    const response = await caller.readMessage()
    expect(response.slice(9, 12)).to.be.oneOf(['200', '400', '501'])
    if (response.startsWith('HTTP/1.1 200')) {
      const seen = bed.server.received
      expect(seen.toLowerCase()).not.to.include('upgrade:')
      expect(seen).to.include('\r\n\r\nbody')
    }
    caller.destroy()
  })

  it('ends a tunnel in which nothing moves for 5 minutes', async () => {
    await bed.stop()
    const clock = new FakeClock()
    bed = await startBed({ clock })
    const { caller, endpoint } = await switched()
    for (let minute = 0; minute < 4; minute++) clock.tick(60_000)
    caller.send('ping')
    expect(await endpoint.read(4)).to.equal('ping')
    for (let minute = 0; minute < 4; minute++) clock.tick(60_000)
    endpoint.send('pong')
    expect(await caller.read(4)).to.equal('pong')
    for (let minute = 0; minute < 6; minute++) clock.tick(60_000)
    await until(() => caller.isClosed || caller.hasEnded, 'the end at the caller')
    await until(() => endpoint.isClosed || endpoint.hasEnded, 'the end at the endpoint')
  })

  it('stops the endpoint while the caller does not read', async () => {
    const { caller, endpoint } = await switched()
    caller.socket.pause()
    await endpoint.sendUntilStuck()
    caller.destroy()
    await until(() => endpoint.isClosed || endpoint.hasEnded, 'the end at the endpoint')
  })
})
