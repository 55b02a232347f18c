// A policy's edits on real heads: what is forwarded afterwards is what matches find.

import { expect } from 'chai'
import { editRequest, editResponse, redirect } from '../../../agent/edit/apply.ts'
import { RequestHead } from '../../../agent/http1/head.ts'
import { ResponseHead } from '../../../agent/http1/status.ts'

const limits = { headBytes: 16_384, headers: 100 }

function request(target: string, ...lines: string[]): RequestHead {
  const head = new RequestHead()
  head.parse(`${[`GET ${target} HTTP/1.1`, 'Host: a', ...lines].join('\r\n')}\r\n\r\n`, limits)
  return head
}

describe('edits of a message', () => {
  it('replaces, adds and removes request headers, for matches as for the endpoint', () => {
    const head = request('/', 'X-Set: old', 'X-Keep: 1', 'x-set: older', 'X-Gone: 1', 'X-Add: 1')
    editRequest(
      {
        headers: {
          request: {
            set: [{ name: 'x-set', value: 'new' }],
            add: [{ name: 'X-Add', value: '2' }],
            remove: ['x-gone'],
          },
        },
      },
      head,
    )
    expect(head.lines.block()).to.equal('X-Keep: 1\r\nX-Add: 1\r\nx-set: new\r\nX-Add: 2\r\n')
    expect(head.headerLines('x-set')).to.deep.equal(['new'])
    expect(head.headerLines('x-add')).to.deep.equal(['1', '2'])
    expect(head.header('x-gone')).to.equal(null)
  })

  it('leaves nothing behind for the next message of a connection', () => {
    const head = request('/', 'X-A: 1')
    editRequest({ headers: { request: { set: [{ name: 'x-b', value: '1' }], remove: ['x-a'] } } }, head)
    head.parse('GET / HTTP/1.1\r\nHost: a\r\nX-A: 2\r\n\r\n', limits)
    expect(head.lines.block()).to.equal('X-A: 2\r\n')
    expect(head.header('x-a')).to.equal('2')
    expect(head.header('x-b')).to.equal(null)
  })

  it('finds no header that Connection keeps to this hop', () => {
    const head = request('/', 'Connection: x-role', 'X-Role: admin')
    expect(head.header('x-role')).to.equal(null)
    expect(head.lines.block()).to.equal('')
  })

  it('rewrites the path and keeps the query', () => {
    const head = request('/api/items?a=/api/')
    editRequest({ rewrite: { prefix: '/api', replacement: '/v1' } }, head)
    expect(head).to.include({ path: '/v1/items', target: '/v1/items?a=/api/' })
  })

  it('redirects', () => {
    const policy = { redirect: { status: 308, prefix: '/old', location: 'https://shop.example/new' } }
    expect(redirect(policy, request('/old/a?b=c'))).to.deep.equal({
      status: 308,
      phrase: 'Permanent Redirect',
      lines: 'location: https://shop.example/new/a?b=c\r\n',
    })
    expect(redirect(policy, request('/older'))).to.equal(null)
    expect(redirect({}, request('/old'))).to.equal(null)
  })

  it('edits response headers', () => {
    const head = new ResponseHead()
    head.parse('HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n', 'GET', limits)
    editResponse({ headers: { response: { add: [{ name: 'X-Frame', value: 'no' }], remove: ['server'] } } }, head)
    expect(head.lines.block()).to.equal('Content-Length: 0\r\nX-Frame: no\r\n')
  })
})
