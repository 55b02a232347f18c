// Time-outs of a service's policy: to connect, for the head of the answer, without a byte, for all of it.

import { Worker } from 'node:worker_threads'
import { expect } from 'chai'
import type { ServicePolicy } from '../../controller/contract/resources.ts'
import { answerEach, type Shop, startShop } from '../support/policy.ts'
import { rawConnect } from '../support/raw.ts'
import { get, host, ok, refusalOf } from '../support/rawmesh.ts'
import { endpoints, spec } from '../support/resources.ts'
import { until } from '../support/until.ts'

describe('policy: time-outs', () => {
  let shop: Shop

  afterEach(() => shop.stop())

  async function open(timeouts: ServicePolicy['timeouts']): Promise<void> {
    shop = await startShop({ policy: timeouts === undefined ? {} : { timeouts }, flags: ['--retries', '0'] })
  }

  it('gives up connecting', async () => {
    await open({ connectMs: 300 })
    // A server that never accepts: once its queue is full, the kernel answers no further SYN.
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads')
       const server = require('node:net').createServer()
       server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
         parentPort.postMessage(server.address().port)
         setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
       })`,
      { eval: true },
    )
    const port = await new Promise<number>((resolve) => worker.once('message', resolve))
    const queued = [await rawConnect(port), await rawConnect(port)]
    await shop.agent.apply(endpoints('shop/web:80', spec('127.0.0.1', { port })))
    const { text, ms } = await shop.ask()
    expect(refusalOf(text)).to.equal('502 connect_failed')
    expect(ms).to.be.within(150, 900)
    for (const socket of queued) socket.destroy()
    await worker.terminate()
  })

  it('answers 504 where no head comes', async () => {
    await open({ headMs: 300 })
    const { text, ms } = await shop.ask()
    expect(refusalOf(text)).to.equal('504 upstream_timeout')
    expect(ms).to.be.within(150, 2_000)
    await until(() => shop.servers[0]!.open === 0, "the endpoint's connection to end")
  })

  it('waits for the head from the end of the request on', async () => {
    await open({ headMs: 300 })
    const caller = await shop.caller()
    answerEach(shop.servers[0]!, () => ok('fine'))
    caller.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 8\r\n\r\n`)
    for (const letter of 'slowbody') {
      await new Promise((resolve) => setTimeout(resolve, 100))
      caller.send(letter)
    }
    expect(await caller.readMessage()).to.match(/fine$/)
  })

  it('breaks off an answer that stalls', async () => {
    await open({ idleMs: 300 })
    answerEach(shop.servers[0]!, () => 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
    const caller = await shop.caller()
    caller.send(get())
    await until(() => caller.isReset, 'the reset')
    expect(caller.received).to.match(/half$/)
    await until(() => shop.servers[0]!.open === 0, "the endpoint's connection to end")
    expect(shop.agent.settled[0]).to.include({ status: 200, reason: 'upstream_timeout' })
  })

  it('bounds all of a request, however busy it is', async () => {
    await open({ requestMs: 600 })
    shop.servers[0]!.each((connection) => {
      connection.send('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n')
      const trickle = setInterval(() => connection.send('x'), 20)
      connection.socket.once('close', () => clearInterval(trickle))
    })
    const caller = await shop.caller()
    const began = performance.now()
    caller.send(get())
    await until(() => caller.isReset, 'the reset')
    expect(performance.now() - began).to.be.within(500, 2_000)
    expect(caller.received).to.match(/xxx$/)
  })

  it('bounds all attempts together', async () => {
    shop = await startShop({
      policy: { timeouts: { requestMs: 500 }, retry: { perTryMs: 200, attempts: 10 } },
      endpoints: 3,
    })
    const { text, ms } = await shop.ask()
    expect(refusalOf(text)).to.equal('504 upstream_timeout')
    expect(ms).to.be.within(350, 1_500)
    expect(shop.agent.settled[0]!.attempts).to.be.within(2, 6)
  })
})
