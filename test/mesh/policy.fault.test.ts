// Faults that a service's policy injects: for whom, how often, and that nothing is left of them.

import { expect } from 'chai'
import type { ServicePolicy } from '../../controller/contract/resources.ts'
import { answerEach, type Shop, startShop } from '../support/policy.ts'
import { get, ok, post, refusalOf } from '../support/rawmesh.ts'
import { seededRandom } from '../support/snapshot.ts'
import { until } from '../support/until.ts'

describe('policy: faults', () => {
  let shop: Shop
  let seen: number

  afterEach(() => shop.stop())

  async function open(fault: NonNullable<ServicePolicy['fault']>, more: ServicePolicy = {}): Promise<void> {
    seen = 0
    shop = await startShop({ policy: { fault, ...more }, random: seededRandom(5) })
    answerEach(shop.servers[0]!, () => {
      seen++
      return ok('fine')
    })
  }

  it('delays', async () => {
    await open({ delay: { ms: 300, percent: 100 } })
    const { status, ms } = await shop.ask(post('body'))
    expect(status).to.equal(200)
    expect(ms).to.be.within(290, 2_000)
  })

  it('aborts with the status that is wanted, and keeps the connection', async () => {
    await open({ abort: { status: 418, percent: 100 } })
    const caller = await shop.caller()
    for (let count = 0; count < 2; count++) {
      caller.send(get())
      expect(refusalOf(await caller.readMessage())).to.equal('418 fault_abort')
    }
    expect(seen).to.equal(0)
    expect(shop.agent.settled[0]).to.include({ status: 418, reason: 'fault_abort', attempts: 0 })
  })

  it('delays first where it does both', async () => {
    await open({ delay: { ms: 200, percent: 100 }, abort: { status: 500, percent: 100 } })
    const { text, ms } = await shop.ask()
    expect(refusalOf(text)).to.equal('500 fault_abort')
    expect(ms).to.be.within(190, 2_000)
  })

  it('meets the percentage that is wanted', async () => {
    await open({ abort: { status: 503, percent: 30 } })
    const caller = await shop.caller()
    let aborted = 0
    for (let count = 0; count < 300; count++) {
      caller.send(get())
      if (/fault_abort/.test(await caller.readMessage())) aborted++
    }
    expect(aborted).to.be.within(65, 115)
    expect(seen).to.equal(300 - aborted)
  })

  it('spares requests without the header, which the endpoint need not see', async () => {
    await open(
      { abort: { status: 500, percent: 100 }, header: 'x-chaos' },
      { headers: { request: { remove: ['x-chaos'] } } },
    )
    expect((await shop.ask()).status).to.equal(200)
    expect((await shop.ask(get('/', 'X-Chaos: 1\r\n'))).status).to.equal(500)
    expect(seen).to.equal(1)
  })

  it('forgets a delayed request whose caller breaks off', async () => {
    await open({ delay: { ms: 60_000, percent: 100 } }, { limits: { inFlightPerCaller: 1, queuePerCaller: 0 } })
    const caller = await shop.caller()
    caller.send(get())
    await until(() => shop.agent.thread.outbound.open === 1, 'the connection')
    caller.reset()
    await until(() => shop.agent.settled.length === 1, 'the settled exchange')
    expect(shop.agent.settled[0]).to.include({ reason: 'caller_gone' })
    // Its place is free again.
    await shop.change({ limits: { inFlightPerCaller: 1, queuePerCaller: 0 } })
    expect((await shop.ask()).status).to.equal(200)
    expect(seen).to.equal(1)
  })

  it('keeps a pipelined request behind a delayed one in its order', async () => {
    await open({ delay: { ms: 100, percent: 100 }, header: 'x-chaos' })
    const caller = await shop.caller()
    caller.send(get('/first', 'X-Chaos: 1\r\n') + get('/second'))
    expect(await caller.readMessage()).to.match(/fine$/)
    expect(await caller.readMessage()).to.match(/fine$/)
    expect(shop.servers[0]!.received.match(/GET \/\w+/g)).to.deep.equal(['GET /first', 'GET /second'])
  })
})
