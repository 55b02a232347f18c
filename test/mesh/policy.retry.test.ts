// Retries: what is tried again, what never is, and how often.

import { expect } from 'chai'
import type { ServicePolicy } from '../../controller/contract/resources.ts'
import { answerEach, countsOf, type Shop, startShop } from '../support/policy.ts'
import { get, host, ok, post, refusalOf } from '../support/rawmesh.ts'
import { until } from '../support/until.ts'

const put = (body: string) => post(body).replace('POST', 'PUT')
const unavailable = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy'

describe('policy: retries', () => {
  let shop: Shop

  afterEach(() => shop.stop())

  async function open(retry: ServicePolicy['retry'], endpoints = 2, flags: string[] = []): Promise<void> {
    // No circuit breaker steps in.
    const policy = { ...(retry === undefined ? {} : { retry }), breaker: { consecutive: 10_000, minimum: 10_000 } }
    shop = await startShop({ policy, endpoints, flags })
  }

  /** All endpoints together answer their first request so, and all others with 200. */
  function failFirst(response: string | null, isReset = false): string[] {
    const seen: string[] = []
    for (const server of shop.servers) {
      answerEach(server, (request) => {
        seen.push(request)
        if (seen.length > 1) return ok('fine')
        if (isReset) for (const connection of server.connections) connection.reset()
        return response
      })
    }
    return seen
  }

  it('tries another endpoint where one refuses the connection', async () => {
    await open(undefined)
    await shop.servers[0]!.stop()
    shop.servers[1]!.answerAll(ok('fine'))
    for (let count = 0; count < 20; count++) expect((await shop.ask(post('x'))).status).to.equal(200)
    const attempts = shop.agent.settled.map((each) => each.attempts)
    expect(Math.max(...attempts)).to.equal(2)
    expect((await countsOf(shop.agent, 'retries')).get('shop web 80 connect_failed')![0]).to.be.greaterThan(0)
  })

  it('repeats an idempotent request after a reset, body and all', async () => {
    await open(undefined)
    const seen = failFirst(null, true)
    const body = 'x'.repeat(60_000)
    expect((await shop.ask(put(body))).status).to.equal(200)
    expect(seen).to.have.length(2)
    for (const request of seen) expect(request.slice(request.indexOf('\r\n\r\n') + 4)).to.equal(body)
    // Both are the same request to whoever follows it through the logs.
    expect(/x-request-id: (.*)\r\n/.exec(seen[0]!)![1]).to.equal(/x-request-id: (.*)\r\n/.exec(seen[1]!)![1])
  })

  it('repeats no POST of which a byte was sent, and no body that was too large to keep', async () => {
    await open(undefined)
    for (const request of [post('x'), put('x'.repeat(70_000))]) {
      const seen = failFirst(null, true)
      expect(refusalOf((await shop.ask(request)).text)).to.equal('502 upstream_reset')
      expect(seen).to.have.length(1)
    }
  })

  it('repeats a chunked body as it came', async () => {
    await open(undefined)
    const seen = failFirst(null, true)
    const chunks = '3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'
    const { status } = await shop.ask(`PUT / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`)
    expect(status).to.equal(200)
    for (const request of seen) expect(request.slice(request.indexOf('\r\n\r\n') + 4)).to.equal(chunks)
  })

  it('holds no answer back that the policy does not name', async () => {
    await open(undefined)
    const seen = failFirst(unavailable)
    const { text } = await shop.ask()
    expect(text)
      .to.match(/^HTTP\/1\.1 503 /)
      .and.to.match(/busy$/)
    expect(seen).to.have.length(1)
  })

  for (const [on, status, isRetried] of [
    ['5xx', 503, true],
    ['5xx', 429, false],
    ['gateway-error', 502, true],
    ['gateway-error', 500, false],
    ['429', 429, true],
    ['429', 503, false],
  ] as const) {
    it(`${isRetried ? 'retries' : 'passes on'} a ${status} on ${on}`, async () => {
      await open({ on: [on] })
      const seen = failFirst(unavailable.replace('503', String(status)))
      expect((await shop.ask()).status).to.equal(isRetried ? 200 : status)
      expect(seen).to.have.length(isRetried ? 2 : 1)
      await until(() => shop.agent.settled.length === 1, 'the settled exchange')
      expect(shop.agent.settled[0]!.attempts).to.equal(isRetried ? 2 : 1)
    })
  }

  it('makes as many attempts as the policy says, and passes the last answer on', async () => {
    await open({ on: ['5xx'], attempts: 3 }, 5)
    const seen = new Set<number>()
    for (const [number, server] of shop.servers.entries()) {
      answerEach(server, () => {
        seen.add(number)
        return unavailable
      })
    }
    const { text } = await shop.ask()
    expect(text)
      .to.match(/^HTTP\/1\.1 503 /)
      .and.to.match(/busy$/)
    expect(seen.size, 'endpoints that were tried').to.equal(4)
    expect(shop.agent.settled[0]).to.include({ status: 503, reason: null, attempts: 4 })
  })

  it('tries again after the time for one try', async () => {
    await open({ perTryMs: 200 })
    const seen = failFirst(null)
    const { status, ms } = await shop.ask()
    expect(status).to.equal(200)
    expect(seen).to.have.length(2)
    expect(ms).to.be.within(80, 2_000)
  })

  it('never tries again once a byte of the answer went down', async () => {
    await open({ on: ['reset', '5xx'] })
    const seen: string[] = []
    for (const server of shop.servers) {
      server.each((connection) => {
        const serve = async () => {
          seen.push(await connection.readMessage())
          connection.send('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
          await until(() => caller.received.endsWith('half'), 'the half at the caller')
          connection.reset()
        }
        void serve().catch(() => {})
      })
    }
    const caller = await shop.caller()
    caller.send(get())
    await until(() => caller.isReset, 'the reset')
    expect(caller.received).to.match(/half$/)
    expect(seen).to.have.length(1)
  })

  it('spends no more than the budget', async () => {
    await open({ on: ['5xx'] }, 2, ['--retry-minimum', '0', '--retry-budget', '0.2', '--retry-window', '60s'])
    let seen = 0
    for (const server of shop.servers) {
      answerEach(server, () => {
        seen++
        return unavailable
      })
    }
    for (let count = 0; count < 20; count++) expect((await shop.ask()).status).to.equal(503)
    expect(seen).to.equal(24)
  })

  it('stops trying when the caller breaks off', async () => {
    await open({ on: ['connect'], attempts: 10 }, 1, ['--retry-backoff', '60s', '--retry-backoff-max', '60s'])
    await shop.servers[0]!.stop()
    const caller = await shop.caller()
    caller.send(get())
    await until(async () => (await countsOf(shop.agent, 'retries')).size > 0, 'the first retry')
    caller.reset()
    await until(() => shop.agent.settled.length === 1, 'the settled exchange')
    expect(shop.agent.settled[0]).to.include({ reason: 'caller_gone' })
  })
})
