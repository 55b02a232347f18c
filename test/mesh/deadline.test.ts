// A request's time travels with it: the agent of its destination gives it up when the caller's agent does, and neither
// callers nor pods can say or see how long that is.

import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { expect } from 'chai'
import { systemClock } from '../../agent/clock.ts'
import { protocolHeader } from '../../agent/inbound/accept.ts'
import { makeDialer } from '../../agent/tunnel/dial.ts'
import { client, type Pair, type PairOptions, server, startPair } from '../support/pair.ts'
import { rawConnect } from '../support/raw.ts'
import { listen, open, testCredentials } from '../support/tunnel.ts'
import { until } from '../support/until.ts'

describe('mesh: deadlines', () => {
  let pair: Pair
  let seen: IncomingHttpHeaders[]
  let waiting: ServerResponse[]

  async function start(policy: NonNullable<PairOptions['policy']>): Promise<void> {
    seen = []
    waiting = []
    pair = await startPair({
      policy,
      handler: (request, response) => {
        seen.push(request.headers)
        if (request.url === '/slow') waiting.push(response)
        else response.end('hello')
      },
    })
  }
  afterEach(async () => {
    for (const response of waiting) response.destroy()
    await pair.stop()
  })

  async function ask(path: string, lines = ''): Promise<string> {
    const caller = await rawConnect(pair.near.port, pair.near.address, pair.caller)
    caller.send(`GET ${path} HTTP/1.1\r\nHost: web-mesh.shop\r\n${lines}\r\n`)
    const response = await caller.readMessage()
    caller.destroy()
    return response
  }

  const limits = () => [...pair.far.thread.inbound.all()].map(({ current }) => current?.limitAt)

  it('reach the agent of the destination, less what was used up', async () => {
    await start({ timeouts: { requestMs: 60_000 } })
    const now = pair.far.thread.deadlines.now
    void ask('/slow').catch(() => {})
    await until(() => waiting.length === 1, 'the request at the pod')
    expect(limits()[0]).to.be.within(now + 59_000, now + 61_000)
    expect(seen[0]).to.not.have.property('weft-deadline')
  })

  it('do not travel where there are none', async () => {
    await start({})
    void ask('/slow').catch(() => {})
    await until(() => waiting.length === 1, 'the request at the pod')
    expect(limits()).to.deep.equal([Number.POSITIVE_INFINITY])
  })

  it('are not for callers to set, nor for pods to see', async () => {
    await start({})
    for (const place of ['far', 'near'] as const) {
      await pair.place(place)
      expect(await ask('/', 'Weft-Deadline: 1\r\n')).to.match(/^HTTP\/1\.1 200 /)
    }
    const slow = ask('/slow', 'weft-deadline: 1\r\nweft-deadline: 2\r\n')
    await until(() => waiting.length === 1)
    await new Promise((resolve) => setTimeout(resolve, 300))
    waiting[0]!.end('late')
    expect(await slow).to.match(/^HTTP\/1\.1 200 /)
    for (const headers of seen) expect(headers).to.not.have.property('weft-deadline')
  })

  it('end a request at its destination, too', async () => {
    await start({ timeouts: { requestMs: 60_000 } })
    const credentials = testCredentials(pair.root, client)
    const dialer = makeDialer({ credentials, clock: systemClock, random: () => 0.5, connectMs: 2_000 })
    const { wire } = await open(dialer, {
      ...{ source: client, destination: server, address: pair.far.address, port: 15008 },
      authority: `${pair.endpoint.address}:${pair.endpoint.port}`,
      headers: [[protocolHeader, 'http']],
    })
    const ear = listen(wire!)
    const request = (path: string, deadline: string) =>
      wire!.writeText(`GET ${path} HTTP/1.1\r\nhost: a\r\nweft-deadline: ${deadline}\r\n\r\n`)
    for (const nonsense of ['0', '-1', 'soon', '9999999999', '1e3', '']) {
      request('/', nonsense)
      await until(() => ear.text.endsWith('hello'), `an answer in spite of ${nonsense}`)
      ear.bytes = Buffer.alloc(0)
    }
    request('/slow', '150')
    await until(() => ear.text.startsWith('HTTP/1.1 504 '), 'the end', 2_000)
    expect(pair.far.settled.at(-1)).to.include({ status: 504, reason: 'upstream_timeout' })
    expect(seen.at(-1)).to.not.have.property('weft-deadline')
    dialer.close()
  })
})
