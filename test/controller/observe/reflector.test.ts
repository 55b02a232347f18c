// List and watch against a server that breaks off, lies and forgets.

import { expect } from 'chai'
import { event, json, refuse } from '../../support/fakeserver.ts'
import { page, ReflectorBench, thing } from '../../support/reflector.ts'
import { until } from '../../support/until.ts'

describe('reflector', () => {
  let bench: ReflectorBench

  beforeEach(() => {
    bench = new ReflectorBench()
  })

  afterEach(() => bench.stop())

  it('lists, then watches from the version of the list with bookmarks and a time-out of 5 to 10 minutes', async () => {
    await bench.start()
    await bench.reflector.synced
    expect(bench.names()).to.deep.equal(['shop/a', 'shop/b'])
    expect(bench.store.view().get('shop/a')).to.include({ apiVersion: 'v1', kind: 'Thing' })
    await until(() => bench.watches.length === 1)
    const { searchParams } = bench.server.requests.at(-1)!.url
    expect(searchParams.get('resourceVersion')).to.equal('10')
    expect(searchParams.get('allowWatchBookmarks')).to.equal('true')
    expect(Number(searchParams.get('timeoutSeconds'))).to.be.within(300, 600)
  })

  it('reads a list page by page', async () => {
    bench.lists = [
      (response) => json(response, 200, page(10, [thing('a', 1)], 'next')),
      (response, url) => {
        expect(url.searchParams.get('continue')).to.equal('next')
        json(response, 200, page(10, [thing('b', 2)]))
      },
    ]
    await bench.start()
    await bench.reflector.synced
    expect(bench.names()).to.deep.equal(['shop/a', 'shop/b'])
    expect(bench.server.requests[0]!.url.searchParams.get('limit')).to.equal('500')
  })

  it('lists in one piece when a page has expired', async () => {
    bench.lists = [
      (response) => json(response, 200, page(10, [thing('gone', 1)], 'next')),
      (response) => refuse(response, 410, 'Expired'),
      (response, url) => {
        expect(url.searchParams.has('limit')).to.equal(false)
        json(response, 200, page(11, [thing('a', 1)]))
      },
    ]
    await bench.start()
    await bench.reflector.synced
    expect(bench.names()).to.deep.equal(['shop/a'])
  })

  it('follows additions, changes, deletions and split lines', async () => {
    await bench.start()
    await until(() => bench.watches.length === 1)
    const line = event('ADDED', thing('c', 11))
    bench.watches[0]!.write(line.slice(0, 7))
    await new Promise((resolve) => setImmediate(resolve))
    bench.watches[0]!.write(`${line.slice(7)}${event('MODIFIED', thing('a', 12))}`)
    bench.watches[0]!.write(event('DELETED', thing('b', 13)))
    await until(() => !bench.names().includes('shop/b'))
    expect(bench.names()).to.deep.equal(['shop/a', 'shop/c'])
    expect(bench.version('a')).to.equal('12')
  })

  it('keeps objects by reference when a new list has the same version of them', async () => {
    await bench.start()
    await until(() => bench.watches.length === 1)
    const before = bench.store.view().get('shop/a')
    bench.watches[0]!.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }))
    await until(() => bench.reflector.lists === 2)
    expect(bench.store.view().get('shop/a')).to.equal(before)
    expect(bench.changes).to.equal(1)
  })

  it('lists again after 410, and forgets what has vanished meanwhile', async () => {
    await bench.start()
    await until(() => bench.watches.length === 1)
    bench.lists = [(response) => json(response, 200, page(50, [thing('b', 2), thing('z', 49)]))]
    bench.watches[0]!.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }))
    await until(() => bench.watches.length === 2)
    expect(bench.names()).to.deep.equal(['shop/b', 'shop/z'])
    expect(bench.server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('50')
  })

  it('lists again when the watch itself is refused with 410', async () => {
    bench.onWatch = (response) => {
      bench.watches.push(response)
      if (bench.watches.length === 1) return refuse(response, 410, 'Expired')
      response.writeHead(200).flushHeaders()
    }
    await bench.start()
    await until(() => bench.watches.length === 2)
    expect(bench.reflector.lists).to.equal(2)
  })

  it('goes on from the last bookmark after a clean end, without a new list', async () => {
    await bench.start()
    await until(() => bench.watches.length === 1)
    bench.watches[0]!.end(event('BOOKMARK', { metadata: { resourceVersion: '77' } }))
    await until(() => bench.watches.length === 2)
    expect(bench.server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('77')
    expect(bench.reflector.lists).to.equal(1)
    expect(bench.names()).to.deep.equal(['shop/a', 'shop/b'])
  })

  it('goes on after a connection reset from where it was, and keeps the store meanwhile', async () => {
    await bench.start()
    await until(() => bench.watches.length === 1)
    bench.watches[0]!.write(event('ADDED', thing('c', 21)))
    await until(() => bench.names().length === 3)
    bench.watches[0]!.socket!.resetAndDestroy()
    await until(() => bench.watches.length === 2)
    expect(bench.names()).to.deep.equal(['shop/a', 'shop/b', 'shop/c'])
    expect(bench.server.requests.at(-1)!.url.searchParams.get('resourceVersion')).to.equal('21')
    expect(bench.reflector.lists).to.equal(1)
    expect(bench.reflector.failures).to.equal(1)
  })

  it('tries again after a list that failed, and says why until then', async () => {
    bench.lists = [
      (response) => refuse(response, 500, 'InternalError'),
      (response) => response.writeHead(200).end('{"metadata":{"resourceVer'),
      (response) => json(response, 200, page(10, [thing('a', 1)])),
    ]
    await bench.start()
    await until(() => bench.reflector.trouble !== '')
    expect(bench.reflector.hasSynced).to.equal(false)
    expect(bench.reflector.trouble).to.contain('500 it is InternalError')
    await bench.reflector.synced
    await until(() => bench.reflector.trouble === '')
    expect(bench.reflector.failures).to.equal(2)
  })

  it('backs off when watches end as soon as they begin', async () => {
    let count = 0
    bench.onWatch = (response) => {
      count++
      response.writeHead(200).end()
    }
    await bench.start()
    const startedAt = performance.now()
    await until(() => count === 4)
    // Waits of at least 100, 200 and 400 ms lie between the four.
    expect(performance.now() - startedAt).to.be.greaterThan(690)
    expect(bench.reflector.lists).to.equal(1)
  })

  it('survives a line that is no JSON and an event without a version', async () => {
    await bench.start()
    await until(() => bench.watches.length === 1)
    bench.watches[0]!.write('{"type":"ADDED","obj\n')
    await until(() => bench.watches.length === 2)
    bench.watches[1]!.write(event('ADDED', { metadata: { name: 'x' } }))
    await until(() => bench.watches.length === 3)
    expect(bench.names()).to.deep.equal(['shop/a', 'shop/b'])
  })

  it('says when the kind is not served any more', async () => {
    await bench.start()
    await until(() => bench.watches.length === 1)
    bench.onWatch = (response) => refuse(response, 404, 'NotFound')
    bench.watches[0]!.destroy()
    await until(() => bench.missing > 0)
  })

  it('does not reset its patience on a quiet watch, and notices life by the bookmark', async () => {
    await bench.start()
    await until(() => bench.watches.length === 1)
    const before = bench.reflector.liveAt
    await until(() => performance.now() > before + 5)
    bench.watches[0]!.write(event('BOOKMARK', { metadata: { resourceVersion: '90' } }))
    await until(() => bench.reflector.liveAt > before)
    expect(bench.changes).to.equal(1)
  })

  it('ends while a list hangs', async () => {
    bench.lists = [() => {}]
    await bench.start()
    await until(() => bench.server.requests.length === 1)
    await bench.reflector.stop()
    expect(bench.reflector.hasSynced).to.equal(false)
  })

  it('takes its time with a slow list', async () => {
    bench.lists = [
      (response) => {
        const text = JSON.stringify(page(10, [thing('a', 1)]))
        response.writeHead(200)
        response.write(text.slice(0, 10))
        setTimeout(() => response.end(text.slice(10)), 50)
      },
    ]
    await bench.start()
    await bench.reflector.synced
    expect(bench.names()).to.deep.equal(['shop/a'])
  })
})
