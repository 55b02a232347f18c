// HTTP/1.1 through the agent, byte by byte: what RFC 9110 and 9112 ask of a proxy.

import { expect } from 'chai'
import {
  added,
  type Bed,
  clientCert,
  get,
  host,
  ok,
  okDown,
  plain,
  post,
  refusalOf,
  startBed,
  up,
} from '../support/rawmesh.ts'

describe('HTTP/1.1 on the wire', () => {
  let bed: Bed
  beforeEach(async () => {
    bed = await startBed()
  })
  afterEach(() => bed.stop())

  it('forwards a GET with the lines that the caller sent, in their order and case', async () => {
    const lines = 'X-One: 1\r\naccept:  text/html \r\nX-One: 2\r\n'
    const { caller, endpoint } = await bed.begin(get('/a?b=c', lines))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /a?b=c', lines))
    endpoint.send(ok('hello', 'X-Two:  2\r\n'))
    expect(await caller.readMessage()).to.equal(okDown('hello', 'X-Two:  2\r\n'))
  })

  it('keeps both connections for the next request', async () => {
    const { caller, endpoint } = await bed.begin(get('/1'))
    for (const path of ['/1', '/2', '/3']) {
      if (path !== '/1') caller.send(get(path))
      expect(plain(await endpoint.readMessage())).to.equal(up(`GET ${path}`))
      endpoint.send(ok(path))
      expect(await caller.readMessage()).to.equal(okDown(path))
    }
    expect(bed.server.connections).to.have.length(1)
  })

  it('forwards a body by its Content-Length, whatever pieces it comes in', async () => {
    const slow = await bed.caller()
    await slow.sendSlowly(post('0123456789'), 7)
    const server = await bed.server.next()
    expect(plain(await server.readMessage())).to.equal(up('POST /', 'Content-Length: 10\r\n', '0123456789'))
    server.send(ok(''))
    expect(await slow.readMessage()).to.equal(okDown(''))
  })

  it('forwards chunks, their extensions removed, and trailers', async () => {
    const head = `POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n`
    const { caller, endpoint } = await bed.begin(
      `${head}5;a=b;c="d e"\r\nhello\r\n00A\r\n0123456789\r\n0;x\r\nX-Sum: 1\r\n\r\n`,
    )
    const got = plain(await endpoint.readMessage())
    const lines = 'Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n'
    expect(got).to.equal(up('POST /', lines, '5\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n'))
    endpoint.send(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: today\r\n\r\n3;q=1\r\nabc\r\n0\r\nX-T: 2\r\n\r\n',
    )
    expect(await caller.readMessage()).to.equal(
      'HTTP/1.1 200 OK\r\nDate: today\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 2\r\n\r\n',
    )
  })

  it('forwards each chunk as it comes, without waiting for the next', async () => {
    const { caller, endpoint } = await bed.begin(
      `POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    )
    await endpoint.readThrough('\r\n\r\n')
    for (const chunk of ['3\r\nabc\r\n', '2\r\nde\r\n']) {
      caller.send(chunk)
      expect(await endpoint.read(chunk.length)).to.equal(chunk)
    }
    caller.send('0\r\n\r\n')
    expect(await endpoint.read(5)).to.equal('0\r\n\r\n')
    endpoint.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    await caller.readThrough('\r\n\r\n')
    endpoint.send('3\r\nabc\r\n')
    expect(await caller.read(8)).to.equal('3\r\nabc\r\n')
    endpoint.send('0\r\n\r\n')
    expect(await caller.read(5)).to.equal('0\r\n\r\n')
  })

  it('lets a client wait for 100 Continue', async () => {
    const expects = 'Expect: 100-continue\r\n'
    const { caller, endpoint } = await bed.begin(post('', '').replace('Length: 0\r\n', `Length: 4\r\n${expects}`))
    expect(plain(await endpoint.readThrough('\r\n\r\n'))).to.equal(up('POST /', `Content-Length: 4\r\n${expects}`))
    expect(endpoint.unread).to.equal('')
    endpoint.send('HTTP/1.1 100 Continue\r\n\r\n')
    expect(await caller.readThrough('\r\n\r\n')).to.equal('HTTP/1.1 100 Continue\r\n\r\n')
    caller.send('body')
    expect(await endpoint.read(4)).to.equal('body')
    endpoint.send(ok('done'))
    expect(await caller.readMessage()).to.equal(okDown('done'))
    caller.send(get('/next'))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /next'))
    endpoint.send(ok(''))
    await caller.readMessage()
  })

  it('passes a refusal on to a client that waits for 100 Continue, and closes both connections', async () => {
    const { caller, endpoint } = await bed.begin(post('').replace('Length: 0', 'Length: 4\r\nExpect: 100-continue'))
    await endpoint.readThrough('\r\n\r\n')
    endpoint.send('HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n')
    expect(plain(await caller.readMessage())).to.equal(
      'HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\ndate: DATE\r\nconnection: close\r\n\r\n',
    )
    expect((await caller.gone()).rest).to.equal('')
    await endpoint.gone()
  })

  it('does not send 100 Continue to a client that did not ask, but sends 103', async () => {
    const { caller, endpoint } = await bed.begin(get())
    await endpoint.readMessage()
    endpoint.send('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n')
    expect(await caller.readThrough('\r\n\r\n')).to.equal('HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n')
    endpoint.send(ok('x'))
    expect(await caller.readMessage()).to.equal(okDown('x'))
  })

  it('refuses any other expectation', async () => {
    expect(refusalOf(await bed.refuse(post('', 'Expect: 200-ok\r\n')))).to.equal('417 expectation_failed')
  })

  it('knows that HEAD, 204 and 304 have no body, whatever their heads say', async () => {
    const { caller, endpoint } = await bed.begin(get().replace('GET', 'HEAD'))
    await endpoint.readMessage()
    endpoint.send('HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 1000\r\n\r\n')
    expect(await caller.readThrough('\r\n\r\n')).to.equal(
      'HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 1000\r\n\r\n',
    )
    for (const status of ['204 No Content', '304 Not Modified']) {
      caller.send(get())
      await endpoint.readMessage()
      endpoint.send(`HTTP/1.1 ${status}\r\nDate: today\r\nETag: "x"\r\n\r\n`)
      expect(await caller.readThrough('\r\n\r\n')).to.equal(`HTTP/1.1 ${status}\r\nDate: today\r\nETag: "x"\r\n\r\n`)
    }
    caller.send(get())
    await endpoint.readMessage()
    endpoint.send('HTTP/1.1 304 Not Modified\r\nDate: today\r\nContent-Length: 10\r\n\r\n')
    expect(await caller.readThrough('\r\n\r\n')).to.include('304')
    caller.send(get('/last'))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /last'))
    endpoint.send(ok('last'))
    expect(await caller.readMessage()).to.equal(okDown('last'))
  })

  it('ends a response that only its connection ends with the end of its own', async () => {
    const { caller, endpoint } = await bed.begin(get())
    await endpoint.readMessage()
    endpoint.send('HTTP/1.1 200 OK\r\nDate: today\r\n\r\nuntil the end')
    endpoint.end()
    const { how, rest } = await caller.gone()
    expect(rest).to.equal('HTTP/1.1 200 OK\r\nDate: today\r\nconnection: close\r\n\r\nuntil the end')
    expect(how).to.equal('end')
  })

  it('resets when a response that only its connection ends is cut off by a reset', async () => {
    const { caller, endpoint } = await bed.begin(get())
    await endpoint.readMessage()
    endpoint.send('HTTP/1.1 200 OK\r\nDate: today\r\n\r\nuntil the')
    await caller.readThrough('until the')
    endpoint.reset()
    await caller.gone()
    expect(caller.isReset).to.equal(true)
  })

  it('answers pipelined requests in their order, one at a time', async () => {
    const { caller, endpoint } = await bed.begin(get('/1') + post('abc') + get('/3'))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /1'))
    expect(endpoint.unread).to.equal('')
    endpoint.send(ok('one'))
    expect(plain(await endpoint.readMessage())).to.equal(up('POST /', 'Content-Length: 3\r\n', 'abc'))
    expect(endpoint.unread).to.equal('')
    endpoint.send(ok('two'))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /3'))
    endpoint.send(ok('three'))
    for (const body of ['one', 'two', 'three']) expect(await caller.readMessage()).to.equal(okDown(body))
    expect(bed.server.connections).to.have.length(1)
  })

  it('forwards OPTIONS * as it is', async () => {
    const { caller, endpoint } = await bed.begin(`OPTIONS * HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    expect(plain(await endpoint.readMessage())).to.equal(up('OPTIONS *'))
    endpoint.send(ok(''))
    await caller.readMessage()
  })

  it('forwards the absolute form as path and Host', async () => {
    const { caller, endpoint } = await bed.begin(`GET http://${host}/a?b HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /a?b'))
    endpoint.send(ok(''))
    await caller.readMessage()
    caller.send(`GET HTTP://Web-Mesh.Shop HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /'))
    endpoint.send(ok(''))
    await caller.readMessage()
  })

  it('serves as http_proxy on the entry port', async () => {
    const caller = await bed.caller(bed.agent.entryPort)
    caller.send('GET http://web.shop/a HTTP/1.1\r\nHost: web.shop\r\nProxy-Connection: keep-alive\r\n\r\n')
    const endpoint = await bed.server.next()
    expect(plain(await endpoint.readMessage())).to.equal(`GET /a HTTP/1.1\r\nhost: web.shop\r\n${added}\r\n`)
    endpoint.send(ok(''))
    await caller.readMessage()
  })

  it('speaks HTTP/1.0 with an old client: one request, no chunks', async () => {
    const { caller, endpoint } = await bed.begin(`GET / HTTP/1.0\r\nHost: ${host}\r\n\r\n`)
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /').replace('via: 1.1', 'via: 1.0'))
    endpoint.send(
      'HTTP/1.1 200 OK\r\nDate: today\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n',
    )
    const { rest } = await caller.gone()
    expect(rest).to.equal('HTTP/1.1 200 OK\r\nDate: today\r\nconnection: close\r\n\r\nabcde')
  })

  it('keeps the connection of an old client that asks for it', async () => {
    const { caller, endpoint } = await bed.begin(`GET / HTTP/1.0\r\nHost: ${host}\r\nConnection: keep-alive\r\n\r\n`)
    await endpoint.readMessage()
    endpoint.send(ok('abc'))
    expect(await caller.readMessage()).to.equal(okDown('abc').replace('\r\n\r\n', '\r\nconnection: keep-alive\r\n\r\n'))
    caller.send(`GET /2 HTTP/1.0\r\nHost: ${host}\r\n\r\n`)
    await endpoint.readMessage()
    endpoint.send(ok('last'))
    expect((await caller.gone()).rest).to.equal(okDown('last').replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'))
  })

  it('sends no 1xx to an old client', async () => {
    const { caller, endpoint } = await bed.begin(`GET / HTTP/1.0\r\nHost: ${host}\r\n\r\n`)
    await endpoint.readMessage()
    endpoint.send(`HTTP/1.1 103 Early Hints\r\n\r\n${ok('x')}`)
    expect((await caller.gone()).rest.slice(0, 15)).to.equal('HTTP/1.1 200 OK')
  })

  it('speaks with an old server: its connection is not used again unless it says so', async () => {
    const { caller, endpoint } = await bed.begin(get('/1'))
    await endpoint.readMessage()
    endpoint.send('HTTP/1.0 200 OK\r\nDate: today\r\nContent-Length: 1\r\n\r\nx')
    expect(await caller.readMessage()).to.equal('HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 1\r\n\r\nx')
    caller.send(get('/2'))
    const second = await bed.server.next()
    await second.readMessage()
    second.send('HTTP/1.0 200 OK\r\nDate: today\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\ny')
    expect(await caller.readMessage()).to.equal('HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 1\r\n\r\ny')
    caller.send(get('/3'))
    expect(plain(await second.readMessage())).to.equal(up('GET /3'))
    second.send(ok(''))
    await caller.readMessage()
  })

  it('closes to the caller alone when the caller asks for it', async () => {
    const { caller, endpoint } = await bed.begin(get('/', 'Connection: close\r\n'))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /'))
    endpoint.send(ok('x'))
    expect((await caller.gone()).rest).to.equal(okDown('x', 'connection: close\r\n'))
    const second = await bed.caller()
    second.send(get('/2'))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /2'))
    endpoint.send(ok('y'))
    expect(await second.readMessage()).to.equal(okDown('y'))
  })

  it('closes to the endpoint alone when the endpoint asks for it', async () => {
    const { caller, endpoint } = await bed.begin(get('/1'))
    await endpoint.readMessage()
    endpoint.send(ok('x', 'Connection: close\r\n'))
    expect(await caller.readMessage()).to.equal(okDown('x'))
    await endpoint.gone()
    caller.send(get('/2'))
    const second = await bed.server.next()
    expect(plain(await second.readMessage())).to.equal(up('GET /2'))
    second.send(ok('y'))
    expect(await caller.readMessage()).to.equal(okDown('y'))
  })

  it('answers a request that came together with FIN', async () => {
    const { caller, endpoint } = await bed.begin(get())
    caller.end()
    await endpoint.readMessage()
    endpoint.send(ok('still'))
    // Whether the FIN was seen before the response shows in the line that announces it, and does not matter.
    expect((await caller.gone()).rest.replace('connection: close\r\n', '')).to.equal(okDown('still'))
  })

  it('answers all pipelined requests that came before FIN', async () => {
    const { caller, endpoint } = await bed.begin(get('/1') + get('/2'))
    caller.end()
    await endpoint.readMessage()
    endpoint.send(ok('one'))
    await endpoint.readMessage()
    endpoint.send(ok('two'))
    const { rest } = await caller.gone()
    expect(rest.match(/one|two/g)).to.deep.equal(['one', 'two'])
  })

  it('passes an early response on, and uses neither connection again', async () => {
    const { caller, endpoint } = await bed.begin(post('').replace('Length: 0', 'Length: 100000'))
    await endpoint.readThrough('\r\n\r\n')
    caller.send('some of it')
    await endpoint.read(10)
    endpoint.send('HTTP/1.1 413 Content Too Large\r\nDate: today\r\nContent-Length: 3\r\n\r\nno\n')
    expect(await caller.readMessage()).to.equal(
      'HTTP/1.1 413 Content Too Large\r\nDate: today\r\nContent-Length: 3\r\nconnection: close\r\n\r\nno\n',
    )
    await endpoint.gone()
    await caller.gone()
  })

  it('adds a Date where the endpoint sent none, and itself to Via', async () => {
    const { caller, endpoint } = await bed.begin(get('/', 'Via: 1.1 front\r\n'))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /', 'Via: 1.1 front\r\n'))
    endpoint.send('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    expect(plain(await caller.readMessage())).to.equal('HTTP/1.1 200 OK\r\nContent-Length: 0\r\ndate: DATE\r\n\r\n')
  })

  it('removes what is meant for one hop alone, in both directions', async () => {
    const hop =
      'Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: x\r\n'
    const { caller, endpoint } = await bed.begin(get('/', `X-A: 1\r\n${hop}X-B: 2\r\n`))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /', 'X-A: 1\r\nX-B: 2\r\n'))
    endpoint.send(ok('', `X-A: 1\r\n${hop}X-B: 2\r\n`))
    expect(await caller.readMessage()).to.equal(okDown('', 'X-A: 1\r\nX-B: 2\r\n'))
  })

  it('appends the caller to X-Forwarded-For and keeps trace, id and proto that are there', async () => {
    const trace = 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n'
    const lines = `${trace}X-Request-Id: mine\r\nX-Forwarded-Proto: https\r\n`
    const { caller, endpoint } = await bed.begin(get('/', `X-Forwarded-For: 10.0.0.9\r\n${lines}`))
    expect(await endpoint.readMessage()).to.equal(
      `GET / HTTP/1.1\r\nhost: ${host}\r\n${lines}x-forwarded-for: 10.0.0.9, 127.0.0.1\r\nvia: 1.1 weft\r\n${clientCert}\r\n`,
    )
    endpoint.send(ok(''))
    await caller.readMessage()
  })

  it('skips one empty line before a request', async () => {
    const { caller, endpoint } = await bed.begin(`\r\n${get('/1')}`)
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /1'))
    endpoint.send(ok('x'))
    await caller.readMessage()
  })

  it('refuses CONNECT and TRACE with 405', async () => {
    expect(refusalOf(await bed.refuse(`CONNECT ${host}:80 HTTP/1.1\r\nHost: ${host}\r\n\r\n`))).to.equal(
      '405 method_refused',
    )
    expect(refusalOf(await bed.refuse(get().replace('GET', 'TRACE')))).to.equal('405 method_refused')
  })
})
