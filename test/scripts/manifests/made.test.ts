// What is made from manifests/base: that it is up to date, and says when it is not.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { parse } from 'yaml'
import { root } from '../../../scripts/local/environment.ts'
import { parseManifests, readManifests } from '../../../scripts/local/manifests.ts'
import { made, outdated, type Read } from '../../../scripts/manifests/made.ts'

const read: Read = (path) => readFileSync(join(root, path), 'utf8')

describe('made manifests', () => {
  it('are up to date', () => {
    expect([...outdated(read).keys()], 'run: npm run manifests').to.deep.equal([])
  })

  it('are found out of date when a source changes, or when they are not there', () => {
    const changed: Read = (path) => (path === 'manifests/base/agent.yaml' ? `${read(path)}# more\n` : read(path))
    expect([...outdated(changed).keys()]).to.deep.equal(['manifests/weft.yaml'])
    const kinds: Read = (path) => (path === 'manifests/crds/udproutes.yaml' ? `${read(path)}# more\n` : read(path))
    expect([...outdated(kinds).keys()]).to.have.members(['manifests/weft.yaml', 'manifests/chart/crds/udproutes.yaml'])
    const without: Read = (path) => {
      if (path === 'manifests/weft.yaml') throw new Error('no such file')
      return read(path)
    }
    expect([...outdated(without).keys()]).to.deep.equal(['manifests/weft.yaml'])
  })

  it('put the same objects into one file', () => {
    const whole = parseManifests(made(read).get('manifests/weft.yaml')!)
    expect(whole).to.deep.equal(readManifests(join(root, 'manifests/base')))
  })

  it('carry the version of the package, as the chart does', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string }
    expect(parse(read('manifests/chart/Chart.yaml'))).to.include({ version, appVersion: version })
    for (const { kind, metadata } of readManifests(join(root, 'manifests/base'))) {
      const labels = metadata['labels'] as Record<string, string>
      expect(labels['app.kubernetes.io/version'], `${kind} ${metadata.name}`).to.equal(version)
    }
  })
})
