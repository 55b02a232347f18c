// Our definitions of the SMI kinds as files: every version is served, says the same, explains each field, and comes with
// the installation.

import { readdirSync, readFileSync } from 'node:fs'
import { expect } from 'chai'
import { parse } from 'yaml'

const folder = new URL('../../manifests/crds/', import.meta.url)
const read = (path: string) => parse(readFileSync(new URL(path, folder), 'utf8'))
const files = readdirSync(folder).filter((name) => name.endsWith('s.yaml'))

interface Schema {
  description?: string
  properties?: Record<string, Schema>
  items?: Schema
  'x-kubernetes-validations'?: { rule: string; message: string }[]
}

interface Version {
  name: string
  served: boolean
  storage: boolean
  subresources: object
  additionalPrinterColumns: { name: string; description?: string }[]
  schema: { openAPIV3Schema: Schema }
}

/** Paths of fields that `kubectl explain` would have nothing to say about. */
function silent(schema: Schema, path = ''): string[] {
  const own = schema.description === undefined && path !== '' && !path.endsWith('[]') ? [path] : []
  const fields = Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => silent(inner, `${path}.${name}`))
  return [...own, ...fields, ...(schema.items === undefined ? [] : silent(schema.items, `${path}[]`))]
}

/** The schema without the rules, which differ in what clients of a version may leave out. */
function withoutRules(schema: Schema): unknown {
  return JSON.parse(JSON.stringify(schema, (key, value) => (key === 'x-kubernetes-validations' ? undefined : value)))
}

const wanted: Record<string, { versions: string[]; short: string }> = {
  'trafficsplits.yaml': { versions: ['v1alpha4', 'v1alpha3', 'v1alpha2', 'v1alpha1'], short: 'ts' },
  'traffictargets.yaml': { versions: ['v1alpha4', 'v1alpha3', 'v1alpha2', 'v1alpha1'], short: 'tt' },
  'httproutegroups.yaml': { versions: ['v1alpha4', 'v1alpha3', 'v1alpha2', 'v1alpha1'], short: 'htr' },
  'tcproutes.yaml': { versions: ['v1alpha4', 'v1alpha3', 'v1alpha2', 'v1alpha1'], short: 'tr' },
  'udproutes.yaml': { versions: ['v1alpha4'], short: 'ur' },
}

describe('files of the SMI definitions', () => {
  it('are installed with the mesh', () => {
    expect(files).to.have.members(Object.keys(wanted))
    expect(read('kustomization.yaml').resources).to.have.members(files)
    expect(read('../base/kustomization.yaml').resources).to.include('../crds')
  })

  for (const [file, { versions, short }] of Object.entries(wanted)) {
    describe(file, () => {
      const { spec } = read(file)
      const all: Version[] = spec.versions

      it('serves every version, without conversion, with a status of its own', () => {
        expect(all.map(({ name }) => name)).to.deep.equal(versions)
        expect(all.every(({ served, subresources }) => served && 'status' in subresources)).to.equal(true)
        expect(all.filter(({ storage }) => storage)).to.have.length(1)
        expect(spec.conversion).to.deep.equal({ strategy: 'None' })
        expect(spec.names.shortNames).to.deep.equal([short])
      })

      it('takes the same fields in every version, so that none is lost between two', () => {
        const [first, ...others] = all.map(({ schema }) => withoutRules(schema.openAPIV3Schema))
        for (const other of others) expect(other).to.deep.equal(first)
      })

      it('explains every field and column', () => {
        for (const { schema, additionalPrinterColumns } of all) {
          expect(schema.openAPIV3Schema.description).to.match(/^[A-Z]\w+ \w+/)
          expect(silent(schema.openAPIV3Schema)).to.deep.equal([])
          expect(additionalPrinterColumns.filter(({ description = '' }) => description === '')).to.deep.equal([])
        }
      })

      it('shows whether it is in force', () => {
        for (const { additionalPrinterColumns } of all) {
          expect(additionalPrinterColumns.map(({ name }) => name)).to.include.members(['Accepted', 'Enforced', 'Age'])
        }
      })
    })
  }
})
