// Golden cases: what a world of Kubernetes and SMI objects becomes for agents and cluster. A case is two files:
// `<case>.world.yaml`, manifests as one would apply them, optionally behind a document `settings: {…}`, and
// `<case>.snapshot.json`. UPDATE_GOLDEN=1 writes the latter anew; read the difference before you commit it.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { parseAllDocuments } from 'yaml'
import type { Settings } from '../../controller/resolve/settings.ts'
import { passOf, worldOf } from '../support/world.ts'

const folder = new URL('.', import.meta.url)
const suffix = '.world.yaml'

function settingsOf(yaml: string): Partial<Settings> {
  const first = parseAllDocuments(yaml)[0]?.toJS() as { settings?: Partial<Settings> } | null
  return first?.settings ?? {}
}

/** The pass as it is kept: what agents get, what the cluster gets, and what is said about it. */
function snapshotOf(yaml: string): unknown {
  const { translation } = passOf(worldOf(yaml), settingsOf(yaml))
  return {
    common: translation.common.map(({ resource }) => resource),
    nodes: Object.fromEntries(
      [...translation.nodes].map(([node, list]) => [node, list.map(({ resource }) => resource)]),
    ),
    services: translation.services,
    problems: translation.problems.map(({ object, severity, reason, message }) => {
      return `${severity} ${object.kind} ${object.namespace}/${object.name} ${reason}: ${message}`
    }),
  }
}

describe('golden cases', () => {
  after(() => {
    if (!process.env['UPDATE_GOLDEN']) return
    const biome = fileURLToPath(new URL('../../node_modules/.bin/biome', folder))
    execFileSync(biome, ['format', '--write', fileURLToPath(folder)])
  })

  const names = readdirSync(folder)
    .filter((name) => name.endsWith(suffix))
    .map((name) => name.slice(0, -suffix.length))

  it('has a snapshot for each world, and no other', () => {
    const snapshots = readdirSync(folder).filter((name) => name.endsWith('.snapshot.json'))
    if (!process.env['UPDATE_GOLDEN']) expect(snapshots).to.have.members(names.map((name) => `${name}.snapshot.json`))
  })

  for (const name of names) {
    it(name, () => {
      const actual = snapshotOf(readFileSync(new URL(name + suffix, folder), 'utf8'))
      const file = new URL(`${name}.snapshot.json`, folder)
      if (process.env['UPDATE_GOLDEN']) writeFileSync(file, `${JSON.stringify(actual, null, 2)}\n`)
      expect(actual).to.deep.equal(JSON.parse(readFileSync(file, 'utf8')))
    })
  }
})
