// Circuit breaking under load: endpoints that fail are left alone, and come back when they are well.

import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import type { ServicePolicy } from '../../controller/contract/resources.ts'
import { type AgentUnderTest, startAgent } from '../support/agent.ts'
import { type Load, startLoad } from '../support/load.ts'
import { startServer } from '../support/policy.ts'
import { rawConnect } from '../support/raw.ts'
import { get, host } from '../support/rawmesh.ts'
import { endpoints, service, spec } from '../support/resources.ts'
import { until } from '../support/until.ts'

type Manner = 'well' | 'fails' | 'hangs' | 'slow'

describe('policy: circuit breaking', () => {
  let agent: AgentUnderTest
  let load: Load | null
  let servers: { port: number; stop(): Promise<void> }[]
  let manners: Manner[]
  /** Requests that each endpoint has seen. */
  let seen: number[]
  let hanging: ServerResponse[]
  let onRequest: (number: number) => void

  afterEach(async () => {
    await load?.stop()
    await agent.stop()
    for (const server of servers) await server.stop()
  })

  async function open(given: Manner[], policy: ServicePolicy = {}): Promise<void> {
    manners = given
    seen = given.map(() => 0)
    hanging = []
    onRequest = () => {}
    load = null
    servers = await Promise.all(
      given.map((_, number) =>
        startServer((_request, response) => {
          seen[number]!++
          onRequest(number)
          const manner = manners[number]
          if (manner === 'hangs') hanging.push(response)
          else if (manner === 'slow') setTimeout(() => response.end('slow'), 100)
          else response.writeHead(manner === 'well' ? 200 : 500).end('done')
        }),
      ),
    )
    agent = await startAgent({
      flags: ['--retries', '0', '--breaker-open', '300ms'],
      resources: [
        service('shop/web', { policy }),
        endpoints('shop/web:80', ...servers.map(({ port }) => spec('127.0.0.1', { port }))),
      ],
    })
  }

  function run(): Load {
    load = startLoad({ host: agent.address, port: agent.port, headers: { host }, callers: 8, pauseMs: 2 })
    return load
  }

  function inFlight(number: number): number {
    const pools = agent.thread.hop.report() as { endpoint: string; inFlight: number }[]
    return pools.find(({ endpoint }) => endpoint.endsWith(`:${servers[number]!.port}`))?.inFlight ?? 0
  }

  /** The share of failures within the next few hundred requests. */
  async function failureRate(own: Load): Promise<number> {
    const failed = own.failures.length
    const succeeded = own.succeeded()
    await until(() => own.failures.length - failed + own.succeeded() - succeeded >= 300, 'more requests')
    const failures = own.failures.length - failed
    return failures / (failures + own.succeeded() - succeeded)
  }

  /** All endpoints serve again. */
  async function recovered(): Promise<void> {
    const before = [...seen]
    await until(() => seen.every((count, number) => count - before[number]! > 20), 'requests at every endpoint')
  }

  for (const manner of ['fails', 'hangs'] as const) {
    it(`leaves half of the endpoints alone while each of them ${manner}`, async () => {
      await open(['well', manner, 'well', manner], { timeouts: { headMs: 200 } })
      const own = run()
      const out = () =>
        agent.thread.fuses
          .report()
          .filter(({ state }) => state !== 'closed')
          .map(({ endpoint }) => endpoint)
      // A quiet moment is not enough: both must be out.
      const isBetter = async () => (await failureRate(own)) < 0.02 && out().length === 2
      await until(isBetter, 'a failure rate below 2 % with both out', 3_000)
      expect(out()).to.have.members([servers[1]!, servers[3]!].map(({ port }) => `127.0.0.1:${port}`))
      manners = ['well', 'well', 'well', 'well']
      for (const response of hanging) response.destroy()
      await recovered()
      expect(await failureRate(own)).to.be.lessThan(0.02)
    })
  }

  it('lets through one request to see whether an endpoint is well again', async () => {
    await open(['fails', 'well'], { breaker: { consecutive: 3, openMs: 300, maxOpenMs: 300 } })
    const own = run()
    await until(() => agent.thread.fuses.report().some(({ state }) => state === 'open'), 'an open breaker')
    // What was on its way when it opened has come back.
    await until(() => inFlight(0) === 0, 'the last answers of the endpoint')
    const times: number[] = []
    onRequest = (number) => {
      if (number === 0) times.push(performance.now())
    }
    await until(() => times.length >= 3, 'three probes')
    expect(times[1]! - times[0]!).to.be.greaterThan(250)
    expect(times[2]! - times[1]!).to.be.greaterThan(250)
    expect(own.failures.length).to.be.lessThan(20)
  })

  it('uses all endpoints when all fail, and passes their answers on', async () => {
    await open(['fails', 'fails'])
    const own = run()
    await until(() => own.failures.length > 100, 'failures')
    expect(own.failures.every((line) => line.includes(' 500 done'))).to.equal(true)
    manners = ['well', 'well']
    await recovered()
    expect(await failureRate(own)).to.be.lessThan(0.02)
  })

  it('takes out no more than the share that is allowed', async () => {
    await open(['fails', 'fails', 'fails', 'well'], { balance: { kind: 'round-robin' } })
    const own = run()
    await until(
      () => agent.thread.fuses.report().filter(({ state }) => state !== 'closed').length >= 3,
      'three open breakers',
    )
    // Half of four is two: the third goes on being asked, so that no endpoint gets the load of all.
    expect(await failureRate(own)).to.be.within(0.4, 0.65)
  })

  it('counts answers that come too late as failures, and relays them', async () => {
    const breaker = { slowMs: 50, consecutive: 2, openMs: 10_000, maxOpenMs: 10_000 }
    await open(['slow', 'well'], { breaker, balance: { kind: 'round-robin' } })
    const caller = await rawConnect(agent.port, agent.address)
    const bodies: string[] = []
    for (let count = 0; count < 20; count++) {
      caller.send(get())
      bodies.push((await caller.readMessage()).slice(-4))
    }
    expect(bodies.filter((body) => body === 'slow')).to.have.length(2)
    const out = agent.thread.fuses.report().filter(({ state }) => state === 'open')
    expect(out.map(({ endpoint }) => endpoint)).to.deep.equal([`127.0.0.1:${servers[0]!.port}`])
    caller.destroy()
  })
})
