// Paths and hosts that two readers read differently: the string that was matched is the one that is forwarded, or the
// request is refused. Numbered as in the project's list of hazards. 7.28 and 7.29 concern names in policies and splits of
// other namespaces, which the controller settles.

import { expect } from 'chai'
import { type Bed, get, host, ok, plain, refusalOf, startBed } from '../support/rawmesh.ts'
import { endpoints, service, spec } from '../support/resources.ts'

describe('paths and hosts on the wire', () => {
  let bed: Bed
  beforeEach(async () => {
    bed = await startBed()
  })
  afterEach(() => bed.stop())

  /** The first line and the Host that the endpoint sees, or the refusal. */
  async function forwarded(first: string, hostLine = `Host: ${host}`): Promise<string> {
    bed.server.answerAll(ok(''))
    const before = bed.server.received.length
    const caller = await bed.caller()
    caller.send(`${first} HTTP/1.1\r\n${hostLine}\r\n\r\n`)
    const response = await caller.readMessage()
    caller.destroy()
    if (!response.startsWith('HTTP/1.1 200')) {
      expect(bed.server.received.length, 'bytes that went up').to.equal(before)
      return refusalOf(response)
    }
    return plain(bed.server.received.slice(before)).split('\r\n').slice(0, 2).join(' | ')
  }

  const seen = (path: string) => `GET ${path} HTTP/1.1 | host: ${host}`

  describe('7.21 a path has one spelling', () => {
    const canonical: [string, string][] = [
      ['/a//b', '/a/b'],
      ['//a', '/a'],
      ['/a/./b', '/a/b'],
      ['/a/../b', '/b'],
      ['/../../b', '/b'],
      ['/a/b/..', '/a/'],
      ['/a/.', '/a/'],
      ['/%2e%2e/b', '/b'],
      ['/a/.%2e/b', '/b'],
      ['/a/%2E/b', '/a/b'],
      ['/%61dmin', '/admin'],
      ['/a%2fb', '/a%2Fb'],
      ['/a%2Fb', '/a%2Fb'],
      ['/%7euser', '/~user'],
      ['/a;v=1', '/a;v=1'],
      ['/a%20b', '/a%20b'],
      ['/%c3%a9', '/%C3%A9'],
      ['/a?x=//../%2e', '/a?x=//../%2e'],
      ['/...', '/...'],
      ['/.well-known/x', '/.well-known/x'],
    ]
    for (const [sent, path] of canonical) {
      it(`${sent} is ${path}`, async () => expect(await forwarded(`GET ${sent}`)).to.equal(seen(path)))
    }
    const refused = [
      ...[
        '/a#b',
        '/a\\b',
        '/a%5cb',
        '/a%5C..%5Cb',
        '/%00',
        '/a%00.html',
        '/a%0d%0aX:y',
        '/%7f',
        '/%',
        '/%z1',
        '/a%2',
        '/a?b#c',
      ],
      ...[
        '/%c0%ae%c0%ae/b',
        '/%c0%af',
        '/%e0%80%af',
        '/..%2fb',
        '/a/..%2Fb',
        '/..;/b',
        '/a/..;x=1/b',
        '/\x80',
        '/a\x01',
        '/a?\x7f',
      ],
      ...['a', '*', '?x', '/a b'],
    ]
    for (const sent of refused) {
      it(`${JSON.stringify(sent)} is refused`, async () =>
        expect(await forwarded(`GET ${sent}`)).to.equal('400 bad_request'))
    }

    it('is matched in that spelling', async () => {
      const admin = { name: 'admin', path: '/admin', methods: null, headers: [] }
      const split = { name: 'shop/s', matches: [admin], backends: [{ service: 'shop/none', weight: 1 }] }
      await bed.agent.apply(
        service('shop/web', { ports: [{ number: 80, name: 'http', protocol: 'http', splits: [split] }] }),
        service('shop/none', { enrolled: false }),
        endpoints('shop/none:80'),
        endpoints('shop/web:80', spec('127.0.0.1', { port: bed.server.port })),
      )
      for (const path of ['/admin', '//admin', '/x/../admin', '/%61dmin', '/./admin', '/admin/x', '/%2e/admin']) {
        expect(await forwarded(`GET ${path}`), path).to.equal('503 no_endpoint')
      }
      for (const path of ['/x/admin', '/%2Fadmin', '/ADMIN', '/x?/admin']) {
        expect(await forwarded(`GET ${path}`), path).to.match(/^GET /)
      }
    })
  })

  it('7.22 a host has one spelling: lower case, without trailing dot; its port goes along', async () => {
    for (const sent of ['Web-Mesh.Shop', 'web-mesh.shop.', 'WEB-MESH.SHOP', 'web-mesh.shop\t']) {
      expect(await forwarded('GET /', `Host: ${sent}`), sent).to.equal(seen('/'))
    }
    expect(await forwarded('GET /', `Host: ${host}:80`)).to.equal(`GET / HTTP/1.1 | host: ${host}:80`)
    expect(await forwarded('GET /', 'Host: WEB-mesh.shop.:0080')).to.equal(`GET / HTTP/1.1 | host: ${host}:80`)
    const wrong = [
      ...[
        'a b',
        'a@b',
        `x@${host}`,
        `${host}/x`,
        `${host}#`,
        `${host}?x`,
        `${host}\\`,
        `${host}:`,
        `${host}:0`,
        `${host}:99999`,
      ],
      ...[
        `${host}:80:80`,
        `${host}:8 0`,
        `${host},other`,
        '\x80',
        `${host}..`,
        '.',
        `${host}%00`,
        '[::1',
        `http://${host}`,
      ],
    ]
    for (const sent of wrong) {
      expect(await forwarded('GET /', `Host: ${sent}`), JSON.stringify(sent)).to.equal('400 bad_request')
    }
  })

  it('7.22 two Host lines, or none, are refused; an empty one names nothing', async () => {
    expect(await forwarded('GET /', `Host: ${host}\r\nHost: ${host}`)).to.equal('400 bad_request')
    expect(await forwarded('GET /', `Host: ${host}\r\nhost: other`)).to.equal('400 bad_request')
    expect(await forwarded('GET /', 'X-A: 1')).to.equal('400 bad_request')
    expect(await forwarded('GET /', 'Host:')).to.equal('404 no_route')
  })

  it('7.23 the scheme of an absolute target may be in any case, and only http', async () => {
    for (const scheme of ['http', 'HTTP', 'hTTp']) {
      expect(await forwarded(`GET ${scheme}://${host}/a`)).to.equal(seen('/a'))
    }
    for (const target of [
      `https://${host}/`,
      `ftp://${host}/`,
      `HTTPS://${host}/`,
      `//${host}/..`,
      `http:/${host}/`,
      `http:${host}`,
    ]) {
      const got = await forwarded(`GET ${target}`)
      if (target.startsWith('//')) expect(got).to.equal(seen('/'))
      else expect(got, target).to.equal('400 bad_request')
    }
  })

  it('7.24 a prefix is replaced in the canonical path alone, and no header pretends to one', async () => {
    await bed.agent.apply(service('shop/web', { policy: { rewrite: { prefix: '/api', replacement: '/v1' } } }))
    const rewritten: [string, string][] = [
      ['/api/x', '/v1/x'],
      ['/api', '/v1'],
      ['/%61pi/x', '/v1/x'],
      ['//api//x', '/v1/x'],
      ['/x/../api/y?q=/api/', '/v1/y?q=/api/'],
      ['/api/../x', '/x'],
      ['/apix', '/apix'],
      ['/api%2Fx', '/api%2Fx'],
      ['/API/x', '/API/x'],
    ]
    for (const [sent, path] of rewritten) expect(await forwarded(`GET ${sent}`), sent).to.equal(seen(path))
    const lies = `Host: ${host}\r\nX-Forwarded-Prefix: /api\r\nX-Original-URL: /api/x`
    expect(await forwarded('GET /x', lies)).to.equal(seen('/x'))
  })

  it('7.25 an absolute target with another Host is refused', async () => {
    for (const other of ['other.shop', `${host}:81`, '', 'x']) {
      expect(await forwarded(`GET http://${host}/`, `Host: ${other}`), other).to.equal('400 bad_request')
    }
    expect(await forwarded(`GET http://user@${host}/`)).to.equal('400 bad_request')
    expect(await forwarded('GET http:///', `Host: ${host}`)).to.equal('400 bad_request')
    expect(await forwarded(`GET http://${host.toUpperCase()}./`)).to.equal(seen('/'))
  })

  it('7.27 each request of a connection is decided anew', async () => {
    bed.server.answerAll(ok(''))
    const caller = await bed.caller()
    caller.send(get())
    expect((await caller.readMessage()).slice(9, 12)).to.equal('200')
    await bed.agent.apply(service('shop/web', { enrolled: false }))
    caller.send(get())
    expect(refusalOf(await caller.readMessage())).to.equal('404 not_enrolled')
    await bed.agent.apply(service('shop/web'))
    caller.send(get())
    expect((await caller.readMessage()).slice(9, 12)).to.equal('200')
    for (const other of [
      'other-mesh.shop',
      'web.shop',
      'kubernetes.default.svc',
      '169.254.169.254',
      '127.0.0.1',
      'localhost',
    ]) {
      caller.send(get().replace(host, other))
      expect(refusalOf(await caller.readMessage()), other).to.equal('404 no_route')
    }
    caller.send(get())
    expect((await caller.readMessage()).slice(9, 12)).to.equal('200')
  })
})
