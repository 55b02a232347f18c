// Readiness, metrics and debug endpoints, over real sockets.

import { once } from 'node:events'
import type { Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import { type LogLevel, readConfig } from '../../../agent/config.ts'
import { nothing, Reader } from '../../../agent/mesh/store.ts'
import { type AdminSources, adminServer, statsServer } from '../../../agent/observe/admin.ts'
import { Ready } from '../../../agent/observe/ready.ts'
import { mesh } from '../../support/resources.ts'

describe('agent/observe/admin', () => {
  let servers: Server[]
  let sources: AdminSources
  let level: LogLevel
  let ailment: string | null

  beforeEach(() => {
    servers = []
    level = 'info'
    ailment = null
    sources = {
      config: readConfig(['--node', 'n', '--pod', 'p', '--address', '127.0.0.1', '--controller', 'http://c:1'], {}),
      ready: new Ready(() => {}),
      ailment: () => ailment,
      metrics: [{ name: 'weft_x', help: 'An x.', type: 'gauge', read: () => [{ value: 1, labels: { a: 'b"\n' } }] }],
      inForce: () => nothing,
      ask: async (what) => [{ thread: 0, value: what }],
      identities: () => ({ accounts: [] }),
      level: () => level,
      setLevel: (next) => {
        level = next
      },
      profile: async (thread, ms) => `${thread} ${ms}`,
      heap: async (thread) => Readable.from([`heap ${thread}`]),
    }
  })
  afterEach(() => {
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  })

  async function start(make: (sources: AdminSources) => Server): Promise<string> {
    const server = make(sources)
    servers.push(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  /** Sends bytes as they are, gives all that comes back. */
  async function raw(origin: string, bytes: string): Promise<string> {
    const socket = connect(Number(new URL(origin).port), '127.0.0.1')
    socket.end(bytes)
    let all = ''
    for await (const part of socket.setEncoding('latin1')) all += part
    return all
  }

  it('tells readiness, and what is in the way', async () => {
    const origin = await start(statsServer)
    expect((await fetch(`${origin}/readyz`)).status).to.equal(200)
    sources.ready.block('snapshot', 'the controller or a copy on disk')
    sources.ready.block('ports', 'thread 0: 16384 EADDRINUSE')
    const response = await fetch(`${origin}/readyz`)
    expect([response.status, await response.text()]).to.deep.equal([503, 'not ready: snapshot, ports\n'])
    const verbose = await fetch(`${origin}/readyz?verbose`)
    expect(await verbose.text()).to.equal(
      'snapshot: the controller or a copy on disk\nports: thread 0: 16384 EADDRINUSE\n',
    )
  })

  it('tells of its life', async () => {
    const origin = await start(statsServer)
    expect(await (await fetch(`${origin}/livez`)).text()).to.equal('ok\n')
    ailment = 'data thread 0 has been silent for 31 s'
    const response = await fetch(`${origin}/healthz`)
    expect([response.status, await response.text()]).to.deep.equal([503, `${ailment}\n`])
  })

  it('asks a data thread who may call whom, and says what a question lacks', async () => {
    const origin = await start(adminServer)
    const path = '/debug/permit?source=shop/a&destination=shop/b&port=80&method=GET&path=/x/../y'
    const answer = await fetch(`${origin}${path}`)
    expect([answer.status, await answer.json()]).to.deep.equal([
      200,
      {
        permit: {
          source: 'shop/a',
          destination: 'shop/b',
          port: 80,
          request: { method: 'GET', path: '/y', headers: [] },
        },
      },
    ])
    const flawed = await fetch(`${origin}/debug/permit?source=shop/a&destination=shop/b`)
    expect([flawed.status, await flawed.text()]).to.deep.equal([
      400,
      'port must be the port of the pod, from 1 to 65535\n',
    ])
    sources = { ...sources, ask: async () => [] }
    expect((await fetch(`${await start(adminServer)}${path}`)).status).to.equal(503)
  })

  it('serves metrics, escaped', async () => {
    const response = await fetch(`${await start(statsServer)}/metrics`)
    expect(response.headers.get('content-type')).to.equal('text/plain; version=0.0.4; charset=utf-8')
    expect(await response.text()).to.equal('# HELP weft_x An x.\n# TYPE weft_x gauge\nweft_x{a="b\\"\\n"} 1\n')
  })

  it('keeps debug endpoints off the stats port', async () => {
    const origin = await start(statsServer)
    for (const path of ['/debug/config', '/debug/heap-snapshot', '/', '/readyz/', '//readyz', '/__proto__']) {
      expect((await fetch(origin + path)).status, path).to.equal(404)
    }
    expect(await raw(origin, 'GET http://x/debug/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).to.match(
      /^HTTP\/1.1 404/,
    )
  })

  it('shows configuration, snapshot and what the threads answer', async () => {
    const reader = new Reader('7', null)
    reader.take({ type: 'set', resource: mesh }, JSON.stringify({ type: 'set', resource: mesh }))
    const wanted = reader.finish({ type: 'commit', version: '7', count: 1 })
    sources = { ...sources, inForce: () => wanted }
    const origin = await start(adminServer)
    expect(await (await fetch(`${origin}/debug/config`)).json()).to.deep.equal(sources.config)
    const lines = (await (await fetch(`${origin}/debug/snapshot`)).text()).trim().split('\n')
    expect(lines.map((line) => JSON.parse(line))).to.deep.equal([
      { version: '7', resources: 1 },
      { type: 'set', resource: mesh },
    ])
    expect(await (await fetch(`${origin}/debug/identities`)).json()).to.deep.equal({ accounts: [] })
    for (const what of ['fuses', 'exchanges', 'pools']) {
      expect(await (await fetch(`${origin}/debug/${what}`)).json()).to.deep.equal([{ thread: 0, value: what }])
    }
  })

  it('changes the log level by PUT alone, and checks what it is given', async () => {
    const origin = await start(adminServer)
    const url = `${origin}/debug/log-level`
    expect(await (await fetch(url)).text()).to.equal('info\n')
    expect((await fetch(url, { method: 'PUT', body: 'debug\n' })).status).to.equal(200)
    expect(level).to.equal('debug')
    expect((await fetch(url, { method: 'PUT', body: 'loud' })).status).to.equal(400)
    expect((await fetch(url, { method: 'PUT', body: 'x'.repeat(5000) })).status).to.equal(413)
    const post = await fetch(url, { method: 'POST', body: 'debug' })
    expect([post.status, post.headers.get('allow')]).to.deep.equal([405, 'GET, PUT'])
    expect(level).to.equal('debug')
  })

  it('7.55 reads neither deep JSON nor thousands of names', async () => {
    const origin = await start(adminServer)
    const deep = '['.repeat(100_000) + ']'.repeat(100_000)
    expect((await fetch(`${origin}/debug/log-level`, { method: 'PUT', body: deep })).status).to.equal(413)
    const short = '['.repeat(500) + ']'.repeat(500)
    expect((await fetch(`${origin}/debug/log-level`, { method: 'PUT', body: short })).status).to.equal(400)
    const names = Array.from({ length: 5_000 }, (_, n) => `k${n}=v`).join('&')
    const answer = await fetch(`${origin}/debug/permit?${names}`).catch((error: Error) => error)
    if (!(answer instanceof Error)) expect(answer.status).to.be.within(400, 431)
    expect((await fetch(`${origin}/readyz`)).status).to.be.oneOf([200, 503])
  })

  it('takes profiles and heap snapshots of a thread, one at a time', async () => {
    const origin = await start(adminServer)
    expect(await (await fetch(`${origin}/debug/cpu-profile?seconds=2`)).text()).to.equal('0 2000')
    expect(await (await fetch(`${origin}/debug/cpu-profile?seconds=2&thread=control`)).text()).to.equal('null 2000')
    expect(await (await fetch(`${origin}/debug/heap-snapshot?thread=1`)).text()).to.equal('heap 1')
    for (const query of ['seconds=0', 'seconds=61', 'seconds=x', 'thread=../1']) {
      expect((await fetch(`${origin}/debug/cpu-profile?${query}`)).status, query).to.equal(400)
    }
    const gate = Promise.withResolvers<string>()
    servers.pop()!.close()
    sources = { ...sources, profile: () => gate.promise }
    const slow = await start(adminServer)
    const first = fetch(`${slow}/debug/cpu-profile`)
    while ((await fetch(`${slow}/debug/heap-snapshot`)).status !== 409) await new Promise(setImmediate)
    gate.resolve('done')
    expect(await (await first).text()).to.equal('done')
  })

  it('answers direct requests alone: no foreign Host, no other origin', async () => {
    const origin = await start(adminServer)
    const ask = (headers: string) => raw(origin, `GET /debug/config HTTP/1.1\r\n${headers}Connection: close\r\n\r\n`)
    expect(await ask('Host: localhost:15000\r\n')).to.match(/^HTTP\/1.1 200/)
    expect(await ask('Host: [::1]:15000\r\n')).to.match(/^HTTP\/1.1 200/)
    for (const headers of [
      'Host: rebound.example\r\n',
      'Host: localhost.example\r\n',
      'Host: 127.0.0.1.example\r\n',
      'Host: localhost\r\nOrigin: http://evil.example\r\n',
      'Host: localhost\r\nSec-Fetch-Site: cross-site\r\n',
    ]) {
      expect(await ask(headers), headers).to.match(/^HTTP\/1.1 403/)
    }
    expect(await ask(`Host: localhost\r\nX: ${'y'.repeat(9000)}\r\n`)).to.match(/^HTTP\/1.1 431/)
  })
})

describe('agent/observe/ready', () => {
  it('is ready when nothing is in the way, and tells each change once', () => {
    const seen: boolean[] = []
    const ready = new Ready((isReady) => seen.push(isReady))
    ready.block('a', 'x')
    ready.block('b', 'y')
    ready.clear('a')
    expect(ready.isReady).to.equal(false)
    ready.clear('b')
    ready.clear('b')
    ready.require('c', false, 'z')
    expect([...ready.blockers]).to.deep.equal([['c', 'z']])
    ready.require('c', true, 'z')
    expect(seen).to.deep.equal([true, false, true])
  })
})
