// Limits of a service's policy: places in flight and in the queue for each caller, and rates.

import { expect } from 'chai'
import type { ServicePolicy } from '../../controller/contract/resources.ts'
import { answerEach, type Shop, startShop } from '../support/policy.ts'
import type { RawSocket } from '../support/raw.ts'
import { get, ok, refusalOf } from '../support/rawmesh.ts'
import { workload } from '../support/resources.ts'
import { until } from '../support/until.ts'

describe('policy: limits', () => {
  let shop: Shop
  /** Requests that wait at the endpoint for their answer, oldest first. */
  let held: RawSocket[]

  afterEach(() => shop.stop())

  async function open(limits: ServicePolicy['limits'], flags: string[] = []): Promise<void> {
    held = []
    shop = await startShop({ policy: limits === undefined ? {} : { limits }, flags })
    shop.servers[0]!.each((connection) => {
      const serve = async () => {
        for (;;) {
          await connection.readMessage()
          held.push(connection)
        }
      }
      void serve().catch(() => {})
    })
  }

  /** Sends a request and leaves it open. */
  async function send(caller = 0): Promise<RawSocket> {
    const socket = await shop.caller(caller)
    socket.send(get())
    return socket
  }

  function answer(): void {
    held.shift()!.send(ok('fine'))
  }

  describe('in flight', () => {
    it('lets so many through, queues so many, and refuses the rest at once', async () => {
      await open({ inFlightPerCaller: 2, queuePerCaller: 1 })
      const first = [await send(), await send()]
      await until(() => held.length === 2, 'two requests at the endpoint')
      const third = await send()
      await until(() => shop.agent.thread.outbound.open === 3, 'three connections')
      const began = performance.now()
      const fourth = await (await send()).readMessage()
      expect(refusalOf(fourth)).to.equal('503 overloaded')
      expect(fourth).to.match(/\r\nretry-after: 1\r\n/)
      expect(performance.now() - began).to.be.lessThan(1_000)
      expect(held, 'at the endpoint').to.have.length(2)
      answer()
      expect(await first[0]!.readMessage()).to.match(/fine$/)
      await until(() => held.length === 2, 'the third at the endpoint')
      answer()
      answer()
      expect(await first[1]!.readMessage()).to.match(/fine$/)
      expect(await third.readMessage()).to.match(/fine$/)
    })

    it('gives each caller its own share', async () => {
      await open({ inFlightPerCaller: 1, queuePerCaller: 0 })
      const mine = await send(0)
      await until(() => held.length === 1, 'my request at the endpoint')
      expect(refusalOf(await (await send(0)).readMessage())).to.equal('503 overloaded')
      const other = await send(1)
      await until(() => held.length === 2, "the other's request at the endpoint")
      answer()
      answer()
      for (const socket of [mine, other]) expect(await socket.readMessage()).to.match(/fine$/)
    })

    it('counts all pods of an account as one caller', async () => {
      await open({ inFlightPerCaller: 1, queuePerCaller: 0 })
      await shop.agent.apply(workload(shop.callerAddress(2), { account: 'shop/client', pod: 'shop/client-2' }))
      await send(0)
      await until(() => held.length === 1, 'the first request at the endpoint')
      expect(refusalOf(await (await send(2)).readMessage())).to.equal('503 overloaded')
      answer()
    })

    it('refuses who has waited too long', async () => {
      await open({ inFlightPerCaller: 1 }, ['--queue-timeout', '200ms'])
      const first = await send()
      await until(() => held.length === 1, 'the first request at the endpoint')
      const began = performance.now()
      const second = await (await send()).readMessage()
      expect(refusalOf(second)).to.equal('503 overloaded')
      expect(performance.now() - began).to.be.within(150, 1_500)
      answer()
      expect(await first.readMessage()).to.match(/fine$/)
    })

    it('keeps no place for a caller that leaves the queue', async () => {
      await open({ inFlightPerCaller: 1, queuePerCaller: 1 })
      const first = await send()
      await until(() => held.length === 1, 'the first request at the endpoint')
      const leaving = await send()
      await until(() => shop.agent.thread.outbound.open === 2, 'the second connection')
      leaving.reset()
      await until(() => shop.agent.settled.length === 1, 'the settled exchange')
      const third = await send()
      answer()
      expect(await first.readMessage()).to.match(/fine$/)
      await until(() => held.length === 1, 'the third request at the endpoint')
      answer()
      expect(await third.readMessage()).to.match(/fine$/)
    })

    it('holds a noisy caller to its share of the whole agent', async () => {
      await open(undefined, ['--in-flight-per-caller', '4', '--queue-per-caller', '2'])
      const noisy = await Promise.all(Array.from({ length: 12 }, () => send(0)))
      await until(() => noisy.filter((socket) => socket.received.includes('overloaded')).length === 6, 'six refusals')
      await until(() => held.length === 4, 'four requests at the endpoint')
      const quiet = await send(1)
      await until(() => held.length === 5, "the quiet caller's request at the endpoint")
      held.pop()!.send(ok('fine'))
      expect(await quiet.readMessage()).to.match(/fine$/)
      for (let count = 0; count < 6; count++) {
        await until(() => held.length > 0, 'another request at the endpoint')
        answer()
      }
    })
  })

  describe('rates', () => {
    beforeEach(() => {
      held = []
    })

    async function openFast(limits: ServicePolicy['limits']): Promise<void> {
      shop = await startShop({ policy: limits === undefined ? {} : { limits } })
      answerEach(shop.servers[0]!, () => ok('fine'))
    }

    it('answers 429 beyond the rate, with the time after which to come back', async () => {
      await openFast({ rate: { perSecond: 1, burst: 3 } })
      const answers = []
      for (let count = 0; count < 4; count++) answers.push(await shop.ask())
      expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 429])
      expect(refusalOf(answers[3]!.text)).to.equal('429 rate_limited')
      expect(answers[3]!.text).to.match(/\r\nretry-after: 1\r\n/)
      expect((await shop.ask(get(), 1)).status, 'another caller').to.equal(429)
    })

    it('lets through again what the rate allows', async () => {
      await openFast({ rate: { perSecond: 10, burst: 1 } })
      expect((await shop.ask()).status).to.equal(200)
      await until(async () => (await shop.ask()).status === 200, 'another token')
    })

    it('gives each caller a rate of its own', async () => {
      await openFast({ ratePerCaller: { perSecond: 1, burst: 1 } })
      expect((await shop.ask(get(), 0)).status).to.equal(200)
      expect((await shop.ask(get(), 0)).status).to.equal(429)
      expect((await shop.ask(get(), 1)).status).to.equal(200)
    })

    it('keeps the connection of a caller that comes too often', async () => {
      await openFast({ rate: { perSecond: 1, burst: 1 } })
      const caller = await shop.caller()
      caller.send(get())
      expect((await caller.readMessage()).slice(9, 12)).to.equal('200')
      caller.send(get())
      expect((await caller.readMessage()).slice(9, 12)).to.equal('429')
      expect(caller.hasEnded).to.equal(false)
    })
  })
})
