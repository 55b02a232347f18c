// Callers and endpoints that stall, break off and talk nonsense. After each, nothing is left: no connection, no timer, no
// exchange, and the next request works. The clock is turned by hand.

import { expect } from 'chai'
import { Dice } from '../../scripts/fuzz/dice.ts'
import { readByOracle } from '../../scripts/fuzz/oracle.ts'
import { FakeClock } from '../support/clock.ts'
import { type Bed, clean, get, host, ok, okDown, post, reasonOf, refusalOf, startBed } from '../support/rawmesh.ts'
import { until } from '../support/until.ts'

const seconds = 1000
const minutes = 60 * seconds

describe('chaos', function () {
  this.timeout(60_000)
  let bed: Bed
  let clock: FakeClock
  let timers: number
  beforeEach(open)
  afterEach(async () => {
    try {
      await bed.works()
      await clean(bed.agent)
      expect(clock.pending, 'timers').to.be.at.most(timers)
    } finally {
      await bed.stop()
    }
  })

  async function open(): Promise<void> {
    clock = new FakeClock()
    bed = await startBed({
      clock,
      flags: ['--breaker-failures', '10000', '--breaker-minimum', '10000', '--retries', '0'],
    })
    // The first request starts what runs as long as the thread, the breakers' windows for one.
    const { caller, endpoint } = await bed.begin(get('/', 'Connection: close\r\n'))
    await endpoint.readMessage()
    endpoint.send(ok('', 'Connection: close\r\n'))
    await caller.gone()
    caller.destroy()
    await clean(bed.agent)
    bed.server.rewind()
    timers = clock.pending
  }

  /** Turns the clock in steps, as sweeps do. */
  function wait(ms: number): void {
    for (let left = ms; left > 0; left -= 100) clock.tick(Math.min(100, left))
  }

  /** Until all bytes that were sent so far have been taken. */
  const taken = (connections: number) =>
    until(() => bed.agent.thread.outbound.open === connections, `${connections} connections`)

  describe('slow callers', () => {
    it('7.49 slowloris: a head that dribbles ends with 408 after 10 s, on each of 100 connections', async () => {
      const callers = await Promise.all(Array.from({ length: 100 }, () => bed.caller()))
      await taken(100)
      const head = get('/', 'X-A: 1\r\n').slice(0, -2)
      for (const caller of callers) caller.send(head.slice(0, 20))
      // All heads must have begun before the clock moves.
      await until(() => callers.every((caller) => caller.socket.writableLength === 0), 'that all is sent')
      await new Promise((resolve) => setTimeout(resolve, 50))
      for (let second = 0; second < 9; second++) {
        wait(seconds)
        for (const caller of callers) caller.send('x')
      }
      expect(callers.filter((caller) => caller.hasEnded)).to.have.length(0)
      wait(1.2 * seconds)
      for (const caller of callers) {
        expect(refusalOf(await caller.readMessage())).to.equal('408 request_timeout')
        await caller.gone()
        caller.destroy()
      }
      expect(bed.server.connections).to.have.length(0)
    })

    it('a silent connection is closed after 2 minutes, without a word', async () => {
      const caller = await bed.caller()
      await taken(1)
      wait(2 * minutes + seconds)
      expect(await caller.gone()).to.deep.equal({ how: 'end', rest: '' })
      caller.destroy()
    })

    it('7.49 a body that stops ends with 408 after 5 minutes, and the endpoint sees a reset', async () => {
      const { caller, endpoint } = await bed.begin(post('').replace('Length: 0', 'Length: 10'))
      await endpoint.readThrough('\r\n\r\n')
      caller.send('half ')
      await endpoint.read(5)
      wait(5 * minutes + seconds)
      expect(refusalOf(await caller.readMessage())).to.equal('408 request_timeout')
      expect((await endpoint.gone()).how).to.equal('reset')
      caller.destroy()
    })

    it('a body that goes on slowly is not cut off', async () => {
      const { caller, endpoint } = await bed.begin(post('').replace('Length: 0', 'Length: 10'))
      await endpoint.readThrough('\r\n\r\n')
      for (const letter of '0123456789') {
        wait(4 * minutes)
        caller.send(letter)
        expect(await endpoint.read(1)).to.equal(letter)
      }
      endpoint.send(ok('done'))
      expect(await caller.readMessage()).to.equal(okDown('done'))
      caller.destroy()
    })

    it('7.51 a caller that does not read stops the endpoint, and is reset after 5 minutes', async () => {
      const { caller, endpoint } = await bed.begin(get())
      caller.socket.pause()
      await endpoint.readMessage()
      endpoint.send('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n')
      await endpoint.sendUntilStuck()
      wait(5 * minutes + seconds)
      await endpoint.gone()
      caller.socket.resume()
      await until(() => caller.isClosed, 'the reset')
      expect(caller.isReset).to.equal(true)
      expect(bed.agent.settled.at(-1)?.reason).to.equal('caller_gone')
    })
  })

  describe('slow endpoints', () => {
    it('no answer ends with 504 after 15 s', async () => {
      const { caller, endpoint } = await bed.begin(get())
      await endpoint.readMessage()
      wait(14 * seconds)
      expect(caller.unread).to.equal('')
      wait(1.2 * seconds)
      expect(refusalOf(await caller.readMessage())).to.equal('504 upstream_timeout')
      await endpoint.gone()
      caller.destroy()
    })

    it('half a head ends with 504', async () => {
      const { caller, endpoint } = await bed.begin(get())
      await endpoint.readMessage()
      endpoint.send('HTTP/1.1 200 OK\r\nX-A: ')
      await new Promise((resolve) => setTimeout(resolve, 20))
      wait(15 * seconds + 200)
      expect(refusalOf(await caller.readMessage())).to.equal('504 upstream_timeout')
      await endpoint.gone()
      caller.destroy()
    })

    it('an answer that stops is cut off by a reset after 5 minutes', async () => {
      const { caller, endpoint } = await bed.begin(get())
      await endpoint.readMessage()
      endpoint.send('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ')
      await caller.readThrough('half ')
      wait(5 * minutes + seconds)
      expect((await caller.gone()).how).to.equal('reset')
      await endpoint.gone()
    })

    it('an answer that comes too late is nobody’s', async () => {
      const { caller, endpoint } = await bed.begin(get())
      await endpoint.readMessage()
      wait(15 * seconds + 200)
      await caller.readMessage()
      endpoint.send(ok('late'))
      caller.destroy()
    })

    it('an endpoint that does not read a body stops the caller, and ends in 504', async () => {
      const { caller, endpoint } = await bed.begin(post('').replace('Length: 0', 'Length: 1000000000'))
      endpoint.socket.pause()
      await caller.sendUntilStuck()
      wait(5 * minutes + seconds)
      expect(refusalOf(await caller.readMessage())).to.equal('504 upstream_timeout')
      endpoint.socket.resume()
      await until(() => endpoint.isClosed || endpoint.hasEnded, 'the end at the endpoint')
      caller.destroy()
    })
  })

  describe('at every byte', () => {
    const bodies = ['abc', '3\r\nabc\r\n0\r\n\r\n']
    const requests = [post('abc'), post('', '').replace('Content-Length: 0', 'Transfer-Encoding: chunked') + bodies[1]!]
    const responses = [ok('abc'), ok('').replace('Content-Length: 0', 'Transfer-Encoding: chunked') + bodies[1]!]
    responses.push('HTTP/1.1 200 OK\r\nDate: today\r\n\r\nabc')

    for (const how of ['reset', 'end'] as const) {
      for (const [number, request] of requests.entries()) {
        it(`the caller breaks off (${how}) a request ${number === 0 ? 'with length' : 'in chunks'}`, async () => {
          bed.server.answerAll(ok('fine'))
          for (let at = 0; at < request.length; at++) {
            const caller = await bed.caller()
            if (at > 0) caller.send(request.slice(0, at))
            await until(() => caller.socket.writableLength === 0, 'that all is sent')
            if (how === 'reset') caller.reset()
            else caller.end()
            await until(() => caller.isClosed || caller.hasEnded, `the end at byte ${at}`)
            expect(caller.received, `at byte ${at}`).to.equal('')
            caller.destroy()
          }
          await taken(0)
          const whole = bed.server.connections.flatMap(({ received }) =>
            readByOracle(Buffer.from(received, 'latin1'), null).messages.filter(({ end }) => end !== -1),
          )
          expect(whole, 'whole requests at the endpoint').to.have.length(0)
        })
      }

      for (const [number, response] of responses.entries()) {
        const name = ['with length', 'in chunks', 'up to its end'][number]
        it(`the endpoint breaks off (${how}) a response ${name}`, async () => {
          for (let at = 0; at < response.length; at++) {
            const { caller, endpoint } = await bed.begin(get('/', 'Connection: close\r\n'))
            await endpoint.readMessage()
            if (at > 0) endpoint.send(response.slice(0, at))
            await until(() => endpoint.socket.writableLength === 0, 'that all is sent')
            if (how === 'reset') endpoint.reset()
            else endpoint.end()
            const seen = await caller.gone()
            await until(() => caller.isClosed || caller.hasEnded, `the end at byte ${at}`)
            endpoint.destroy()
            caller.destroy()
            checkCut(seen.rest, caller.isReset, at, how === 'end' && number === 2)
          }
        })
      }
    }

    /** A response that was cut may show as a refusal or as a reset, but never as a whole one. */
    function checkCut(rest: string, isReset: boolean, at: number, isEndProper: boolean): void {
      const where = `at byte ${at}: ${JSON.stringify(rest)}`
      if (reasonOf(rest) !== 'none') {
        expect(refusalOf(rest), where).to.match(/^502 upstream_/)
        return
      }
      if (isEndProper) return
      expect(isReset || rest === '', where).to.equal(true)
      const [message] = readByOracle(Buffer.from(rest, 'latin1'), 'GET').messages
      const isDelimited = /content-length|chunked/i.test(rest)
      if (isDelimited) expect(message?.end ?? -1, where).to.equal(-1)
    }
  })

  it('an endpoint that answers garbage', async () => {
    const dice = new Dice(7)
    for (let round = 0; round < 100; round++) {
      const { caller, endpoint } = await bed.begin(get('/', 'Connection: close\r\n'))
      await endpoint.readMessage()
      const start = dice.pick([
        '',
        'HTTP',
        'HTTP/1.1 200 OK\r\n',
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
      ])
      const noise = Array.from({ length: 1 + dice.below(200) }, () => String.fromCharCode(dice.below(256))).join('')
      endpoint.send(start + noise)
      endpoint.end()
      const { rest } = await caller.gone()
      const isFine = reasonOf(rest).startsWith('upstream_') || caller.isReset || rest === ''
      expect(isFine, JSON.stringify([start + noise, rest])).to.equal(true)
      caller.destroy()
      endpoint.destroy()
    }
  })

  it('an endpoint that is not there', async () => {
    const { port } = bed.server
    await bed.server.stop()
    const caller = await bed.caller()
    caller.send(get())
    expect(refusalOf(await caller.readMessage())).to.equal('502 connect_failed')
    caller.send(get('/', `Host2: ${host}\r\n`))
    expect(refusalOf(await caller.readMessage())).to.equal('502 connect_failed')
    caller.destroy()
    await bed.stop()
    await open()
    expect(bed.server.port).not.to.equal(port)
  })

  it('an endpoint that closes an idle connection at the moment of the next request', async () => {
    for (let round = 0; round < 20; round++) {
      const { caller, endpoint } = await bed.begin(get('/1'))
      await endpoint.readMessage()
      endpoint.send(ok('1'))
      await caller.readMessage()
      bed.server.each((connection) => {
        void connection
          .readMessage()
          .then(() => connection.send(ok('2', 'Connection: close\r\n')))
          .catch(() => {})
      })
      endpoint.end()
      caller.send(get('/2'))
      const response = await caller.readMessage()
      // Without retries the race may be lost; it must then be said.
      if (!response.startsWith('HTTP/1.1 200')) expect(refusalOf(response)).to.equal('502 upstream_reset')
      caller.destroy()
      endpoint.destroy()
      await until(() => bed.agent.thread.hop.counts.open === 0, 'the end of all connections')
      for (const connection of bed.server.connections) connection.destroy()
      bed.server.rewind()
      bed.server.each(() => {})
    }
  })
})
