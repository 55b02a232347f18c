// What ends by the time alone, on a clock of the test's own: a mesh port that was given back, and a Service that left. No
// event comes; the pipeline's own idle passes must do.

import { expect } from 'chai'
import { pino } from 'pino'
import type { World } from '../../controller/observe/world.ts'
import { type Pass, type Pipeline, startPipeline } from '../../controller/pipeline.ts'
import { resolve } from '../../controller/resolve/resolve.ts'
import { defaultSettings } from '../../controller/resolve/settings.ts'
import { translate } from '../../controller/translate/translate.ts'
import { FakeClock } from '../support/clock.ts'
import { until } from '../support/until.ts'
import { said, shop, worldOf } from '../support/world.ts'

const minute = 60_000

describe('what rests', () => {
  let clock: FakeClock
  let pipeline: Pipeline
  let world: World

  beforeEach(() => {
    clock = new FakeClock()
    pipeline = startPipeline({
      clock,
      log: pino({ level: 'silent' }),
      // One mesh port for all.
      settings: { ...defaultSettings, meshPorts: { first: 20_000, last: 20_000 } },
      missing: () => [],
      world: () => world,
      resolve,
      translate,
      publish: () => {},
      update: () => {},
    })
  })
  afterEach(() => pipeline.stop())

  async function tick(ms: number): Promise<void> {
    await until(() => clock.pending === 1)
    clock.tick(ms)
    await until(() => clock.pending === 1)
  }

  /** A world is there, and is seen. */
  async function see(yaml: string): Promise<Pass> {
    world = worldOf(yaml)
    const { passes } = pipeline
    pipeline.poke()
    while (pipeline.passes === passes) await tick(20)
    return pipeline.last!
  }

  const portsOf = ({ translation }: Pass) =>
    translation.common.flatMap(({ resource }) =>
      resource.kind === 'port' ? [`${resource.name} ${resource.service?.name ?? 'shared'}:${resource.port}`] : [],
    )

  it('is a mesh port that was given back: for 10 minutes nobody gets it, then whoever waits', async () => {
    expect(portsOf(await see(shop({ name: 'old', ports: ['tcp-x:5000'] })))).to.deep.equal(['20000 shop/old:5000'])
    const waiting = await see(shop({ name: 'new', ports: ['tcp-x:6000'] }))
    expect(portsOf(waiting)).to.deep.equal([])
    expect(said(waiting.translation.problems)).to.deep.equal(['Service new: MeshPortsExhausted'])
    for (let minutes = 1; minutes < 10; minutes++) await tick(minute)
    expect(portsOf(pipeline.last!), 'after 9 minutes').to.deep.equal([])
    await tick(minute)
    await tick(minute)
    expect(portsOf(pipeline.last!)).to.deep.equal(['20000 shop/new:6000'])
    expect(pipeline.last!.translation.problems).to.deep.equal([])
  })

  it('is a Service that left the mesh: callers are told for 10 minutes, then its port closes', async () => {
    const text = shop({ name: 'web', ports: ['tcp-x:5000'] })
    await see(text)
    expect(portsOf(await see(text.replace('enabled', 'disabled')))).to.deep.equal(['20000 shop/web:5000'])
    for (let minutes = 1; minutes < 10; minutes++) await tick(minute)
    expect(portsOf(pipeline.last!), 'after 9 minutes').to.deep.equal(['20000 shop/web:5000'])
    await tick(minute)
    await tick(minute)
    expect(portsOf(pipeline.last!)).to.deep.equal([])
    const names = pipeline.last!.translation.services.map(({ metadata }) => metadata.name)
    expect(names).to.deep.equal(['weft'])
  })
})
