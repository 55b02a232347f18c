// The strict parser of request heads: what it understands, and what it refuses with which reason.

import { expect } from 'chai'
import type { MeshError } from '../../../agent/errors.ts'
import { RequestHead } from '../../../agent/http1/head.ts'

const limits = { headBytes: 16_384, headers: 100 }

function parse(...lines: string[]): RequestHead {
  const head = new RequestHead()
  head.parse(`${lines.join('\r\n')}\r\n\r\n`, limits)
  return head
}

function reason(...lines: string[]): string {
  try {
    parse(...lines)
  } catch (error) {
    return (error as MeshError).reason
  }
  return 'accepted'
}

const get = 'GET / HTTP/1.1'
const host = 'Host: a'

describe('http1/head', () => {
  it('reads a plain request', () => {
    const head = parse('GET /a/b?c=d HTTP/1.1', 'Host: Web-Mesh.Shop.:9080', 'Accept: */*')
    expect(head).to.include({ method: 'GET', path: '/a/b', query: 'c=d', target: '/a/b?c=d', version: 1 })
    expect(head).to.include({ host: 'web-mesh.shop', hostPort: 9080, framing: 'none', isKeepAlive: true })
    expect(head.lines.block()).to.equal('Accept: */*\r\n')
  })

  it('gives all values of a header, by whatever case', () => {
    const head = parse(get, host, 'X-A: 1', 'x-b: 2', 'x-a:  3 ')
    expect(head.header('x-a')).to.equal('1, 3')
    expect(head.header('x-c')).to.equal(null)
  })

  it('cuts what is meant for this hop, and what Connection names', () => {
    const lines = ['Connection: x-a, close', 'X-A: 1', 'Keep-Alive: 5', 'TE: gzip', 'X-B: 2', 'Proxy-Authorization: x']
    const head = parse(get, host, ...lines)
    expect(head.lines.block()).to.equal('X-B: 2\r\n')
    expect(head.isKeepAlive).to.equal(false)
  })

  it('keeps a 1.0 connection only on request', () => {
    expect(parse('GET / HTTP/1.0').isKeepAlive).to.equal(false)
    expect(parse('GET / HTTP/1.0', 'Connection: Keep-Alive').isKeepAlive).to.equal(true)
    expect(parse('GET / HTTP/1.0', 'Connection: keep-alive, close').isKeepAlive).to.equal(false)
  })

  it('takes the authority of an absolute-form target', () => {
    const head = parse('GET http://Web.shop:80/x?y HTTP/1.1', 'Host: web.shop:80')
    expect(head).to.include({ host: 'web.shop', target: '/x?y', authority: 'web.shop:80' })
    expect(reason('GET http://a/x HTTP/1.1', 'Host: b')).to.equal('bad_request')
    expect(reason('GET https://a/x HTTP/1.1', 'Host: a')).to.equal('bad_request')
    expect(reason('GET http://u@a/x HTTP/1.1', 'Host: a')).to.equal('bad_request')
  })

  it('reads framing, and refuses every doubt about it', () => {
    expect(parse('POST / HTTP/1.1', host, 'Content-Length: 10')).to.include({ framing: 'length', length: 10 })
    expect(parse('POST / HTTP/1.1', host, 'Transfer-Encoding: Chunked').framing).to.equal('chunked')
    for (const value of ['010', '+5', '-1', '5, 5', '0x5', '5 5', '', '1e3', '99999999999999999']) {
      expect(reason('POST / HTTP/1.1', host, `Content-Length: ${value}`), value).to.equal('bad_request')
    }
    for (const value of [
      ',chunked',
      'chunked, chunked',
      'chunked;a=b',
      'xchunked',
      'identity',
      '"chunked"',
      '\vchunked',
    ]) {
      expect(reason('POST / HTTP/1.1', host, `Transfer-Encoding: ${value}`), value).to.equal('bad_request')
    }
    expect(reason('POST / HTTP/1.1', host, 'Transfer-Encoding: gzip, chunked')).to.equal('not_implemented')
    const both = ['Content-Length: 5', 'Transfer-Encoding: chunked']
    expect(reason('POST / HTTP/1.1', host, ...both)).to.equal('bad_request')
    expect(reason('POST / HTTP/1.1', host, 'Content-Length: 5', 'Content-Length: 5')).to.equal('bad_request')
    expect(reason('POST / HTTP/1.1', host, 'Transfer_Encoding: chunked')).to.equal('bad_request')
    expect(reason('POST / HTTP/1.0', host, 'Transfer-Encoding: chunked')).to.equal('bad_request')
  })

  it('refuses malformed lines', () => {
    const bad = [' X: 1', 'X : 1', 'X', ': 1', 'X: a\x00b', 'X: a\nb', 'X: a\rb', 'X\x80: 1', 'X: 1\r\n folded']
    for (const line of bad) expect(reason(get, host, line), JSON.stringify(line)).to.equal('bad_request')
    for (const line of [
      'GET /',
      'GET  / HTTP/1.1',
      'GET / HTTP/1.1 ',
      'GET\t/ HTTP/1.1',
      ' GET / HTTP/1.1',
      'G@T / HTTP/1.1',
    ]) {
      expect(reason(line, host), JSON.stringify(line)).to.equal('bad_request')
    }
    expect(reason('GET / HTTP/2.0', host)).to.equal('version_refused')
    expect(reason('GET / HTTP/1.2', host)).to.equal('version_refused')
    expect(reason('GET / http/1.1', host)).to.equal('bad_request')
  })

  it('wants exactly one well-formed Host', () => {
    expect(reason(get)).to.equal('bad_request')
    expect(reason(get, host, host)).to.equal('bad_request')
    for (const value of ['a b', 'a@b', 'a/b', 'a..b', 'a:b', 'a:0', 'a:65536', '[::1', 'a,b', 'ä']) {
      expect(reason(get, `Host: ${value}`), value).to.equal('bad_request')
    }
    expect(parse(get, 'Host:').host).to.equal('')
  })

  it('limits the number of headers', () => {
    const many = Array.from({ length: 100 }, (_, at) => `X-${at}: 1`)
    expect(reason(get, host, ...many)).to.equal('head_too_large')
    expect(reason(get, host, ...many.slice(1))).to.equal('accepted')
  })

  it('refuses methods and expectations it does not carry', () => {
    expect(reason('CONNECT a:80 HTTP/1.1', host)).to.equal('method_refused')
    expect(reason('TRACE / HTTP/1.1', host)).to.equal('method_refused')
    expect(reason(get, host, 'Expect: tea')).to.equal('expectation_failed')
    expect(parse('POST / HTTP/1.1', host, 'Expect: 100-Continue').expectsContinue).to.equal(true)
    expect(reason('GET * HTTP/1.1', host)).to.equal('bad_request')
    expect(parse('OPTIONS * HTTP/1.1', host).target).to.equal('*')
  })

  it('knows an Upgrade only with its Connection option, and never h2c', () => {
    expect(parse(get, host, 'Upgrade: websocket', 'Connection: Upgrade').upgrade).to.equal('websocket')
    expect(parse(get, host, 'Upgrade: websocket').upgrade).to.equal('')
    expect(
      parse(get, host, 'Upgrade: h2c', 'Connection: Upgrade, HTTP2-Settings', 'HTTP2-Settings: x').upgrade,
    ).to.equal('')
  })

  it('lets Connection name neither framing nor Host', () => {
    for (const name of ['content-length', 'Transfer-Encoding', 'host']) {
      expect(reason(get, host, `Connection: ${name}`), name).to.equal('bad_request')
    }
  })
})
