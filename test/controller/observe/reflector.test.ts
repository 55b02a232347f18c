// List and watch against a server that breaks off, lies, hangs and forgets.

import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { pino } from 'pino'
import { type Clock, systemClock } from '../../../controller/clock.ts'
import type { KubeObject } from '../../../controller/observe/objects.ts'
import { type Reflector, startReflector } from '../../../controller/observe/reflector.ts'
import { openStore, type Store } from '../../../controller/observe/store.ts'
import { FakeClock } from '../../support/clock.ts'
import { event, type FakeServer, json, refuse, startFakeServer } from '../../support/fakeserver.ts'
import { until } from '../../support/until.ts'

const log = pino({ level: 'silent' })

function thing(name: string, version: number, more: Record<string, unknown> = {}) {
  return { metadata: { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: String(version), ...more } }
}

function page(version: number, items: unknown[], token?: string) {
  return { metadata: { resourceVersion: String(version), continue: token }, items }
}

describe('reflector', () => {
  let server: FakeServer
  let reflector: Reflector
  let store: Store<KubeObject>
  let changes = 0
  let missing = 0
  /** Answers for lists, the first for the first; the last one stays. */
  let lists: ((response: ServerResponse, url: URL) => void)[]
  let watches: ServerResponse[]
  let onWatch: (response: ServerResponse, url: URL) => void

  const names = () => [...store.view().keys()].sort()
  const version = (name: string) => store.view().get(`shop/${name}`)?.metadata.resourceVersion

  async function start(more: { clock?: Clock; keep?: (object: KubeObject) => KubeObject } = {}): Promise<void> {
    server = await startFakeServer(({ url }, response) => {
      if (url.searchParams.get('watch') === 'true') return onWatch(response, url)
      const answer = lists.length > 1 ? lists.shift()! : lists[0]!
      answer(response, url)
    })
    store = openStore()
    reflector = startReflector({
      api: server.api,
      clock: more.clock ?? systemClock,
      log,
      path: '/api/v1/things',
      apiVersion: 'v1',
      kind: 'Thing',
      store,
      keep: more.keep ?? ((object) => object),
      changed: () => changes++,
      missing: () => missing++,
    })
  }

  beforeEach(() => {
    changes = 0
    missing = 0
    watches = []
    lists = [(response) => json(response, 200, page(10, [thing('a', 1), thing('b', 2)]))]
    onWatch = (response) => {
      response.writeHead(200)
      response.flushHeaders()
      watches.push(response)
    }
  })

  afterEach(async () => {
    await reflector.stop()
    await server.close()
  })

  it('lists, then watches from the version of the list with bookmarks and a time-out of 5 to 10 minutes', async () => {
    await start()
    await reflector.synced
    expect(names()).to.deep.equal(['shop/a', 'shop/b'])
    expect(store.view().get('shop/a')).to.include({ apiVersion: 'v1', kind: 'Thing' })
    await until(() => watches.length === 1)
    const { searchParams } = server.requests.at(-1)!.url
    expect(searchParams.get('resourceVersion')).to.equal('10')
    expect(searchParams.get('allowWatchBookmarks')).to.equal('true')
    expect(Number(searchParams.get('timeoutSeconds'))).to.be.within(300, 600)
  })

  it('reads a list page by page', async () => {
    lists = [
      (response) => json(response, 200, page(10, [thing('a', 1)], 'next')),
      (response, url) => {
        expect(url.searchParams.get('continue')).to.equal('next')
        json(response, 200, page(10, [thing('b', 2)]))
      },
    ]
    await start()
    await reflector.synced
    expect(names()).to.deep.equal(['shop/a', 'shop/b'])
    expect(server.requests[0]!.url.searchParams.get('limit')).to.equal('500')
  })

  it('lists in one piece when a page has expired', async () => {
    lists = [
      (response) => json(response, 200, page(10, [thing('gone', 1)], 'next')),
      (response) => refuse(response, 410, 'Expired'),
      (response, url) => {
        expect(url.searchParams.has('limit')).to.equal(false)
        json(response, 200, page(11, [thing('a', 1)]))
      },
    ]
    await start()
    await reflector.synced
    expect(names()).to.deep.equal(['shop/a'])
  })

  it('follows additions, changes, deletions and split lines', async () => {
    await start()
    await until(() => watches.length === 1)
    const line = event('ADDED', thing('c', 11))
    watches[0]!.write(line.slice(0, 7))
    await new Promise((resolve) => setImmediate(resolve))
    watches[0]!.write(`${line.slice(7)}${event('MODIFIED', thing('a', 12))}`)
    watches[0]!.write(event('DELETED', thing('b', 13)))
    await until(() => !names().includes('shop/b'))
    expect(names()).to.deep.equal(['shop/a', 'shop/c'])
    expect(version('a')).to.equal('12')
  })

  it('keeps objects by reference when a new list has the same version of them', async () => {
    await start()
    await until(() => watches.length === 1)
    const before = store.view().get('shop/a')
    watches[0]!.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }))
    await until(() => reflector.lists === 2)
    expect(store.view().get('shop/a')).to.equal(before)
    expect(changes).to.equal(1)
  })

  it('lists again after 410, and forgets what has vanished meanwhile', async () => {
    await start()
    await until(() => watches.length === 1)
    lists = [(response) => json(response, 200, page(50, [thing('b', 2), thing('z', 49)]))]
    watches[0]!.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }))
    await until(() => watches.length === 2)
    expect(names()).to.deep.equal(['shop/b', 'shop/z'])
    expect(server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('50')
  })

  it('lists again when the watch itself is refused with 410', async () => {
    onWatch = (response) => {
      watches.push(response)
      if (watches.length === 1) return refuse(response, 410, 'Expired')
      response.writeHead(200).flushHeaders()
    }
    await start()
    await until(() => watches.length === 2)
    expect(reflector.lists).to.equal(2)
  })

  it('goes on from the last bookmark after a clean end, without a new list', async () => {
    await start()
    await until(() => watches.length === 1)
    watches[0]!.end(event('BOOKMARK', { metadata: { resourceVersion: '77' } }))
    await until(() => watches.length === 2)
    expect(server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('77')
    expect(reflector.lists).to.equal(1)
    expect(names()).to.deep.equal(['shop/a', 'shop/b'])
  })

  it('goes on after a connection reset from where it was, and keeps the store meanwhile', async () => {
    await start()
    await until(() => watches.length === 1)
    watches[0]!.write(event('ADDED', thing('c', 21)))
    await until(() => names().length === 3)
    watches[0]!.socket!.resetAndDestroy()
    await until(() => watches.length === 2)
    expect(names()).to.deep.equal(['shop/a', 'shop/b', 'shop/c'])
    expect(server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('21')
    expect(reflector.lists).to.equal(1)
    expect(reflector.failures).to.equal(1)
  })

  it('tries again after a list that failed, and says why until then', async () => {
    lists = [
      (response) => refuse(response, 500, 'InternalError'),
      (response) => response.writeHead(200).end('{"metadata":{"resourceVer'),
      (response) => json(response, 200, page(10, [thing('a', 1)])),
    ]
    await start()
    await until(() => reflector.trouble !== '')
    expect(reflector.hasSynced).to.equal(false)
    expect(reflector.trouble).to.contain('500 it is InternalError')
    await reflector.synced
    await until(() => reflector.trouble === '')
    expect(reflector.failures).to.equal(2)
  })

  it('backs off when watches end as soon as they begin', async () => {
    let count = 0
    onWatch = (response) => {
      count++
      response.writeHead(200).end()
    }
    await start()
    const startedAt = performance.now()
    await until(() => count === 4)
    // Waits of at least 100, 200 and 400 ms lie between the four.
    expect(performance.now() - startedAt).to.be.greaterThan(690)
    expect(reflector.lists).to.equal(1)
  })

  it('survives a line that is no JSON and an event without a version', async () => {
    await start()
    await until(() => watches.length === 1)
    watches[0]!.write('{"type":"ADDED","obj\n')
    await until(() => watches.length === 2)
    watches[1]!.write(event('ADDED', { metadata: { name: 'x' } }))
    await until(() => watches.length === 3)
    expect(names()).to.deep.equal(['shop/a', 'shop/b'])
  })

  it('says when the kind is not served any more', async () => {
    await start()
    await until(() => watches.length === 1)
    onWatch = (response) => refuse(response, 404, 'NotFound')
    watches[0]!.destroy()
    await until(() => missing > 0)
  })

  it('does not reset its patience on a quiet watch, and notices life by the bookmark', async () => {
    await start()
    await until(() => watches.length === 1)
    const before = reflector.liveAt
    await until(() => performance.now() > before + 5)
    watches[0]!.write(event('BOOKMARK', { metadata: { resourceVersion: '90' } }))
    await until(() => reflector.liveAt > before)
    expect(changes).to.equal(1)
  })

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
    await start(hasty())
    await until(() => watches.length === 1)
    watches[0]!.write(event('ADDED', thing('c', 100)))
    await until(() => names().length === 3)
    lists = [
      (response) => json(response, 200, page(99, [thing('a', 1)])),
      (response) => json(response, 200, page(9, [])),
      (response) => json(response, 200, page(100, [thing('a', 1), thing('c', 100)])),
    ]
    watches[0]!.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }))
    await until(() => lists.length === 2)
    expect(names()).to.deep.equal(['shop/a', 'shop/b', 'shop/c'])
    await until(() => lists.length === 1)
    expect(reflector.trouble).to.match(/version (99|9), older than 100/)
    await until(() => watches.length === 2)
    expect(names()).to.deep.equal(['shop/a', 'shop/c'])
    expect(reflector.trouble).to.equal('')
    expect(server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('100')
  })

  it('believes a server that says so again and again: its cluster was restored from a backup', async () => {
    const { clock, waits } = hasty()
    await start({ clock })
    await until(() => watches.length === 1)
    lists = [(response) => json(response, 200, page(9, [thing('old', 5)]))]
    watches[0]!.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }))
    await until(() => names().join() === 'shop/old')
    expect(waits.filter((ms) => ms < 3001).reduce((sum, ms) => sum + ms, 0)).to.be.greaterThan(20_000)
    await until(() => watches.length === 2)
    expect(server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('9')
  })

  it('lists again when a watch goes back in time', async () => {
    await start()
    await until(() => watches.length === 1)
    watches[0]!.write(event('ADDED', thing('c', 21)))
    await until(() => names().length === 3)
    lists = [(response) => json(response, 200, page(30, [thing('a', 1)]))]
    watches[0]!.write(event('MODIFIED', thing('c', 20)))
    await until(() => watches.length === 2)
    expect(names()).to.deep.equal(['shop/a'])
  })

  it('lists again when the server refuses to go on from where it was', async () => {
    onWatch = (response) => {
      watches.push(response)
      // What an API server says that has not come as far as the version.
      if (watches.length <= 3) return refuse(response, 504, 'Timeout')
      response.writeHead(200).flushHeaders()
    }
    await start(hasty())
    await until(() => watches.length === 4)
    expect(reflector.lists).to.equal(2)
  })

  it('goes on without a list however often connections break', async () => {
    onWatch = (response) => {
      watches.push(response)
      response.writeHead(200)
      response.flushHeaders()
      if (watches.length < 10) response.socket!.resetAndDestroy()
    }
    await start(hasty())
    await until(() => watches.length === 10)
    expect(reflector).to.include({ lists: 1, failures: 9 })
  })

  it('waits as long as a server asks that has no time, and some more', async () => {
    const { clock, waits } = hasty()
    const refuseFor = (response: ServerResponse, seconds: string) => {
      response.setHeader('retry-after', seconds)
      refuse(response, 429, 'TooManyRequests')
    }
    lists = [
      (response) => refuseFor(response, '7'),
      (response) => refuseFor(response, '3600'),
      (response) => refuseFor(response, new Date(Date.now() + 20_000).toUTCString()),
      (response) => json(response, 200, page(10, [thing('a', 1)])),
    ]
    await start({ clock })
    await reflector.synced
    expect(waits[0]).to.be.within(7000, 8750)
    expect(waits[1], 'but not for an hour').to.be.within(60_000, 75_000)
    expect(waits[2]).to.be.within(18_000, 25_000)
  })

  it('is soon back after an outage, however long, and not with others at once', async () => {
    const { clock, waits } = hasty()
    lists = [(response) => refuse(response, 500, 'InternalError')]
    await start({ clock })
    await until(() => waits.length === 20)
    expect(Math.max(...waits)).to.be.at.most(3000)
    expect(Math.min(...waits.slice(8))).to.be.at.least(1500)
    expect(new Set(waits).size).to.equal(waits.length)
  })

  it('gives up a watch that brings nothing, not even a bookmark, and goes on from where it was', async () => {
    const clock = new FakeClock()
    await start({ clock })
    await until(() => watches.length === 1 && clock.pending === 1)
    await clock.run(75_000, 15_000)
    watches[0]!.write(event('BOOKMARK', { metadata: { resourceVersion: '50' } }))
    const before = reflector.liveAt
    await until(() => reflector.liveAt > before)
    await clock.run(75_000, 15_000)
    expect(watches).to.have.length(1)
    clock.tick(15_000)
    await until(() => reflector.trouble !== '')
    expect(reflector.trouble).to.contain('nothing was heard for 90 s')
    await until(() => clock.pending === 1)
    clock.tick(200)
    await until(() => watches.length === 2)
    expect(server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('50')
    expect(reflector.lists).to.equal(1)
  })

  it('does not take its own standstill for the server’s silence', async () => {
    const clock = new FakeClock()
    await start({ clock })
    await until(() => watches.length === 1 && clock.pending === 1)
    // Suspended for an hour, with the news waiting in the socket.
    clock.tick(3_600_000)
    watches[0]!.write(event('ADDED', thing('c', 21)))
    await until(() => names().includes('shop/c'))
    expect(reflector).to.include({ failures: 0, trouble: '' })
  })

  it('leaves an object that it can’t read as it was, and goes on with the others', async () => {
    const keep = (object: KubeObject) => {
      if (object.metadata.resourceVersion === '66') throw new TypeError('spec is not there')
      return object
    }
    lists = [(response) => json(response, 200, page(70, [thing('a', 1), thing('new', 66)]))]
    await start({ keep })
    await until(() => watches.length === 1)
    expect(names()).to.deep.equal(['shop/a'])
    lists = [(response) => json(response, 200, page(80, [thing('a', 66), thing('c', 71)]))]
    watches[0]!.write(event('ADDED', thing('b', 71)))
    await until(() => names().length === 2)
    watches[0]!.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }))
    await until(() => watches.length === 2)
    expect(names()).to.deep.equal(['shop/a', 'shop/c'])
    expect(version('a')).to.equal('1')
    expect(reflector.rejected).to.equal(2)
    watches[1]!.write(event('MODIFIED', thing('a', 90)))
    await until(() => version('a') === '90')
  })

  it('ends while a list hangs', async () => {
    lists = [() => {}]
    await start()
    await until(() => server.requests.length === 1)
    await reflector.stop()
    expect(reflector.hasSynced).to.equal(false)
  })

  it('takes its time with a slow list', async () => {
    lists = [
      (response) => {
        const text = JSON.stringify(page(10, [thing('a', 1)]))
        response.writeHead(200)
        response.write(text.slice(0, 10))
        setTimeout(() => response.end(text.slice(10)), 50)
      },
    ]
    await start()
    await reflector.synced
    expect(names()).to.deep.equal(['shop/a'])
  })
})
