// What a pod finds at its mounts in local mode, and that it follows changes.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import type { KubeObject, Pod } from '../../../scripts/local/objects.ts'
import { mountVolumes, type Volumes } from '../../../scripts/local/volumes.ts'
import { type LocalApi, startLocalApi } from '../../support/localapi.ts'
import { until } from '../../support/until.ts'

interface Data extends KubeObject {
  data?: Record<string, string>
}

describe('local volumes', () => {
  let api: LocalApi
  let folder: string
  let volumes: Volumes | undefined

  beforeEach(async () => {
    api = await startLocalApi({ serviceCidr: '127.98.0.0/16' })
    folder = mkdtempSync(join(tmpdir(), 'weft-volumes-'))
  })
  afterEach(async () => {
    volumes?.close()
    volumes = undefined
    await api.close()
    rmSync(folder, { recursive: true })
  })

  function mount(volume: object): string {
    const pod = {
      metadata: { name: 'p', namespace: 'default', uid: 'u' },
      spec: { containers: [], automountServiceAccountToken: false, volumes: [{ name: 'v', ...volume }] },
    } as unknown as Pod
    volumes = mountVolumes(api.cluster, pod, folder)
    return volumes.folders.get('v')!
  }

  const create = (data: Record<string, string>) =>
    api.cluster.create('configmaps', {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'c', namespace: 'default' },
      data,
    })
  const change = (data: Record<string, string>) =>
    api.cluster.update('configmaps', { ...api.cluster.get<Data>('configmaps', 'default', 'c')!, data })
  const visible = (path: string) => readdirSync(path).filter((name) => !name.startsWith('..'))

  it('follow a ConfigMap: all its files change at once, and none is left behind', async () => {
    create({ a: '1', b: '1' })
    const path = mount({ configMap: { name: 'c' } })
    const read = (name: string) => readFileSync(join(path, name), 'utf8')
    expect([read('a'), read('b')]).to.deep.equal(['1', '1'])
    change({ a: '2', c: '2' })
    await until(() => read('a') === '2')
    expect(visible(path).sort()).to.deep.equal(['a', 'c'])
    expect(read('c')).to.equal('2')
    expect(readdirSync(path).filter((name) => name.startsWith('..'))).to.have.length(2)
    api.cluster.remove('configmaps', { name: 'c', namespace: 'default' })
    create({ a: '3' })
    await until(() => read('a') === '3')
    expect(visible(path)).to.deep.equal(['a'])
  })

  it('wait for an optional ConfigMap, and refuse to do without another', async () => {
    expect(() => mount({ configMap: { name: 'c' } })).to.throw('volume v: no configmap c')
    const path = mount({ configMap: { name: 'c', optional: true } })
    expect(visible(path)).to.deep.equal([])
    create({ late: 'yes' })
    await until(() => visible(path).includes('late'))
    expect(readFileSync(join(path, 'late'), 'utf8')).to.equal('yes')
  })

  it('stay as they are when the pod has ended', async () => {
    create({ a: '1' })
    const path = mount({ projected: { sources: [{ configMap: { name: 'c' } }] } })
    volumes!.close()
    change({ a: '2' })
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    expect(readFileSync(join(path, 'a'), 'utf8')).to.equal('1')
  })
})
