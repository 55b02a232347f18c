// The chart's values, as far as they can be judged without Helm: schema, defaults and manual agree.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { parse } from 'yaml'
import { root } from '../../../scripts/local/environment.ts'
import { readManifests } from '../../../scripts/local/manifests.ts'

interface Schema {
  properties?: Record<string, Schema>
  additionalProperties?: boolean | Schema
}

const read = (path: string) => readFileSync(join(root, path), 'utf8')
const values = parse(read('manifests/chart/values.yaml')) as Record<string, unknown>
const schema = JSON.parse(read('manifests/chart/values.schema.json')) as Schema
const manual = read('manifests/README.md')

describe("the chart's values", () => {
  it('have a default for all that the schema knows, and the schema knows them all', () => {
    const compare = (own: Record<string, unknown>, { properties, additionalProperties }: Schema, path: string) => {
      if (properties === undefined) return
      expect(additionalProperties, `${path} takes unknown names`).to.equal(false)
      // Helm's own, for charts of charts.
      expect(
        Object.keys(properties).filter((name) => name !== 'global'),
        path,
      ).to.have.members(Object.keys(own))
      for (const [name, value] of Object.entries(own)) {
        compare(value as Record<string, unknown>, properties[name]!, `${path}.${name}`)
      }
    }
    compare(values, schema, 'values')
  })

  it('are in the manual, each of them', () => {
    const rows = manual.split('\n').filter((line) => line.startsWith('| `'))
    for (const [part, own] of Object.entries(values)) {
      const names = typeof own === 'object' ? Object.keys(own as object) : []
      for (const name of names) {
        const isNamed = rows.some((row) => row.includes(`\`${part}.`) && row.includes(`.${name}`))
        const isShared = rows.some((row) => row.startsWith('| `…') && new RegExp(`[…\`.]${name}\``).test(row))
        expect(isNamed || isShared, `${part}.${name}`).to.equal(true)
      }
    }
  })

  it('make objects that are all in the manual', () => {
    for (const { kind, metadata } of readManifests(join(root, 'manifests/base'))) {
      if (kind !== 'CustomResourceDefinition')
        expect(manual, `${kind} ${metadata.name}`).to.include(`\`${metadata.name}\``)
    }
  })
})
