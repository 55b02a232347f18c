// What follows a deletion: dependents of owners, contents of namespaces. On a real cluster the controller-manager does it,
// so that there is nothing to compare with on a bare API server.

import { expect } from 'chai'
import { type Body, backends, withApi } from '../support/api.ts'
import { until } from '../support/until.ts'

const merge = { 'content-type': 'application/merge-patch+json' }

for (const backend of backends.filter(({ name }) => name === 'local')) {
  describe(`API garbage collection (${backend.name})`, () => {
    const api = withApi(backend)
    let root = ''

    beforeEach(async () => {
      root = `/api/v1/namespaces/${await api().namespace()}`
    })

    async function create(name: string, ...owners: Body[]): Promise<Body> {
      const ownerReferences = owners.map(({ metadata }) => ({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        name: metadata.name,
        uid: metadata.uid,
        blockOwnerDeletion: true,
      }))
      const { status, body } = await api().request('POST', `${root}/configmaps`, {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name, ownerReferences },
      })
      expect(status, body.message).to.equal(201)
      return body
    }

    const read = (name: string) => api().request('GET', `${root}/configmaps/${name}`)
    const isGone = async (name: string) => (await read(name)).status === 404
    const remove = (name: string, options: Body = {}) => api().request('DELETE', `${root}/configmaps/${name}`, options)

    it('takes dependents along, and theirs', async () => {
      const owner = await create('owner')
      const middle = await create('middle', owner)
      await create('leaf', middle)
      const other = await create('other')
      await remove('owner')
      await until(() => isGone('leaf'))
      expect(await isGone('middle')).to.equal(true)
      expect((await read('other')).body).to.deep.equal(other)
    })

    it('keeps what has another owner', async () => {
      const [a, b] = [await create('a'), await create('b')]
      await create('shared', a, b)
      await remove('a')
      await until(async () => (await read('shared')).body.metadata.ownerReferences.length === 1)
      expect((await read('shared')).body.metadata.ownerReferences[0].name).to.equal('b')
      await remove('b')
      await until(() => isGone('shared'))
    })

    it('removes what is born without its owner', async () => {
      const owner = await create('owner')
      await remove('owner')
      await create('late', owner)
      await until(() => isGone('late'))
    })

    it('keeps what belongs to a kind that it does not know', async () => {
      const ownerReferences = [{ apiVersion: 'foreign.example/v1', kind: 'Thing', name: 't', uid: '1234' }]
      const metadata = { name: 'kept', ownerReferences }
      await api().request('POST', `${root}/configmaps`, { apiVersion: 'v1', kind: 'ConfigMap', metadata })
      const owner = await create('owner')
      await create('dependent', owner)
      await remove('owner')
      await until(() => isGone('dependent'))
      expect((await read('kept')).status).to.equal(200)
    })

    it('lets dependents go on their own when told to orphan them', async () => {
      await create('child', await create('owner'))
      await remove('owner', { propagationPolicy: 'Orphan' })
      await until(() => isGone('owner'))
      const { body } = await read('child')
      expect(body.metadata).not.to.have.property('ownerReferences')
    })

    it('keeps the owner until its dependents are gone when told to go first', async () => {
      await create('child', await create('owner'))
      await api().request('PATCH', `${root}/configmaps/child`, { metadata: { finalizers: ['weft.test/hold'] } }, merge)
      const { body } = await remove('owner', { propagationPolicy: 'Foreground' })
      expect(body.metadata.finalizers).to.deep.equal(['foregroundDeletion'])
      await until(async () => (await read('child')).body.metadata.deletionTimestamp !== undefined)
      expect((await read('owner')).status).to.equal(200)
      await api().request('PATCH', `${root}/configmaps/child`, { metadata: { finalizers: null } }, merge)
      await until(() => isGone('owner'))
    })

    it('empties a namespace before it goes, and lets nothing in meanwhile', async () => {
      const spec = { nodeName: 'node1', containers: [{ name: 'c', image: 'i' }] }
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec }
      await api().request('POST', `${root}/pods`, pod)
      await create('one')
      const { body } = await api().request('DELETE', root)
      expect(body.status.phase).to.equal('Terminating')
      await until(() => isGone('one'))
      const late = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'late' } }
      const refused = await api().request('POST', `${root}/configmaps`, late)
      expect(refused.status).to.equal(403)
      expect(refused.body.details.causes[0].reason).to.equal('NamespaceTerminating')
      expect((await api().request('GET', root)).status, 'waits for the pod').to.equal(200)
      const options = { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0 }
      await api().request('DELETE', `${root}/pods/p`, options)
      await until(async () => (await api().request('GET', root)).status === 404)
    })

    it('furnishes every namespace', async () => {
      expect((await api().request('GET', `${root}/serviceaccounts/default`)).status).to.equal(200)
      const { body } = await api().request('GET', `${root}/configmaps/kube-root-ca.crt`)
      expect(body.data['ca.crt']).to.match(/^-----BEGIN CERTIFICATE-----/)
      const { body: service } = await api().request('GET', '/api/v1/namespaces/default/services/kubernetes')
      expect(service.spec.clusterIP).to.equal('127.96.0.1')
    })
  })
}
