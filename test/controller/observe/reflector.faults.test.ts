// Reflectors under fire: stale lists, silence, patience, objects that can't be read.

import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { type Clock, systemClock } from '../../../controller/clock.ts'
import type { KubeObject } from '../../../controller/observe/objects.ts'
import { FakeClock } from '../../support/clock.ts'
import { event, json, refuse } from '../../support/fakeserver.ts'
import { page, ReflectorBench, thing } from '../../support/reflector.ts'
import { until } from '../../support/until.ts'

describe('reflector under fire', () => {
  let bench: ReflectorBench

  beforeEach(() => {
    bench = new ReflectorBench()
  })

  afterEach(() => bench.stop())

  /** A clock of which nobody waits long, that tells how long they would have. */
  function hasty(): { clock: Clock; waits: number[] } {
    const waits: number[] = []
    const sleep = (ms: number, signal?: AbortSignal) => {
      waits.push(ms)
      return systemClock.sleep(ms / 100, signal)
    }
    return { clock: { ...systemClock, sleep }, waits }
  }

  it('does not believe a list that is older than what it has seen, and keeps what it has', async () => {
    await bench.start(hasty())
    await until(() => bench.watches.length === 1)
    bench.watches[0]!.write(event('ADDED', thing('c', 100)))
    await until(() => bench.names().length === 3)
    bench.lists = [
      (response) => json(response, 200, page(99, [thing('a', 1)])),
      (response) => json(response, 200, page(9, [])),
      (response) => json(response, 200, page(100, [thing('a', 1), thing('c', 100)])),
    ]
    bench.watches[0]!.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }))
    await until(() => bench.lists.length === 2)
    expect(bench.names()).to.deep.equal(['shop/a', 'shop/b', 'shop/c'])
    await until(() => bench.lists.length === 1)
    expect(bench.reflector.trouble).to.match(/version (99|9), older than 100/)
    await until(() => bench.watches.length === 2)
    expect(bench.names()).to.deep.equal(['shop/a', 'shop/c'])
    expect(bench.reflector.trouble).to.equal('')
    expect(bench.server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('100')
  })

  it('believes a server that says so again and again: its cluster was restored from a backup', async () => {
    const { clock, waits } = hasty()
    await bench.start({ clock })
    await until(() => bench.watches.length === 1)
    bench.lists = [(response) => json(response, 200, page(9, [thing('old', 5)]))]
    bench.watches[0]!.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }))
    await until(() => bench.names().join() === 'shop/old')
    expect(waits.filter((ms) => ms < 3001).reduce((sum, ms) => sum + ms, 0)).to.be.greaterThan(20_000)
    await until(() => bench.watches.length === 2)
    expect(bench.server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('9')
  })

  it('lists again when a watch goes back in time', async () => {
    await bench.start()
    await until(() => bench.watches.length === 1)
    bench.watches[0]!.write(event('ADDED', thing('c', 21)))
    await until(() => bench.names().length === 3)
    bench.lists = [(response) => json(response, 200, page(30, [thing('a', 1)]))]
    bench.watches[0]!.write(event('MODIFIED', thing('c', 20)))
    await until(() => bench.watches.length === 2)
    expect(bench.names()).to.deep.equal(['shop/a'])
  })

  it('lists again when the server refuses to go on from where it was', async () => {
    bench.onWatch = (response) => {
      bench.watches.push(response)
      // What an API server says that has not come as far as the version.
      if (bench.watches.length <= 3) return refuse(response, 504, 'Timeout')
      response.writeHead(200).flushHeaders()
    }
    await bench.start(hasty())
    await until(() => bench.watches.length === 4)
    expect(bench.reflector.lists).to.equal(2)
  })

  it('goes on without a list however often connections break', async () => {
    bench.onWatch = (response) => {
      bench.watches.push(response)
      response.writeHead(200)
      response.flushHeaders()
      if (bench.watches.length < 10) response.socket!.resetAndDestroy()
    }
    await bench.start(hasty())
    await until(() => bench.watches.length === 10)
    expect(bench.reflector).to.include({ lists: 1, failures: 9 })
  })

  it('waits as long as a server asks that has no time, and some more', async () => {
    const { clock, waits } = hasty()
    const refuseFor = (response: ServerResponse, seconds: string) => {
      response.setHeader('retry-after', seconds)
      refuse(response, 429, 'TooManyRequests')
    }
    bench.lists = [
      (response) => refuseFor(response, '7'),
      (response) => refuseFor(response, '3600'),
      (response) => refuseFor(response, new Date(Date.now() + 20_000).toUTCString()),
      (response) => json(response, 200, page(10, [thing('a', 1)])),
    ]
    await bench.start({ clock })
    await bench.reflector.synced
    expect(waits[0]).to.be.within(7000, 8750)
    expect(waits[1], 'but not for an hour').to.be.within(60_000, 75_000)
    expect(waits[2]).to.be.within(18_000, 25_000)
  })

  it('is soon back after an outage, however long, and not with others at once', async () => {
    const { clock, waits } = hasty()
    bench.lists = [(response) => refuse(response, 500, 'InternalError')]
    await bench.start({ clock })
    await until(() => waits.length === 20)
    expect(Math.max(...waits)).to.be.at.most(3000)
    expect(Math.min(...waits.slice(8))).to.be.at.least(1500)
    expect(new Set(waits).size).to.equal(waits.length)
  })

  it('gives up a watch that brings nothing, not even a bookmark, and goes on from where it was', async () => {
    const clock = new FakeClock()
    await bench.start({ clock })
    await until(() => bench.watches.length === 1 && clock.pending === 1)
    await clock.run(75_000, 15_000)
    bench.watches[0]!.write(event('BOOKMARK', { metadata: { resourceVersion: '50' } }))
    const before = bench.reflector.liveAt
    await until(() => bench.reflector.liveAt > before)
    await clock.run(75_000, 15_000)
    expect(bench.watches).to.have.length(1)
    clock.tick(15_000)
    await until(() => bench.reflector.trouble !== '')
    expect(bench.reflector.trouble).to.contain('nothing was heard for 90 s')
    await until(() => clock.pending === 1)
    clock.tick(200)
    await until(() => bench.watches.length === 2)
    expect(bench.server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('50')
    expect(bench.reflector.lists).to.equal(1)
  })

  it('does not take its own standstill for the server’s silence', async () => {
    const clock = new FakeClock()
    await bench.start({ clock })
    await until(() => bench.watches.length === 1 && clock.pending === 1)
    // Suspended for an hour, with the news waiting in the socket.
    clock.tick(3_600_000)
    bench.watches[0]!.write(event('ADDED', thing('c', 21)))
    await until(() => bench.names().includes('shop/c'))
    expect(bench.reflector).to.include({ failures: 0, trouble: '' })
  })

  it('leaves an object that it can’t read as it was, and goes on with the others', async () => {
    const keep = (object: KubeObject) => {
      if (object.metadata.resourceVersion === '66') throw new TypeError('spec is not there')
      return object
    }
    bench.lists = [(response) => json(response, 200, page(70, [thing('a', 1), thing('new', 66)]))]
    await bench.start({ keep })
    await until(() => bench.watches.length === 1)
    expect(bench.names()).to.deep.equal(['shop/a'])
    bench.lists = [(response) => json(response, 200, page(80, [thing('a', 66), thing('c', 71)]))]
    bench.watches[0]!.write(event('ADDED', thing('b', 71)))
    await until(() => bench.names().length === 2)
    bench.watches[0]!.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }))
    await until(() => bench.watches.length === 2)
    expect(bench.names()).to.deep.equal(['shop/a', 'shop/c'])
    expect(bench.version('a')).to.equal('1')
    expect(bench.reflector.rejected).to.equal(2)
    bench.watches[1]!.write(event('MODIFIED', thing('a', 90)))
    await until(() => bench.version('a') === '90')
  })
})
