// Balancing: each kind does what it says, and an endpoint that asks for a rest gets it.

import { expect } from 'chai'
import type { Balance } from '../../controller/contract/resources.ts'
import { FakeClock } from '../support/clock.ts'
import { answerEach, type Shop, startShop } from '../support/policy.ts'
import type { RawSocket } from '../support/raw.ts'
import { get, ok } from '../support/rawmesh.ts'
import { endpoints, spec } from '../support/resources.ts'
import { seededRandom } from '../support/snapshot.ts'
import { until } from '../support/until.ts'

describe('policy: balancing', () => {
  let shop: Shop

  afterEach(() => shop.stop())

  async function open(balance: Balance | undefined, count: number, clock?: FakeClock): Promise<void> {
    const policy = balance === undefined ? {} : { balance }
    const random = seededRandom(11)
    shop = await startShop({ policy, endpoints: count, random, ...(clock === undefined ? {} : { clock }) })
    for (const [number, server] of shop.servers.entries()) answerEach(server, () => ok(String(number)))
  }

  /** Which endpoint answers a request. */
  async function answeredBy(caller: RawSocket, lines = ''): Promise<number> {
    caller.send(get('/', lines))
    return Number((await caller.readMessage()).at(-1))
  }

  /** How many of so many requests each endpoint answers, with so many callers at a time. */
  async function spread(requests: number, callers = 1): Promise<number[]> {
    const counts = shop.servers.map(() => 0)
    let left = requests
    const run = async () => {
      const caller = await shop.caller()
      while (left-- > 0) counts[await answeredBy(caller)]!++
      caller.destroy()
    }
    await Promise.all(Array.from({ length: callers }, run))
    return counts
  }

  /** Lets an endpoint take its time. */
  function slow(number: number, ms: number): void {
    answerEach(shop.servers[number]!, () => new Promise((resolve) => setTimeout(() => resolve(ok(String(number))), ms)))
  }

  it('goes round', async () => {
    await open({ kind: 'round-robin' }, 4)
    expect(await spread(40)).to.deep.equal([10, 10, 10, 10])
  })

  it('gives every endpoint something by default, and the quicker ones more', async () => {
    await open(undefined, 4)
    for (const number of [0, 1, 2]) slow(number, 3)
    slow(3, 60)
    const counts = await spread(400, 8)
    for (const count of counts) expect(count).to.be.greaterThan(0)
    expect(counts[3]).to.be.lessThan(40)
  })

  it('prefers the endpoint with the least requests', async () => {
    await open({ kind: 'least-request' }, 2)
    const [first, second] = shop.servers.map(({ port }) => spec('127.0.0.1', { port }))
    answerEach(shop.servers[0]!, () => null)
    await shop.agent.apply(endpoints('shop/web:80', first!))
    for (let count = 0; count < 3; count++) (await shop.caller()).send(get())
    await until(() => shop.servers[0]!.connections.length === 3, 'three requests that are not answered')
    await shop.agent.apply(endpoints('shop/web:80', first!, second!))
    const caller = await shop.caller()
    for (let count = 0; count < 20; count++) expect(await answeredBy(caller)).to.equal(1)
    expect(shop.servers[0]!.connections).to.have.length(3)
  })

  it('sends equal headers to one endpoint, and most of them still when another leaves', async () => {
    await open({ kind: 'hash', header: 'x-user' }, 4)
    const caller = await shop.caller()
    const owners = async () => {
      const owner = new Map<number, number>()
      for (let user = 0; user < 60; user++) owner.set(user, await answeredBy(caller, `X-User: u${user}\r\n`))
      return owner
    }
    const before = await owners()
    expect(await owners()).to.deep.equal(before)
    expect(new Set(before.values()).size).to.equal(4)
    const rest = shop.servers.slice(0, 3).map(({ port }) => spec('127.0.0.1', { port }))
    await shop.agent.apply(endpoints('shop/web:80', ...rest))
    for (const [user, owner] of await owners()) {
      if (before.get(user) !== 3) expect(owner, `user ${user}`).to.equal(before.get(user))
    }
  })

  it('sends equal cookies to one endpoint, whatever else is in the header', async () => {
    await open({ kind: 'hash', cookie: 'session' }, 4)
    const caller = await shop.caller()
    const owner = await answeredBy(caller, 'Cookie: a=b; session=42\r\n')
    for (const other of ['session=42', 'c=d; session=42; e=f']) {
      expect(await answeredBy(caller, `Cookie: ${other}\r\n`)).to.equal(owner)
    }
    const owners = new Set<number>()
    for (let count = 0; count < 40; count++) owners.add(await answeredBy(caller, `Cookie: session=${count}\r\n`))
    expect(owners.size).to.equal(4)
  })

  it('spreads requests that lack the header', async () => {
    await open({ kind: 'hash', header: 'x-user' }, 3)
    for (const number of [0, 1, 2]) slow(number, 3)
    for (const count of await spread(300, 8)) expect(count).to.be.greaterThan(20)
  })

  it('gives a new endpoint less at first', async () => {
    const clock = new FakeClock()
    await open({ kind: 'round-robin', slowStartMs: 60_000 }, 3, clock)
    const [first, second, third] = shop.servers.map(({ port }) => spec('127.0.0.1', { port }))
    await shop.agent.apply(endpoints('shop/web:80', first!, second!))
    clock.tick(60_000)
    await shop.agent.apply(endpoints('shop/web:80', first!, second!, third!))
    expect((await spread(300))[2]).to.be.within(1, 40)
    clock.tick(30_000)
    expect((await spread(300))[2]).to.be.within(30, 80)
    clock.tick(30_000)
    expect(await spread(300)).to.deep.equal([100, 100, 100])
  })

  it('leaves an endpoint alone that answered 503 with Retry-After', async () => {
    await open({ kind: 'round-robin' }, 2)
    answerEach(shop.servers[0]!, () => 'HTTP/1.1 503 Busy\r\nRetry-After: 60\r\nContent-Length: 1\r\n\r\n0')
    const [busy, well] = await spread(40)
    expect(busy).to.equal(1)
    expect(well).to.equal(39)
  })
})
