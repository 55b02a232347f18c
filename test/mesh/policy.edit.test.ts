// Edits of a service's policy on the wire: headers, redirects, rewrites, and what access rules then see.

import { expect } from 'chai'
import type { Resource, ServicePolicy } from '../../controller/contract/resources.ts'
import { answerEach, type Shop, startShop } from '../support/policy.ts'
import { get, host, ok, plain, post, refusalOf } from '../support/rawmesh.ts'

describe('policy: edits', () => {
  let shop: Shop
  let seen: string[]

  afterEach(() => shop.stop())

  async function open(policy: ServicePolicy, resources: Resource[] = []): Promise<void> {
    seen = []
    shop = await startShop({ policy, resources })
    answerEach(shop.servers[0]!, (request) => {
      seen.push(plain(request))
      return ok('fine', 'Server: secret\r\nX-Old: 1\r\nX-Old: 2\r\n')
    })
  }

  it('edits request headers', async () => {
    await open({
      headers: {
        request: {
          set: [{ name: 'x-env', value: 'prod' }],
          add: [{ name: 'X-Tag', value: 'b' }],
          remove: ['x-debug'],
        },
      },
    })
    await shop.ask(get('/', 'X-Env: forged\r\nX-Debug: 1\r\nX-Tag: a\r\nAccept: */*\r\nx-env: too\r\n'))
    expect(seen[0]).to.include(
      `host: ${host}\r\nX-Tag: a\r\nAccept: */*\r\nx-env: prod\r\nX-Tag: b\r\nx-forwarded-for:`,
    )
    expect(seen[0]).not.to.match(/debug|forged|too/i)
  })

  it('edits response headers, for each response of a connection alike', async () => {
    await open({
      headers: { response: { set: [{ name: 'x-old', value: 'new' }], remove: ['server'] } },
    })
    const caller = await shop.caller()
    for (let count = 0; count < 2; count++) {
      caller.send(get())
      expect(await caller.readMessage()).to.equal(
        'HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 4\r\nx-old: new\r\n\r\nfine',
      )
    }
  })

  it('touches neither framing nor identity, whatever the policy says', async () => {
    const names = ['content-length', 'transfer-encoding', 'host', 'connection', 'x-forwarded-client-cert', 'via']
    const set = names.map((name) => ({ name, value: 'forged' }))
    await open({ headers: { request: { set, remove: names }, response: { set, remove: names } } })
    const { text } = await shop.ask(post('body'))
    expect(seen[0]).to.include(`host: ${host}\r\nContent-Length: 4\r\n`)
    expect(seen[0]).to.include('URI=spiffe://cluster.local/ns/shop/sa/client')
    expect(text).to.include('Content-Length: 4\r\n')
    expect(seen[0] + text).not.to.include('forged')
  })

  it('redirects, and keeps the connection', async () => {
    await open({ redirect: { status: 301, prefix: '/old', location: '/new' } })
    const caller = await shop.caller()
    for (const method of ['GET', 'HEAD']) {
      caller.send(get('/old/a?b=c').replace('GET', method))
      const text = (await caller.readThrough('\r\n\r\n')).replace(/date: [^\r]*\r\n/, '')
      expect(text).to.equal('HTTP/1.1 301 Moved Permanently\r\nlocation: /new/a?b=c\r\ncontent-length: 0\r\n\r\n')
    }
    caller.send(get('/new/a'))
    expect(await caller.readMessage()).to.match(/fine$/)
    expect(seen).to.have.length(1)
    expect(shop.agent.settled.map(({ status, reason }) => [status, reason])).to.deep.equal([
      [301, null],
      [301, null],
      [200, null],
    ])
  })

  it('redirects a request with a body, without waiting for it', async () => {
    await open({ redirect: { status: 307, prefix: '/', location: 'https://shop.example/' } })
    const caller = await shop.caller()
    caller.send(`POST /a HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 100\r\n\r\nhalf`)
    const text = await caller.readMessage()
    expect(text).to.match(/^HTTP\/1\.1 307 Temporary Redirect\r\n/)
    expect(text).to.include('location: https://shop.example/a\r\n').and.to.include('connection: close\r\n')
    await caller.gone()
    expect(seen).to.have.length(0)
  })

  it('rewrites the path, and permits what is forwarded', async () => {
    const access: Resource = {
      kind: 'access',
      name: 'shop/default',
      rules: [
        {
          name: 'shop/rule',
          sources: ['shop/client'],
          ports: null,
          http: [{ name: 'v1', path: '/v1/', methods: null, headers: [{ name: 'x-env', value: '^prod$' }] }],
        },
      ],
    }
    await open(
      {
        rewrite: { prefix: '/api', replacement: '/v1' },
        headers: { request: { set: [{ name: 'x-env', value: 'prod' }] } },
      },
      [access],
    )
    expect((await shop.ask(get('/api/items?q=/api'))).status).to.equal(200)
    expect(seen[0]).to.match(/^GET \/v1\/items\?q=\/api HTTP\/1\.1\r\n/)
    expect(refusalOf((await shop.ask(get('/apix'))).text)).to.equal('403 denied')
    // What is forwarded has another path than what was asked for, and it is that which is permitted.
    expect((await shop.ask(get('/v1/items'))).status).to.equal(200)
    expect(refusalOf((await shop.ask(get('/api/../secret'))).text)).to.equal('403 denied')
    expect(seen).to.have.length(2)
  })

  it('divides by what the caller sent', async () => {
    await open({ rewrite: { prefix: '/api', replacement: '/v1' } })
    const match = { name: 'm', path: '/api/', methods: null, headers: [] }
    const split = { name: 'shop/split', matches: [match], backends: [] }
    await shop.agent.apply({
      kind: 'service',
      name: 'shop/web',
      uid: 'uid-shop/web',
      enrolled: true,
      address: '',
      ports: [{ number: 80, name: 'http', protocol: 'http', splits: [split] }],
      policy: { rewrite: { prefix: '/api', replacement: '/v1' } },
    })
    expect(refusalOf((await shop.ask(get('/api/a'))).text)).to.equal('503 no_backend')
    expect((await shop.ask(get('/v1/a'))).status).to.equal(200)
  })
})
