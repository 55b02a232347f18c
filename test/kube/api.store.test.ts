// The local API from inside its process: what the stand-ins for controllers and kubelets use. And what @kubernetes/client-node
// makes of it.

import { Readable } from 'node:stream'
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node'
import { expect } from 'chai'
import { ApiError } from '../../scripts/local/api/errors.ts'
import { type Api, startApi } from '../../scripts/local/api/server.ts'
import { editable, type NewObject } from '../../scripts/local/api/store.ts'
import { until } from '../support/until.ts'

describe('local API store', () => {
  let api: Api

  before(async () => {
    api = await startApi({ serviceCidr: '127.97.0.0/28' })
  })
  after(() => api.close())

  const configMap = (name: string, data: Record<string, string> = {}): NewObject => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'default', labels: { test: 'store' } },
    data,
  })

  function refusal(attempt: () => unknown): number {
    try {
      attempt()
    } catch (error) {
      if (error instanceof ApiError) return error.status.code
      throw error
    }
    throw new Error('it was not refused')
  }

  it('reads and writes by the same rules', () => {
    const created = api.store.create(configMap('a', { x: '1' }))
    expect(api.store.get('ConfigMap', 'a', 'default')).to.deep.equal(created)
    const copy = editable(created) as typeof created & { data: Record<string, string> }
    copy.data['x'] = '2'
    api.store.update(copy)
    expect(refusal(() => api.store.update({ ...copy, data: { x: '3' } }))).to.equal(409)
    api.store.patch('ConfigMap', 'a', 'default', { data: { y: '1' } })
    expect(api.store.get('ConfigMap', 'a', 'default')).to.deep.include({ data: { x: '2', y: '1' } })
    expect(refusal(() => api.store.create(configMap('a')))).to.equal(409)
    expect(api.store.delete('ConfigMap', 'a', 'default')).to.equal(true)
    expect(api.store.delete('ConfigMap', 'a', 'default')).to.equal(false)
    expect(api.store.get('ConfigMap', 'a', 'default')).to.equal(undefined)
  })

  it('hands out objects that can not be changed by accident', () => {
    const created = api.store.create(configMap('frozen', { x: '1' })) as unknown as { data: Record<string, string> }
    expect(() => {
      created.data['x'] = '2'
    }).to.throw(TypeError)
  })

  it('tells watchers of all there is and all that comes, outside of the write', async () => {
    api.store.create(configMap('seen'))
    const events: string[] = []
    const stop = api.store.watch('ConfigMap', { namespace: 'default', labels: 'test=store' }, ({ type, object }) =>
      events.push(`${type} ${object.metadata.name}`),
    )
    expect(events).to.deep.equal([])
    api.store.create(configMap('new'))
    api.store.delete('ConfigMap', 'new', 'default')
    expect(events).to.deep.equal([])
    await until(() => events.includes('DELETED new'))
    expect(events.slice(-2)).to.deep.equal(['ADDED new', 'DELETED new'])
    expect(events).to.include('ADDED seen')
    stop()
    api.store.create(configMap('unseen'))
    await new Promise(setImmediate)
    expect(events).not.to.include('ADDED unseen')
  })

  it('says so when no address is left', () => {
    const service = (name: string): NewObject => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'default' },
      spec: { ports: [{ port: 80 }] },
    })
    let made = 0
    const code = refusal(() => {
      for (; made < 20; made += 1) api.store.create(service(`s${made}`))
    })
    expect(code).to.equal(500)
    // Of the 14 addresses of the network, one is the API's own.
    expect(made).to.equal(13)
  })

  it('serves logs from whoever has them', async () => {
    const config = new KubeConfig()
    config.loadFromString(api.kubeconfig())
    const core = config.makeApiClient(CoreV1Api)
    const spec = { nodeName: 'n', containers: [{ name: 'c', image: 'i' }] }
    await core.createNamespacedPod({ namespace: 'default', body: { metadata: { name: 'p' }, spec } })
    api.provideLogs(({ pod, container, tailLines }) =>
      Readable.from([`${pod.metadata.name} ${container} ${tailLines}\n`]),
    )
    const text = await core.readNamespacedPodLog({ name: 'p', namespace: 'default', container: 'c', tailLines: 3 })
    expect(text).to.equal('p c 3\n')
  })

  it('speaks with client-node', async () => {
    const config = new KubeConfig()
    config.loadFromString(api.kubeconfig())
    const core = config.makeApiClient(CoreV1Api)
    const made = await core.createNamespacedConfigMap({
      namespace: 'default',
      body: { metadata: { name: 'from-client' }, data: { a: 'b' } },
    })
    expect(made.metadata?.creationTimestamp).to.be.instanceOf(Date)
    const list = await core.listNamespacedConfigMap({
      namespace: 'default',
      fieldSelector: 'metadata.name=from-client',
    })
    expect(list.items).to.have.length(1)
    const problem = await core.readNamespacedConfigMap({ namespace: 'default', name: 'none' }).catch((error) => error)
    expect(problem.code).to.equal(404)
  })

  it('issues tokens that its own server takes', async () => {
    const { token } = api.issueToken('default', 'default', {})
    const config = new KubeConfig()
    config.loadFromString(api.kubeconfig(token))
    const { items } = await config.makeApiClient(CoreV1Api).listNamespace()
    expect(items.map(({ metadata }) => metadata?.name)).to.include('default')
  })
})
