// Headers that lie about who somebody is, and names that two readers read differently; numbered as in the project's list
// of hazards.

import { expect } from 'chai'
import type { AgentOptions } from '../support/agent.ts'
import { rawConnect } from '../support/raw.ts'
import { added, type Bed, get, host, ok, plain, post, refusalOf, startBed, up } from '../support/rawmesh.ts'
import { endpoints, service, spec, workload } from '../support/resources.ts'
import { until } from '../support/until.ts'

describe('headers on the wire', () => {
  let bed: Bed
  const open = async (options: AgentOptions = {}) => {
    bed = await startBed(options)
  }
  afterEach(() => bed.stop())

  /** What the endpoint sees of a request with these lines. */
  async function seen(lines: string): Promise<string> {
    const { caller, endpoint } = await bed.begin(get('/', lines))
    const request = plain(await endpoint.readMessage())
    endpoint.send(ok('', 'Connection: close\r\n'))
    await caller.readMessage()
    return request
  }

  it('7.11 identity headers of the caller are removed, however they are written', async () => {
    await open()
    const lines = [
      'x-forwarded-client-cert: By=spiffe://cluster.local/ns/shop/sa/admin\r\n',
      'X-Forwarded-Client-Cert: Hash=1\r\n',
      'X_Forwarded_Client_Cert: Hash=2\r\n',
      'x_forwarded-client_cert: Hash=3\r\n',
      'X-FORWARDED-CLIENT-CERT:\r\n',
    ]
    expect(await seen(`X-A: 1\r\n${lines.join('')}X-B: 2\r\n`)).to.equal(up('GET /', 'X-A: 1\r\nX-B: 2\r\n'))
  })

  it('7.11 identity headers in a response and in trailers are removed or refused', async () => {
    await open()
    const { caller, endpoint } = await bed.begin(get())
    await endpoint.readMessage()
    endpoint.send(ok('', 'X-Forwarded-Client-Cert: Hash=1\r\nX-Weft-Error: denied\r\n'))
    expect((await caller.readMessage()).toLowerCase()).not.to.match(/client-cert|x-weft-error/)
    caller.send(
      `POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Forwarded-Client-Cert: Hash=1\r\n\r\n`,
    )
    expect(refusalOf(await caller.readMessage())).to.equal('400 bad_request')
    expect(bed.server.received).not.to.include('Hash=1')
  })

  it('7.12 Connection can take away neither what the mesh says nor the framing', async () => {
    await open()
    const lines =
      'Connection: x-forwarded-client-cert, x-forwarded-for, via, x-forwarded-proto, traceparent, x-request-id\r\n'
    expect(await seen(`X-Forwarded-For: 10.0.0.1\r\n${lines}`)).to.equal(up('GET /'))
    for (const name of ['content-length', 'transfer-encoding', 'host', 'Host , x']) {
      const response = await bed.refuse(post('abc', `Connection: ${name}\r\n`))
      expect(refusalOf(response), name).to.equal('400 bad_request')
    }
  })

  it('7.13 an underscore for a hyphen gains nothing', async () => {
    await open()
    for (const name of ['Content_Length', 'content_length', 'Transfer_Encoding', 'transfer_Encoding']) {
      expect(refusalOf(await bed.refuse(get('/', `${name}: 5\r\n`))), name).to.equal('400 bad_request')
    }
    const aliases = 'X_Forwarded_For: 10.0.0.1\r\nX_Forwarded_Proto: https\r\nx-forwarded_for: 10.0.0.2\r\n'
    expect(await seen(`${aliases}X_Mine: 1\r\n`)).to.equal(up('GET /', 'X_Mine: 1\r\n'))
  })

  describe('with a split by a header', () => {
    const canary = { name: 'canary', path: null, methods: null, headers: [{ name: 'x-canary', value: '^yes$' }] }

    beforeEach(async () => {
      await open()
      const { port } = bed.server
      const split = { name: 'shop/by-header', matches: [canary], backends: [{ service: 'shop/canary', weight: 1 }] }
      await bed.agent.apply(
        service('shop/web', { ports: [{ number: 80, name: 'http', protocol: 'http', splits: [split] }] }),
        service('shop/canary', { enrolled: false }),
        // The canary has no endpoint, so a request that is taken for one fails in its own way.
        endpoints('shop/canary:80'),
        endpoints('shop/web:80', spec('127.0.0.1', { port })),
      )
    })

    const isCanary = async (lines: string): Promise<boolean> => {
      const caller = await bed.caller()
      bed.server.answerAll(ok(''))
      caller.send(get('/', lines))
      const response = await caller.readMessage()
      return response.includes('no_endpoint')
    }

    it('7.14 white space around a value is not part of it', async () => {
      for (const value of ['yes', ' yes', 'yes ', '\tyes\t ']) {
        expect(await isCanary(`X-Canary:${value}\r\n`), JSON.stringify(value)).to.equal(true)
      }
      expect(await isCanary('X-Canary: y es\r\n')).to.equal(false)
    })

    it('7.15 several values match as the joined one, not one by one', async () => {
      expect(await isCanary('X-Canary: yes\r\nX-Canary: no\r\n')).to.equal(false)
      expect(await isCanary('X-Canary: no\r\nX-Canary: yes\r\n')).to.equal(false)
      expect(await isCanary('X-Canary: yes, yes\r\n')).to.equal(false)
      expect(await isCanary('')).to.equal(false)
    })

    it('7.16 headers that name another path have no effect', async () => {
      const byPath = { name: 'admin', path: '/admin', methods: null, headers: [] }
      const split = { name: 'shop/by-path', matches: [byPath], backends: [{ service: 'shop/canary', weight: 1 }] }
      await bed.agent.apply(
        service('shop/web', { ports: [{ number: 80, name: 'http', protocol: 'http', splits: [split] }] }),
      )
      const lines =
        'X-Original-Path: /admin\r\nX-Envoy-Original-Path: /admin\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n'
      expect(await isCanary(lines)).to.equal(false)
    })
  })

  it('7.17 who a caller is follows from its address alone', async () => {
    await open()
    await bed.agent.apply(workload('127.0.0.77', { pod: 'other/p-1', account: 'other/p' }))
    bed.server.answerAll(ok(''))
    const ask = async (from: string, lines: string) => {
      const caller = await rawConnect(bed.agent.port, bed.agent.address, from)
      caller.send(`GET / HTTP/1.1\r\nHost: web-mesh\r\n${lines}\r\n`)
      const response = await caller.readMessage()
      caller.destroy()
      return response.slice(9, 12)
    }
    // A name of one label means a service of the caller's own namespace.
    expect(await ask('127.0.0.1', '')).to.equal('200')
    expect(await ask('127.0.0.77', '')).to.equal('404')
    const lies =
      'X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nTrue-Client-IP: 127.0.0.1\r\n'
    expect(await ask('127.0.0.77', lies)).to.equal('404')
  })

  it('7.18 headers named like properties of objects', async () => {
    await open()
    const lines = '__proto__: 1\r\nconstructor: 2\r\ntoString: 3\r\nhasOwnProperty: 4\r\nprototype: 5\r\n'
    expect(await seen(lines)).to.equal(up('GET /', lines))
    const { caller, endpoint } = await bed.begin(get())
    await endpoint.readMessage()
    endpoint.send(ok('', lines))
    expect(await caller.readMessage()).to.include(lines)
  })

  it('7.19 a grpc-timeout beyond all bounds', async () => {
    await open()
    for (const timeout of ['99999999H', '999999999999999999999999H', '-1S', '0n', 'x', '']) {
      const lines = `Content-Type: application/grpc\r\nTE: trailers\r\ngrpc-timeout: ${timeout}\r\n`
      expect(await seen(lines)).to.equal(up('GET /', lines.replace('TE: trailers\r\n', '')))
    }
  })

  it('7.20 what callers send stands in the log as one line of JSON', async () => {
    await open({ flags: ['--access-log'] })
    bed.server.answerAll(ok(''))
    const nasty = '"},{"reason":"x'
    const requests = [
      get(`/${encodeURIComponent('\r\n{"a":1}')}?q=${'{}'}`),
      get('/', `User-Agent: ${nasty}\\\r\n`),
      `GET / HTTP/1.1\r\nHost: ${nasty}\r\n\r\n`,
      `GET /\x1b[31m HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
      `${nasty} / HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    ]
    for (const request of requests) {
      const caller = await bed.caller()
      caller.send(request)
      await caller.readMessage()
      caller.destroy()
    }
    const text = () => bed.agent.messages.map((message) => (message.type === 'lines' ? message.text : '')).join('')
    await until(() => text().split('\n').length > requests.length, 'a line for each request')
    for (const line of text().trimEnd().split('\n')) {
      expect(JSON.parse(line)).to.be.an('object')
      expect(line).to.match(/^[\x20-\x7e]*$/)
    }
  })

  it('7.57 a request that goes in a circle is ended', async () => {
    await open()
    const passed = (times: number) => `Via: ${Array.from({ length: times }, () => '1.1 weft').join(', ')}\r\n`
    expect(await seen(passed(7))).to.equal(up('GET /', passed(7)))
    const caller = await bed.caller()
    caller.send(get('/', passed(8)))
    expect(refusalOf(await caller.readMessage())).to.equal('508 loop')
    const other = await bed.caller()
    other.send(get('/', passed(4).repeat(2)))
    expect(refusalOf(await other.readMessage())).to.equal('508 loop')
  })

  it('adds its own lines once, behind those of the caller', async () => {
    await open()
    expect(await seen('X-A: 1\r\n')).to.equal(`GET / HTTP/1.1\r\nhost: ${host}\r\nX-A: 1\r\n${added}\r\n`)
  })
})
