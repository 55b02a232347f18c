// The image's bill of materials: every package of a production install, with what it needs, and nothing of development.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { billOf, type Lock } from '../../../scripts/image/sbom.ts'
import { root } from '../../../scripts/local/environment.ts'

const empty = Buffer.alloc(64).toString('base64')
const lock: Lock = {
  name: 'product',
  version: '1.2.3',
  packages: {
    '': { version: '1.2.3', license: 'Apache-2.0', dependencies: { a: '1', '@s/b': '2' } },
    'node_modules/a': { version: '1.0.0', license: 'MIT', integrity: `sha512-${empty}`, dependencies: { c: '1' } },
    'node_modules/a/node_modules/c': { version: '1.0.0', license: '(MIT OR ISC)' },
    'node_modules/@s/b': { version: '2.0.0', dependencies: { c: '2' }, optionalDependencies: { gone: '1' } },
    'node_modules/c': { version: '2.0.0' },
    'node_modules/d': { version: '1.0.0', dependencies: { c: '2' } },
    'node_modules/d/node_modules/a': { version: '1.0.0', license: 'MIT', integrity: `sha512-${empty}` },
    'node_modules/test': { version: '9.0.0', dev: true },
  },
}
const bill = (files: Parameters<typeof billOf>[1] = []) => JSON.parse(billOf(lock, files))

describe('bill of materials', () => {
  it('names each package once, by name, version, hash and licence', () => {
    const { components, metadata } = bill()
    expect(components.map(({ purl }: { purl: string }) => purl)).to.deep.equal([
      'pkg:npm/%40s/b@2.0.0',
      'pkg:npm/a@1.0.0',
      'pkg:npm/c@1.0.0',
      'pkg:npm/c@2.0.0',
      'pkg:npm/d@1.0.0',
    ])
    expect(components[0]).to.include({ group: '@s', name: 'b', version: '2.0.0', type: 'library' })
    expect(components[1].hashes).to.deep.equal([{ alg: 'SHA-512', content: '00'.repeat(64) }])
    expect(components[1].licenses).to.deep.equal([{ license: { id: 'MIT' } }])
    expect(components[2].licenses).to.deep.equal([{ expression: '(MIT OR ISC)' }])
    expect(metadata.component).to.include({ name: 'product', version: '1.2.3', type: 'application' })
  })

  it("finds what each package needs by Node's own rule", () => {
    const needs = new Map(
      bill().dependencies.map(({ ref, dependsOn }: { ref: string; dependsOn: string[] }) => [ref, dependsOn]),
    )
    expect(needs.get('pkg:npm/product@1.2.3')).to.deep.equal(['pkg:npm/%40s/b@2.0.0', 'pkg:npm/a@1.0.0'])
    expect(needs.get('pkg:npm/a@1.0.0')).to.deep.equal(['pkg:npm/c@1.0.0'])
    expect(needs.get('pkg:npm/%40s/b@2.0.0')).to.deep.equal(['pkg:npm/c@2.0.0'])
    expect(needs.get('pkg:npm/c@2.0.0')).to.deep.equal([])
  })

  it('has Node and its libraries, which no lock file knows', () => {
    const { components, dependencies } = bill([
      { path: '/usr/bin/node', sha256: 'ab', version: '26.1.0' },
      { path: '/lib/libc.so.6', sha256: 'cd' },
    ])
    const node = components.find(({ name }: { name: string }) => name === 'node')
    expect(node).to.include({ type: 'application', purl: 'pkg:generic/node@26.1.0' })
    expect(node.hashes).to.deep.equal([{ alg: 'SHA-256', content: 'ab' }])
    const library = components.find(({ type }: { type: string }) => type === 'file')
    expect(library).to.deep.include({ name: '/lib/libc.so.6', hashes: [{ alg: 'SHA-256', content: 'cd' }] })
    const own = dependencies.find(({ ref }: { ref: string }) => ref === 'pkg:npm/product@1.2.3')
    expect(own.dependsOn).to.include('pkg:generic/node@26.1.0')
  })

  it('is the same text for the same lock file, and another one for another', () => {
    expect(billOf(lock, [])).to.equal(billOf(structuredClone(lock), []))
    const other = structuredClone(lock)
    other.packages['node_modules/c']!.version = '2.0.1'
    expect(JSON.parse(billOf(other, [])).serialNumber).to.not.equal(bill().serialNumber)
    expect(bill().serialNumber).to.match(
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    )
  })

  it('of this product has all that it is installed with, and no address of a registry', () => {
    const own = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock
    const text = billOf(own, [])
    const { components } = JSON.parse(text) as {
      components: { 'bom-ref': string; licenses?: object; hashes: object[] }[]
    }
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
      'dependencies' | 'devDependencies',
      Record<string, string>
    >
    const refs = components.map((each) => each['bom-ref'])
    const refOf = ([name, version]: [string, string]) => `pkg:npm/${name.replace('@', '%40')}@${version}`
    expect(refs).to.include.members(Object.entries(dependencies).map(refOf))
    // Some are needed by packages that are installed, too.
    const only = Object.entries(devDependencies).filter(([name]) => own.packages[`node_modules/${name}`]!.dev)
    expect(only).to.not.deep.equal([])
    expect(refs).to.not.include.members(only.map(refOf))
    for (const each of components) expect(each, each['bom-ref']).to.have.property('licenses')
    for (const { hashes } of components) expect(hashes).to.have.length(1)
    expect(text).to.not.match(/https?:/)
  })
})
