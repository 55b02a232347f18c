// Watches, as a reflector uses them: from a version on, through selectors, with bookmarks, and 410 when history is gone.

import { expect } from 'chai'
import { type Body, backends, withApi } from '../support/api.ts'

const gizmos: Body = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'gizmos.weft.test' },
  spec: {
    group: 'weft.test',
    scope: 'Namespaced',
    names: { plural: 'gizmos', kind: 'Gizmo' },
    versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
  },
}

const merge = { 'content-type': 'application/merge-patch+json' }

for (const backend of backends) {
  describe(`API watch (${backend.name})`, () => {
    const api = withApi(backend)
    let path = ''

    beforeEach(async () => {
      path = `/api/v1/namespaces/${await api().namespace()}/configmaps`
    })

    async function create(name: string, labels: Record<string, string> = {}): Promise<Body> {
      const { body } = await api().request('POST', path, {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name, labels: { test: 'yes', ...labels } },
      })
      return body
    }

    const brief = ({ type, object }: { type: string; object: Body }) => `${type} ${object.metadata.name}`

    it('tells what happened after a version, in order', async () => {
      await create('before')
      const { body: list } = await api().request('GET', path)
      const created = await create('one')
      await api().request('PATCH', `${path}/one`, { data: { a: 'b' } }, merge)
      const stream = await api().watch(`${path}?watch=true&resourceVersion=${list.metadata.resourceVersion}`)
      const first = await stream.next()
      expect(first).to.deep.equal({ type: 'ADDED', object: created })
      const second = await stream.next()
      expect(brief(second)).to.equal('MODIFIED one')
      expect(second.object.data).to.deep.equal({ a: 'b' })
      await api().request('DELETE', `${path}/one`)
      const third = await stream.next()
      expect(brief(third)).to.equal('DELETED one')
      expect(Number(third.object.metadata.resourceVersion)).to.be.greaterThan(
        Number(second.object.metadata.resourceVersion),
      )
      stream.close()
    })

    it('begins with all there is when any version will do', async () => {
      await create('one', { mine: 'yes' })
      const stream = await api().watch(`${path}?watch=1&labelSelector=mine&resourceVersion=0`)
      expect(brief(await stream.next())).to.equal('ADDED one')
      await create('two', { mine: 'yes' })
      expect(brief(await stream.next())).to.equal('ADDED two')
      stream.close()
    })

    it('adds and removes what begins or ceases to match the selector', async () => {
      const { body: list } = await api().request('GET', path)
      const query = `watch=true&resourceVersion=${list.metadata.resourceVersion}&labelSelector=colour%3Dblue`
      const stream = await api().watch(`${path}?${query}`)
      await create('one', { colour: 'red' })
      const blue = { metadata: { labels: { colour: 'blue' } } }
      await api().request('PATCH', `${path}/one`, blue, merge)
      expect(brief(await stream.next())).to.equal('ADDED one')
      await api().request('PATCH', `${path}/one`, { metadata: { labels: { colour: 'green' } } }, merge)
      const gone = await stream.next()
      expect(brief(gone)).to.equal('DELETED one')
      const { body: current } = await api().request('GET', `${path}/one`)
      expect(gone.object.metadata.resourceVersion).to.equal(current.metadata.resourceVersion)
      expect(gone.object.metadata.labels.colour).to.equal('blue')
      stream.close()
    })

    it('follows one object by a field selector', async () => {
      const { body: list } = await api().request('GET', path)
      const version = list.metadata.resourceVersion
      const stream = await api().watch(
        `${path}?watch=true&resourceVersion=${version}&fieldSelector=metadata.name%3Dtwo`,
      )
      await create('one')
      await create('two')
      expect(brief(await stream.next())).to.equal('ADDED two')
      stream.close()
    })

    it('says where it stands before its time is up, and ends', async function () {
      this.timeout(15_000)
      const { body: list } = await api().request('GET', path)
      const version = list.metadata.resourceVersion
      const query = `watch=true&resourceVersion=${version}&allowWatchBookmarks=true&timeoutSeconds=4`
      const stream = await api().watch(`${path}?${query}`)
      await create('one')
      const events = await stream.rest()
      expect(events.map(({ type }) => type)).to.include.members(['ADDED', 'BOOKMARK'])
      const bookmark = events.find(({ type }) => type === 'BOOKMARK')!
      expect(bookmark.object).to.include({ kind: 'ConfigMap', apiVersion: 'v1' })
      expect(Number(bookmark.object.metadata.resourceVersion)).to.be.at.least(Number(version))
      const resumed = await api().watch(
        `${path}?watch=true&resourceVersion=${bookmark.object.metadata.resourceVersion}&timeoutSeconds=1`,
      )
      expect(await resumed.rest()).to.deep.equal([])
    })

    it('tells a client that is too far behind to list again', async () => {
      // A real API server knows the history of a kind from when it began to serve it.
      await api().define(gizmos)
      api().compact?.()
      const stream = await api().watch('/apis/weft.test/v1/gizmos?watch=true&resourceVersion=1')
      const { type, object } = await stream.next()
      expect(type).to.equal('ERROR')
      expect(object).to.include({ kind: 'Status', status: 'Failure', reason: 'Expired', code: 410 })
      expect(object.message).to.match(/^too old resource version: \d+ \(\d+\)$/)
      expect(await stream.rest()).to.deep.equal([])
    })

    it('refuses a version that is none', async () => {
      const { status } = await api().request('GET', `${path}?watch=true&resourceVersion=soon`)
      expect(status).to.be.at.least(400)
    })

    it('streams the list itself to clients that ask for initial events', async function () {
      await create('one', { mine: 'yes' })
      const options = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true'
      const stream = await api().watch(`${path}?watch=true&${options}&labelSelector=mine`)
      const first = await stream.next()
      // Needs an etcd of version 3.4.31 or 3.5.13 at least.
      if (first.object.message?.includes('RequestWatchProgress')) this.skip()
      expect(brief(first)).to.equal('ADDED one')
      const { type, object } = await stream.next()
      expect(type).to.equal('BOOKMARK')
      expect(object.metadata.annotations).to.deep.equal({ 'k8s.io/initial-events-end': 'true' })
      stream.close()
    })

    it('sends rows to clients that print', async () => {
      const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io'
      const { body: list } = await api().request('GET', path)
      const query = `watch=true&labelSelector=mine&resourceVersion=${list.metadata.resourceVersion}`
      const stream = await api().watch(`${path}?${query}`, { accept })
      await create('one', { mine: 'yes' })
      const first = await stream.next()
      expect(first.object.kind).to.equal('Table')
      expect(first.object.columnDefinitions.map(({ name }: Body) => name)).to.deep.equal(['Name', 'Data', 'Age'])
      expect(first.object.rows[0].cells.slice(0, 2)).to.deep.equal(['one', 0])
      await api().request('PATCH', `${path}/one`, { data: { a: 'b' } }, merge)
      const second = await stream.next()
      expect(second.type).to.equal('MODIFIED')
      expect(second.object.rows[0].cells.slice(0, 2)).to.deep.equal(['one', 1])
      stream.close()
    })
  })
}
