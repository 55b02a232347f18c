// Golden cases: what a world of Kubernetes and SMI objects becomes, stage by stage. README.md says how to add one.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { parseAllDocuments } from 'yaml'
import { defaultSettings, type Settings } from '../../controller/resolve/settings.ts'
import type { Topology } from '../../controller/resolve/topology.ts'
import { type Translation, translate } from '../../controller/translate/translate.ts'
import { passOf, worldOf } from '../support/world.ts'

const folder = new URL('.', import.meta.url)
const suffix = '.world.yaml'
const names = readdirSync(folder)
  .filter((name) => name.endsWith(suffix))
  .map((name) => name.slice(0, -suffix.length))

/** Cases whose expected files are to be written anew: all by `1`, else by name, separated by commas. */
const asked = process.env['UPDATE_GOLDEN'] ?? ''
const isUpdated = (name: string) => asked === '1' || asked.split(',').includes(name)

const pathOf = (name: string, stage: string) => new URL(`${name}.${stage}.json`, folder)

function settingsOf(yaml: string): Settings {
  const first = parseAllDocuments(yaml)[0]?.toJS() as { settings?: Partial<Settings> } | null
  return { ...defaultSettings, ...first?.settings }
}

/** Only what JSON can hold: what goes over the wire and to the debug pages. */
function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}

/** A translation as it is kept: what agents get, what the cluster gets, and what is said about it. */
function snapshotOf({ common, nodes, services, problems, ...more }: Translation): unknown {
  return plain({
    common: common.map(({ resource }) => resource),
    nodes: Object.fromEntries([...nodes].map(([node, list]) => [node, list.map(({ resource }) => resource)])),
    services,
    ...more,
    problems: problems.map(({ object, severity, reason, message }) => {
      return `${severity} ${object.kind} ${object.namespace}/${object.name} ${reason}: ${message}`
    }),
  })
}

/** What is expected, or what is, if that is to be expected from now on. */
function expected<T>(name: string, stage: string, actual: T): T {
  const file = pathOf(name, stage)
  if (isUpdated(name)) writeFileSync(file, `${JSON.stringify(actual, null, 2)}\n`)
  return JSON.parse(readFileSync(file, 'utf8')) as T
}

describe('golden cases', () => {
  after(() => {
    if (asked === '') return
    const biome = fileURLToPath(new URL('../../node_modules/.bin/biome', folder))
    execFileSync(biome, ['format', '--write', fileURLToPath(folder)])
  })

  it('are at least forty, each with a topology and a snapshot, and a word on why it is there', () => {
    expect(names).to.have.length.of.at.least(40)
    if (asked !== '') return
    const files = readdirSync(folder).filter((name) => name.endsWith('.json'))
    const pairs = names.flatMap((name) => [`${name}.topology.json`, `${name}.snapshot.json`])
    expect(files).to.have.members(pairs)
    for (const name of names) expect(readFileSync(new URL(name + suffix, folder), 'utf8'), name).to.match(/^# \S/)
  })

  for (const name of names) {
    describe(name, () => {
      const yaml = readFileSync(new URL(name + suffix, folder), 'utf8')
      const settings = settingsOf(yaml)

      it('resolves to its topology', () => {
        const { topology } = passOf(worldOf(yaml), settings)
        expect(plain(topology), 'is plain data').to.deep.equal(topology)
        expect(topology).to.deep.equal(expected<Topology>(name, 'topology', topology))
      })

      it('translates to its snapshot', () => {
        const topology = JSON.parse(readFileSync(pathOf(name, 'topology'), 'utf8')) as Topology
        const snapshot = snapshotOf(translate(topology, settings))
        expect(snapshot).to.deep.equal(expected(name, 'snapshot', snapshot))
      })
    })
  }
})
