// One object that a stage stumbles over, and all the others that go on: with the real stages, and objects that throw when
// they are read.

import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { pino } from 'pino'
import type { KubeObject } from '../../controller/observe/objects.ts'
import { emptyWorld, type World } from '../../controller/observe/world.ts'
import { type Pass, type Pipeline, startPipeline } from '../../controller/pipeline.ts'
import { openQuarantine } from '../../controller/quarantine.ts'
import { resolve } from '../../controller/resolve/resolve.ts'
import { defaultSettings } from '../../controller/resolve/settings.ts'
import { translate } from '../../controller/translate/translate.ts'
import { FakeClock } from '../support/clock.ts'
import { until } from '../support/until.ts'
import { worldOf } from '../support/world.ts'

const log = pino({ level: 'silent' })
const yaml = ['access-rules', 'split-matches', 'endpoints'].map((name) =>
  readFileSync(new URL(`../golden/${name}.world.yaml`, import.meta.url), 'utf8'),
)
const healthy = () => yaml.reduce((world, each) => worldOf(each, world), emptyWorld)

/** The object with a field that throws when it is read. */
function poison<T extends KubeObject>(object: T, field: string): T {
  const broken = { ...object, metadata: { ...object.metadata, resourceVersion: 'poison' } }
  return Object.defineProperty(broken, field, {
    enumerable: true,
    get() {
      throw new TypeError(`${field} is poison`)
    },
  })
}

function put(world: World, part: keyof World, key: string, object: KubeObject): World {
  return { ...world, [part]: new Map<string, KubeObject>(world[part]).set(key, object) }
}

describe('quarantine', () => {
  let clock: FakeClock
  let pipeline: Pipeline
  let world: World
  let updates: Pass[]

  beforeEach(() => {
    clock = new FakeClock()
    world = healthy()
    updates = []
    pipeline = startPipeline({
      ...{ clock, log, settings: defaultSettings, resolve, translate },
      missing: () => [],
      world: () => world,
      publish: () => {},
      update: (pass) => updates.push(pass),
    })
  })

  afterEach(() => pipeline.stop())

  async function pass(): Promise<Pass> {
    const before = updates.length
    await until(() => clock.pending === 1)
    pipeline.poke()
    await until(() => clock.pending === 1)
    clock.tick(25)
    await until(() => updates.length > before, 'a pass')
    return updates.at(-1)!
  }

  const texts = ({ translation }: Pass) => translation.common.map(({ text }) => text)
  const about = ({ translation }: Pass) => translation.problems.filter(({ reason }) => reason === 'NotProcessed')

  for (const [part, field] of [
    ['services', 'spec'],
    ['splits', 'spec'],
    ['targets', 'spec'],
    ['routeGroups', 'spec'],
    ['slices', 'endpoints'],
    ['pods', 'status'],
  ] as const) {
    it(`leaves an object of ${part} as it was while all others go on`, async () => {
      const good = await pass()
      const [key, object] = [...world[part]][0]!
      world = put(world, part, key, poison<KubeObject>(object, field))
      const added = worldOf(
        '{ apiVersion: v1, kind: Service, metadata: { name: late, namespace: shop }, spec: { ports: [{ port: 80 }] } }',
      )
      const late = [...added.services.values()][0]!
      world = put(world, 'services', 'shop/late', late)
      const after = await pass()
      expect(after.world[part].get(key)).to.equal(object)
      expect(after.world.services.get('shop/late')).to.equal(late)
      expect(texts(after)).to.include.members(texts(good).filter((text) => !text.includes('"late"')))
      expect(about(after)).to.have.length(1)
      expect(about(after)[0]!.object).to.include({ name: object.metadata.name, kind: object.kind })
      expect(about(after)[0]!.message).to.contain(`${field} is poison`).and.to.contain('last good version stays')
      expect(pipeline).to.include({ failures: 0, trouble: '' })
      expect(pipeline.isolated).to.have.length(1)

      // Nothing has changed: nothing is searched for again, and it is still said.
      const again = await pass()
      expect(about(again)).to.deep.equal(about(after))
      // The object changes, and all is well.
      world = put(world, part, key, object)
      const mended = await pass()
      expect(about(mended)).to.deep.equal([])
      expect(pipeline.isolated).to.deep.equal([])
    })
  }

  it('finds several among all there is at the start', async () => {
    const services = [...world.services].slice(0, 2)
    for (const [key, object] of services) world = put(world, 'services', key, poison<KubeObject>(object, 'spec'))
    const first = await pass()
    expect(about(first).map(({ object }) => object.name)).to.have.members(
      services.map(([, { metadata }]) => metadata.name),
    )
    for (const [key] of services) expect(first.world.services.has(key)).to.equal(false)
    expect(first.world.services.size).to.equal(world.services.size - 2)
    expect(about(first)[0]!.message).to.contain('as if it were not there')
  })

  it('permits nobody where a new TrafficTarget can’t be processed', async () => {
    const fresh = worldOf(`
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: { name: new, namespace: shop }
spec:
  destination: { kind: ServiceAccount, name: guarded, namespace: shop }
  sources: [{ kind: ServiceAccount, name: client, namespace: shop }]
`)
    const target = [...fresh.targets.values()][0]!
    const spec = Object.defineProperty({ ...(target.spec as object) }, 'sources', {
      get() {
        throw new TypeError('sources is poison')
      },
    })
    world = put(world, 'targets', 'shop/new', { ...target, spec } as KubeObject)
    const after = await pass()
    expect(about(after)).to.have.length(1)
    const access = after.translation.common.find(({ resource }) => resource.name === 'shop/guarded')
    expect(access?.resource).to.deep.include({ kind: 'access', rules: [] })
  })

  it('tries again after a while, for another object may have been the reason', async () => {
    const quarantine = openQuarantine(clock, log)
    const [key, object] = [...world.services][0]!
    const broken = put(world, 'services', key, poison<KubeObject>(object, 'spec'))
    const attempt = (each: World) => {
      if (each.services.get(key)?.metadata.resourceVersion === 'poison') throw new Error('bad')
    }
    const rest = await quarantine.isolate(world, broken, attempt)
    expect(rest?.services.get(key)).to.equal(object)
    expect(quarantine.screen(broken).services.get(key)).to.equal(object)
    clock.tick(5 * 60_000)
    expect(quarantine.screen(broken)).to.equal(broken)
    expect(quarantine.problems()).to.deep.equal([])
  })

  it('blames no object for what fails without it', async () => {
    const quarantine = openQuarantine(clock, log)
    const attempt = () => {
      throw new Error('always')
    }
    expect(await quarantine.isolate(emptyWorld, world, attempt)).to.equal(null)
    expect(quarantine.objects).to.deep.equal([])
  })

  it('can leave a deletion undone', async () => {
    const quarantine = openQuarantine(clock, log)
    const [key, object] = [...world.services][0]!
    const services = new Map(world.services)
    services.delete(key)
    const rest = await quarantine.isolate(world, { ...world, services }, (each) => {
      if (!each.services.has(key)) throw new Error('it is missed')
    })
    expect(rest?.services.get(key)).to.equal(object)
    expect(quarantine.objects[0]).to.include({ kind: 'Service' })
  })
})
