// Mirroring: copies go to the other Service, and the request itself never learns of it.

import { expect } from 'chai'
import { shadowHost } from '../../agent/mirror/send.ts'
import type { Resource, ServicePolicy } from '../../controller/contract/resources.ts'
import { startPair } from '../support/pair.ts'
import { answerEach, countsOf, type Shop, startShop } from '../support/policy.ts'
import { RawServer, rawConnect } from '../support/raw.ts'
import { get, host, ok, plain, post } from '../support/rawmesh.ts'
import { endpoints, service, spec } from '../support/resources.ts'
import { seededRandom } from '../support/snapshot.ts'
import { until } from '../support/until.ts'

const policy: ServicePolicy = { mirror: { service: 'shop/shadow', percent: 100 } }

describe('policy: mirroring', () => {
  let shop: Shop
  let shadow: RawServer
  /** What the other Service got. */
  let copies: string[]

  afterEach(async () => {
    await shop.stop()
    await shadow.stop()
  })

  async function open(given: { policy?: ServicePolicy; resources?: Resource[]; random?: () => number } = {}) {
    shadow = await RawServer.listen()
    copies = []
    shop = await startShop({
      policy: given.policy ?? policy,
      ...(given.random === undefined ? {} : { random: given.random }),
      resources: [
        service('shop/shadow', { enrolled: false }),
        endpoints('shop/shadow:80', spec('127.0.0.1', { port: shadow.port, account: 'shop/shadow' })),
        ...(given.resources ?? []),
      ],
    })
    shop.servers[0]!.answerAll(ok('real'))
  }

  function answerCopies(response = ok('copy')): void {
    answerEach(shadow, (request) => {
      copies.push(request)
      return response
    })
  }

  async function nextCopy(): Promise<string> {
    await until(() => copies.length > 0, 'the copy')
    return copies[0]!
  }

  /** What became of copies so far, from the counters that the control thread reads. */
  async function outcomes(): Promise<Record<string, number>> {
    const found: Record<string, number> = {}
    for (const [labels, [count]] of await countsOf(shop.agent, 'mirrors')) {
      expect(labels).to.match(/^shop web 80 shop\/shadow /)
      found[labels.slice('shop web 80 shop/shadow '.length)] = count!
    }
    return found
  }

  async function outcome(expected: Record<string, number>): Promise<void> {
    const matches = async () => JSON.stringify(await outcomes()) === JSON.stringify(expected)
    await until(matches, `the counts ${JSON.stringify(expected)}`)
  }

  it('copies a request with its Host marked, and drops the answer', async () => {
    await open()
    answerCopies('HTTP/1.1 500 Whatever\r\nContent-Length: 3\r\n\r\nbad')
    const { status, text } = await shop.ask(post('hello', 'X-A: 1\r\n'))
    expect(status).to.equal(200)
    expect(text).to.match(/real$/)
    const copy = await nextCopy()
    expect(copy).to.match(/^POST \/ HTTP\/1\.1\r\n/)
    expect(copy).to.include(`\r\nhost: ${host}-shadow\r\n`)
    expect(copy).to.include('\r\nX-A: 1\r\n')
    expect(copy)
      .to.match(/\r\ncontent-length: 5\r\n/i)
      .and.to.match(/\r\n\r\nhello$/)
    // The copy is of the very request that was sent.
    const trace = /\r\ntraceparent: \S+\r\nx-request-id: \S+\r\n/
    expect(trace.exec(copy)?.[0]).to.equal(trace.exec(shop.servers[0]!.received)?.[0]).and.to.be.a('string')
    expect(copy).to.include('URI=spiffe://cluster.local/ns/shop/sa/client')
    await outcome({ answered: 1 })
  })

  it('copies a chunked body by its content', async () => {
    await open()
    answerCopies()
    const chunks = '3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n'
    const request = `POST / HTTP/1.1\r\nHost: ${host}:80\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`
    const caller = await shop.caller()
    await caller.sendSlowly(request)
    expect(await caller.readMessage()).to.match(/real$/)
    const copy = await nextCopy()
    expect(copy).to.include(`\r\nhost: ${host}-shadow:80\r\n`)
    expect(copy)
      .to.match(/\r\ncontent-length: 5\r\n/i)
      .and.to.match(/\r\n\r\nabcde$/)
    caller.destroy()
  })

  it('copies what the service gets: rewritten and edited', async () => {
    await open({
      policy: {
        ...policy,
        rewrite: { prefix: '/api', replacement: '/v1' },
        headers: { request: { set: [{ name: 'x-a', value: 'set' }] } },
      },
    })
    answerCopies()
    await shop.ask(get('/api/items?q=1'))
    const copy = plain(await nextCopy())
    expect(copy).to.match(/^GET \/v1\/items\?q=1 HTTP\/1\.1\r\n/)
    expect(copy).to.include('\r\nx-a: set\r\n')
  })

  it('takes the percentage that is wanted', async () => {
    await open({ policy: { mirror: { service: 'shop/shadow', percent: 25 } }, random: seededRandom(7) })
    answerCopies()
    const caller = await shop.caller()
    for (let count = 0; count < 200; count++) {
      caller.send(get())
      await caller.readMessage()
    }
    caller.destroy()
    await until(() => shop.agent.settled.length === 200, 'the settled exchanges')
    await until(async () => (await outcomes())['answered'] === copies.length, 'the last answer')
    expect(copies.length).to.be.within(30, 70)
  })

  it('neither delays nor fails a request whose copy hangs, is refused or breaks', async () => {
    await open()
    for (const how of ['hangs', 'reset', 'gone'] as const) {
      if (how === 'reset') shadow.each((connection) => connection.reset())
      if (how === 'gone') await shadow.stop()
      const { status, ms } = await shop.ask()
      expect(status, how).to.equal(200)
      expect(ms, how).to.be.lessThan(1000)
    }
    await outcome({ failed: 3 })
    shadow = await RawServer.listen()
  })

  it('gives a copy up whose body is too large, or never whole', async () => {
    await open()
    answerEach(shop.servers[0]!, () => ok('real'))
    expect((await shop.ask(post('x'.repeat(64 * 1024)))).status).to.equal(200)
    expect((await shop.ask(post('x'.repeat(64 * 1024 + 1)))).status).to.equal(200)
    const chunk = `${(66_000).toString(16)}\r\n${'x'.repeat(66_000)}\r\n0\r\n\r\n`
    const { status } = await shop.ask(`POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`)
    expect(status).to.equal(200)
    const cut = await shop.caller()
    cut.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10\r\n\r\nhalf`)
    await until(() => shop.servers[0]!.received.endsWith('half'), 'the half at the endpoint')
    cut.destroy()
    const copy = await (await shadow.next()).readMessage()
    expect(copy.slice(copy.indexOf('\r\n\r\n') + 4)).to.have.length(64 * 1024)
    shadow.connections[0]!.send(ok('copy'))
    await outcome({ too_large: 2, cut_short: 1, answered: 1 })
    expect(shadow.connections).to.have.length(1)
  })

  it('sends nothing where the caller is not permitted', async () => {
    await open({ resources: [{ kind: 'access', name: 'shop/shadow', rules: [] }] })
    expect((await shop.ask()).status).to.equal(200)
    await outcome({ denied: 1 })
    expect(shadow.connections).to.have.length(0)
  })

  it('counts copies for a Service that is not there', async () => {
    await open({ policy: { mirror: { service: 'shop/shadow', percent: 100 } } })
    await shop.agent.remove({ kind: 'service', name: 'shop/shadow', gone: true })
    expect((await shop.ask()).status).to.equal(200)
    await outcome({ unreachable: 1 })
  })

  it('holds no more than 256 copies at a time', async () => {
    await open()
    answerEach(shop.servers[0]!, () => ok('real'))
    const caller = await shop.caller()
    for (let count = 0; count < 260; count++) {
      caller.send(get())
      expect(await caller.readMessage()).to.match(/real$/)
    }
    caller.destroy()
    await outcome({ busy: 4 })
  })

  it('goes through the tunnel to a Service on another node', async () => {
    await open()
    const pair = await startPair({
      policy: { mirror: { service: 'shop/web', percent: 100 } },
      handler: (request, response) => {
        const { host: named, 'x-forwarded-client-cert': cert } = request.headers
        copies.push(`${named} ${cert}`)
        response.end('hello')
      },
    })
    try {
      const caller = await rawConnect(pair.near.port, pair.near.address, pair.caller)
      caller.send(get())
      expect(await caller.readMessage()).to.match(/hello$/)
      await until(() => copies.length === 2, 'the request and its copy')
      const cert = 'By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/shop/sa/client'
      expect(copies).to.have.members([`${host} ${cert}`, `${host}-shadow ${cert}`])
      caller.destroy()
    } finally {
      await pair.stop()
    }
  })

  it('marks every form of a Host', async () => {
    await open()
    expect(shadowHost('a.b')).to.equal('a.b-shadow')
    expect(shadowHost('a.b:8080')).to.equal('a.b-shadow:8080')
    expect(shadowHost('[::1]:80')).to.equal('[::1]:80')
  })
})
