// What is sent to exhaust: each costs the sender more than us, or meets a bound. Numbered as in the project's list of
// hazards; those on HTTP/2 (7.41–7.45) are tested with the tunnel, those on admin endpoints (7.55) with these.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import type { AgentOptions } from '../support/agent.ts'
import type { RawSocket } from '../support/raw.ts'
import { type Bed, get, host, ok, okDown, plain, refusalOf, startBed, up } from '../support/rawmesh.ts'
import { endpoints, service, spec } from '../support/resources.ts'
import { until } from '../support/until.ts'

/** Frees what nobody holds: only what is held counts. */
function collect(): void {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
}

describe('floods on the wire', function () {
  this.timeout(30_000)
  let bed: Bed
  const open = async (options: AgentOptions = {}) => {
    bed = await startBed(options)
  }
  afterEach(() => bed.stop())

  it('7.46 as many headers as there may be, all named by Connection', async () => {
    await open()
    const names = Array.from({ length: 97 }, (_, index) => `x-${index}`)
    const lines = `Connection: ${names.join(',')}\r\n${names.map((name) => `${name}: 1\r\n`).join('')}`
    const { caller, endpoint } = await bed.begin(get('/', lines))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /'))
    endpoint.send(ok(''))
    await caller.readMessage()
  })

  it('7.47 chunks of one byte are carried', async () => {
    await open()
    const count = 20_000
    const { caller, endpoint } = await bed.begin(
      `POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    )
    caller.send(`${'1\r\nx\r\n'.repeat(count)}0\r\n\r\n`)
    await endpoint.readThrough('\r\n\r\n')
    expect(await endpoint.read(6 * count + 5)).to.equal(`${'1\r\nx\r\n'.repeat(count)}0\r\n\r\n`)
    endpoint.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    endpoint.send(`${'1;a=b\r\nx\r\n'.repeat(count)}0\r\n\r\n`)
    const response = await caller.readMessage()
    expect(response.slice(response.indexOf('\r\n\r\n') + 4)).to.equal(`${'1\r\nx\r\n'.repeat(count)}0\r\n\r\n`)
  })

  it('7.48 connections beyond the limit are refused, and admitted again when one closes', async () => {
    await open({ flags: ['--connection-limit', '3'] })
    bed.server.answerAll(ok(''))
    const ask = async (caller: RawSocket) => {
      caller.send(get())
      return (await caller.readMessage()).slice(9, 12)
    }
    const callers = [await bed.caller(), await bed.caller(), await bed.caller()]
    for (const caller of callers) expect(await ask(caller)).to.equal('200')
    const fourth = await bed.caller()
    expect(refusalOf(await fourth.readMessage())).to.equal('503 overloaded')
    await fourth.gone()
    callers[0]!.destroy()
    await until(() => bed.agent.thread.outbound.open === 2, 'the end of one connection')
    expect(await ask(await bed.caller())).to.equal('200')
  })

  it('7.50 a body too large to be kept is not kept, and its request not repeated', async () => {
    await open()
    const size = 32 << 20
    const { caller, endpoint } = await bed.begin(`PUT / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${size}\r\n\r\n`)
    let taken = 0
    endpoint.socket.on('data', (chunk: Buffer) => {
      taken += chunk.length
      endpoint.received = ''
    })
    collect()
    const before = process.memoryUsage().arrayBuffers
    const piece = Buffer.alloc(1 << 20, 'x')
    for (let sent = 0; sent < size - piece.length; sent += piece.length) {
      caller.send(piece)
      await until(() => caller.socket.writableLength === 0, 'that the piece is sent')
    }
    await until(() => taken > size - 2 * piece.length, 'that the endpoint has most of it')
    // Both of our own sockets live in this process too, and what they have let go of may take a turn more to be freed;
    // 32 MiB would be the body, and stay.
    const kept = () => {
      collect()
      return process.memoryUsage().arrayBuffers - before
    }
    await until(
      () => kept() < 8 << 20,
      () => `that little of the body is kept, not ${kept()} bytes,`,
    )
    endpoint.reset()
    expect(refusalOf(await caller.readMessage())).to.equal('502 upstream_reset')
    await caller.gone()
    expect(bed.agent.settled.at(-1)?.attempts).to.equal(1)
    expect(bed.server.connections).to.have.length(1)
  })

  it('7.52 hosts at random make no series of metrics', async () => {
    await open()
    const caller = await bed.caller()
    const series = () =>
      bed.agent.messages.reduce((sum, message) => sum + (message.type === 'series' ? message.added.length : 0), 0)
    const ask = async (index: number) => {
      caller.send(`GET /${index} HTTP/1.1\r\nHost: h${index}.example\r\nX-${index}: 1\r\n\r\n`)
      expect(refusalOf(await caller.readMessage())).to.equal('404 no_route')
    }
    await ask(0)
    const before = series()
    for (let index = 1; index < 2000; index++) await ask(index)
    expect(series()).to.equal(before)
  })

  it('7.53 compressed content is carried as it is', async () => {
    await open()
    const bomb = gzipSync(Buffer.alloc(10 << 20)).toString('latin1')
    const { caller, endpoint } = await bed.begin(get('/', 'Accept-Encoding: gzip\r\n'))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /', 'Accept-Encoding: gzip\r\n'))
    endpoint.send(ok(bomb, 'Content-Encoding: gzip\r\n'))
    expect(await caller.readMessage()).to.equal(okDown(bomb, 'Content-Encoding: gzip\r\n'))
  })

  it('7.54 patterns that are catastrophic elsewhere take no time', async () => {
    await open()
    const hostile = ['(a+)+$', '(a|a)*b', '(.*a){20}', '([a-zA-Z]+)*$', '^(([a-z])+.)+[A-Z]([a-z])+$']
    const matches = hostile.map((path, index) => ({ name: `m${index}`, path: `/${path}b`, methods: null, headers: [] }))
    const split = { name: 'shop/hostile', matches, backends: [{ service: 'shop/web', weight: 1 }] }
    await bed.agent.apply(
      service('shop/web', { ports: [{ number: 80, name: 'http', protocol: 'http', splits: [split] }] }),
      endpoints('shop/web:80', spec('127.0.0.1', { port: bed.server.port })),
    )
    bed.server.answerAll(ok(''))
    const caller = await bed.caller()
    // With backtracking, each of these would take longer than the universe is old.
    for (let count = 0; count < 20; count++) {
      caller.send(get(`/${'a'.repeat(8000)}!`))
      expect((await caller.readMessage()).slice(9, 12)).to.equal('200')
    }
  })
})
