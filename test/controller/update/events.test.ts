// Events: one for each problem, counted and bounded.

import { expect } from 'chai'
import { pino } from 'pino'
import { type Events, type Notice, openEvents } from '../../../controller/update/events.ts'
import { FakeClock } from '../../support/clock.ts'
import { type FakeServer, json, refuse, startFakeServer } from '../../support/fakeserver.ts'

interface Stored {
  metadata: { name: string; namespace: string; resourceVersion: string }
  [field: string]: unknown
}

describe('events', () => {
  let server: FakeServer
  let events: Events
  let clock: FakeClock
  let stored: Map<string, Stored>
  let refusal: number
  let isThere: () => boolean

  function open(): Events {
    return openEvents({ api: server.api, clock, log: pino({ level: 'silent' }), controller: 'controller-1' })
  }

  beforeEach(async () => {
    stored = new Map()
    refusal = 0
    isThere = () => true
    clock = new FakeClock()
    server = await startFakeServer(({ method, url, body }, response) => {
      if (refusal !== 0) return refuse(response, refusal, 'Refused')
      const given = body as Stored
      const key = method === 'POST' ? `${url.pathname}/${given.metadata.name}` : url.pathname
      const held = stored.get(key)
      if (method === 'GET') return json(response, 200, held)
      if (method === 'POST' && held !== undefined) return refuse(response, 409, 'AlreadyExists')
      stored.set(key, { ...given, metadata: { ...given.metadata, resourceVersion: '1' } })
      json(response, 200, stored.get(key))
    })
    events = open()
  })

  afterEach(() => server.close())

  function notice(name: string, message = 'spec.service: no such Service', reason = 'RootNotFound'): Notice {
    const object = {
      apiVersion: 'split.smi-spec.io/v1alpha4',
      kind: 'TrafficSplit',
      namespace: 'shop',
      name,
      uid: `u-${name}`,
    }
    return { object, reason, message }
  }

  const write = (...notices: Notice[]) => events.write(notices, () => true, isThere)
  const counts = (type = 'Warning') =>
    [...stored.values()].filter((each) => each['type'] === type).map(({ count }) => count)
  const ends = () => [...stored.values()].filter((each) => each['type'] === 'Normal').map(({ message }) => message)

  it('writes a problem once, on its object', async () => {
    await write(notice('a'))
    await write(notice('a'))
    expect(stored.size).to.equal(1)
    const [[path, event]] = [...stored] as [[string, Stored]]
    expect(path).to.match(/^\/api\/v1\/namespaces\/shop\/events\/a\.[0-9a-f]{16}$/)
    expect(event).to.deep.include({
      type: 'Warning',
      reason: 'RootNotFound',
      message: 'spec.service: no such Service',
      count: 1,
      reportingInstance: 'controller-1',
      firstTimestamp: '2026-01-01T00:00:00Z',
    })
    expect(event['involvedObject']).to.deep.equal(notice('a').object)
  })

  it('writes cluster-scoped objects’ Events to the namespace default', async () => {
    const object = { apiVersion: 'v1', kind: 'Namespace', namespace: '', name: 'shop', uid: 'u' }
    await write({ object, reason: 'LabelInvalid', message: 'm' })
    expect([...stored.keys()][0]).to.match(/^\/api\/v1\/namespaces\/default\/events\/shop\./)
  })

  it('counts a problem that comes and goes, at most once a minute', async () => {
    await write(notice('a'))
    for (let round = 0; round < 5; round++) {
      await write()
      await write(notice('a'))
    }
    expect(counts()).to.deep.equal([1])
    clock.tick(61_000)
    await write(notice('a'))
    expect(counts()).to.deep.equal([6])
  })

  it('renews a problem that stays before its Event expires', async () => {
    await write(notice('a'))
    clock.tick(29 * 60_000)
    await write(notice('a'))
    expect(counts()).to.deep.equal([1])
    clock.tick(2 * 60_000)
    await write(notice('a'))
    expect(counts()).to.deep.equal([2])
  })

  it('counts on what another replica has written', async () => {
    await write(notice('a'))
    events = open()
    await write(notice('a'))
    expect(counts()).to.deep.equal([2])
    expect(stored.size).to.equal(1)
  })

  it('keeps problems apart by object, reason and message', async () => {
    await write(notice('a'), notice('b'), notice('a', 'another'), notice('a', undefined, 'WeightInvalid'))
    expect(stored.size).to.equal(4)
  })

  it('writes no more than ten for one object, the last of which counts the rest', async () => {
    await write(...Array.from({ length: 500 }, (_each, index) => notice('a', `problem ${index}`)), notice('b'))
    expect(stored.size).to.equal(11)
    const more = [...stored.values()].find(({ reason }) => reason === 'MoreProblems')!
    expect(more['message']).to.match(/^491 more problems/)
  })

  it('cuts messages to what the API server takes', async () => {
    await write(notice('a', 'x'.repeat(3000)))
    expect(String([...stored.values()][0]!['message'])).to.have.length(1024)
  })

  it('lets one that can’t be written hold up no other, and tries it again', async () => {
    refusal = 403
    await write(notice('a'), notice('b'))
    expect(server.requests).to.have.length(2)
    refusal = 0
    await write(notice('a'), notice('b'))
    expect(stored.size).to.equal(0)
    clock.tick(61_000)
    await write(notice('a'), notice('b'))
    expect(stored.size).to.equal(2)
  })

  it('writes nothing without leave', async () => {
    await events.write([notice('a')], () => false, isThere)
    expect(server.requests).to.have.length(0)
    await write(notice('a'))
    expect(stored.size).to.equal(1)
  })

  describe('that a problem is over', () => {
    const over = 'RootNotFound is over, which was: spec.service: no such Service'

    it('are written once, on its object, at once', async () => {
      await write(notice('a'))
      await write()
      await write()
      expect(ends()).to.deep.equal([over])
      const end = [...stored.values()].find((each) => each['type'] === 'Normal')!
      expect(end).to.deep.include({ reason: 'ProblemOver', involvedObject: notice('a').object, count: 1 })
      expect(end.metadata.name).to.match(/^a\.[0-9a-f]{16}\.over$/)
    })

    it('are counted where it comes and goes, at most once a minute, and the last one tells what is true', async () => {
      await write(notice('a'))
      for (let round = 0; round < 5; round++) {
        await write()
        await write(notice('a'))
      }
      await write()
      expect([counts(), counts('Normal')]).to.deep.equal([[1], [1]])
      clock.tick(61_000)
      await write(notice('a'))
      expect(counts()).to.deep.equal([7])
      await write()
      expect(counts('Normal')).to.deep.equal([2])
    })

    it('are not written of what was never told', async () => {
      refusal = 403
      await write(notice('a'))
      refusal = 0
      await write()
      clock.tick(61_000)
      await write()
      expect(stored.size).to.equal(0)
    })

    it('are not written of an object that is gone', async () => {
      await write(notice('a'))
      isThere = () => false
      await write()
      expect(ends()).to.deep.equal([])
    })

    it('are not written where the problem is only put in other words, nor of what fades', async () => {
      await write(notice('a'), { ...notice('b'), fades: true })
      await write(notice('a', 'spec.service: still no such Service'))
      expect(ends()).to.deep.equal([])
      await write()
      expect(ends()).to.deep.equal(['RootNotFound is over, which was: spec.service: still no such Service'])
    })

    it('are written of one of two of the same kind', async () => {
      await write(notice('a', 'no Service x'), notice('a', 'no Service y'))
      await write(notice('a', 'no Service y'))
      expect(ends()).to.deep.equal(['RootNotFound is over, which was: no Service x'])
    })

    it('are not written of problems beyond the ten that are shown', async () => {
      const many = Array.from({ length: 12 }, (_each, index) => notice('a', `problem ${index}`))
      await write(...many.slice(0, 10))
      await write(notice('a', 'first of all'), ...many)
      expect(ends()).to.deep.equal([])
    })

    it('are tried again where they can’t be written', async () => {
      await write(notice('a'))
      refusal = 500
      await write()
      refusal = 0
      await write()
      expect(ends()).to.deep.equal([])
      clock.tick(61_000)
      await write()
      expect(ends()).to.deep.equal([over])
    })
  })
})
