// List and watch against a server that breaks off, lies, hangs and forgets.

import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { pino } from 'pino'
import { systemClock } from '../../../controller/clock.ts'
import type { KubeObject } from '../../../controller/observe/objects.ts'
import { type Reflector, startReflector } from '../../../controller/observe/reflector.ts'
import { openStore, type Store } from '../../../controller/observe/store.ts'
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

  async function start(): Promise<void> {
    server = await startFakeServer(({ url }, response) => {
      if (url.searchParams.get('watch') === 'true') return onWatch(response, url)
      const answer = lists.length > 1 ? lists.shift()! : lists[0]!
      answer(response, url)
    })
    store = openStore()
    reflector = startReflector({
      api: server.api,
      clock: systemClock,
      log,
      path: '/api/v1/things',
      apiVersion: 'v1',
      kind: 'Thing',
      store,
      keep: (object) => object,
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
