// When passes run, and that no stage can stop them; on a clock of the test's own.

import { expect } from 'chai'
import { pino } from 'pino'
import { emptyWorld, type World } from '../../controller/observe/world.ts'
import { type Pipeline, startPipeline } from '../../controller/pipeline.ts'
import { defaultSettings } from '../../controller/resolve/settings.ts'
import type { Topology } from '../../controller/resolve/topology.ts'
import type { Translation } from '../../controller/translate/translate.ts'
import { FakeClock } from '../support/clock.ts'
import { until } from '../support/until.ts'

describe('pipeline', () => {
  let clock: FakeClock
  let pipeline: Pipeline
  let world: World
  let missing: string[]
  let calls: string[]
  let previous: (Topology | null)[]
  let failing: boolean

  const topology = (number: number) => ({ number, services: [] }) as unknown as Topology
  const translation = { common: [], nodes: new Map(), services: [], policies: [], problems: [] } as Translation

  beforeEach(() => {
    clock = new FakeClock()
    world = emptyWorld
    missing = []
    calls = []
    previous = []
    failing = false
    pipeline = startPipeline({
      clock,
      log: pino({ level: 'silent' }),
      settings: defaultSettings,
      missing: () => missing,
      world: () => world,
      resolve: (_world, _settings, before) => {
        if (failing) throw new Error('a bug')
        previous.push(before)
        calls.push('resolve')
        return topology(previous.length)
      },
      translate: () => {
        calls.push('translate')
        return translation
      },
      publish: () => calls.push('publish'),
      update: () => calls.push('update'),
    })
  })

  afterEach(() => pipeline.stop())

  const asleep = () => until(() => clock.pending === 1)

  async function tick(ms: number): Promise<void> {
    await asleep()
    clock.tick(ms)
    await asleep()
  }

  it('runs its stages in order, agents before cluster, 20 ms after the last event', async () => {
    await asleep()
    pipeline.poke()
    await tick(19)
    expect(calls).to.deep.equal([])
    await tick(1)
    expect(calls).to.deep.equal(['resolve', 'translate', 'publish', 'update'])
    expect(pipeline.last).to.deep.include({ world, topology: topology(1), translation })
  })

  it('makes one pass of a burst', async () => {
    await asleep()
    for (let count = 0; count < 1000; count++) pipeline.poke()
    await tick(25)
    expect(pipeline.passes).to.equal(1)
    await tick(1000)
    expect(pipeline.passes).to.equal(1)
  })

  it('waits no longer than 100 ms while events keep coming', async () => {
    await asleep()
    for (let ms = 0; ms < 95; ms += 5) {
      pipeline.poke()
      await tick(5)
    }
    expect(pipeline.passes).to.equal(0)
    pipeline.poke()
    await tick(5)
    expect(pipeline.passes).to.equal(1)
  })

  it('makes no pass before the World is whole, and then no longer asks', async () => {
    missing = ['listing Pod']
    await asleep()
    pipeline.poke()
    await tick(50)
    expect(pipeline.passes).to.equal(0)
    missing = []
    pipeline.poke()
    await tick(50)
    expect(pipeline.passes).to.equal(1)
    missing = ['listing TrafficSplit']
    pipeline.poke()
    await tick(50)
    expect(pipeline.passes).to.equal(2)
  })

  it('hands each topology to the next pass', async () => {
    await asleep()
    for (let count = 0; count < 2; count++) {
      pipeline.poke()
      await tick(50)
    }
    expect(previous).to.deep.equal([null, topology(1)])
  })

  it('survives a stage that throws, says so, and tries again without an event', async () => {
    failing = true
    await asleep()
    pipeline.poke()
    await tick(50)
    await until(() => pipeline.trouble !== '')
    expect(pipeline).to.include({ passes: 0, failures: 1, trouble: 'a bug' })
    failing = false
    await tick(2000)
    expect(pipeline).to.include({ passes: 1, failures: 1, trouble: '' })
  })

  it('makes a pass each minute without any event', async () => {
    await tick(59_000)
    expect(pipeline.passes).to.equal(0)
    await tick(1000)
    expect(pipeline.passes).to.equal(1)
  })
})
