// Patches: the three kinds that merge or edit, and server-side apply with its owners of fields.

import { expect } from 'chai'
import { type Body, backends, withApi } from '../support/api.ts'

const merge = { 'content-type': 'application/merge-patch+json' }
const json = { 'content-type': 'application/json-patch+json' }
const strategic = { 'content-type': 'application/strategic-merge-patch+json' }
const apply = { 'content-type': 'application/apply-patch+yaml' }

for (const backend of backends) {
  describe(`API patches (${backend.name})`, () => {
    const api = withApi(backend)
    let root = ''

    beforeEach(async () => {
      root = `/api/v1/namespaces/${await api().namespace()}`
    })

    async function createMap(data: Record<string, string>): Promise<string> {
      const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm', labels: { a: 'b' } }, data }
      await api().request('POST', `${root}/configmaps`, object)
      return `${root}/configmaps/m`
    }

    async function createDeployment(): Promise<string> {
      const container = { name: 'c', image: 'i:1', env: [{ name: 'A', value: '1' }], ports: [{ containerPort: 80 }] }
      const template = { metadata: { labels: { app: 'a' } }, spec: { containers: [container] } }
      const deployment = {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'd', finalizers: ['weft.test/a'] },
        spec: { selector: { matchLabels: { app: 'a' } }, template },
      }
      const path = `${root.replace('/api/v1', '/apis/apps/v1')}/deployments`
      const { status, body } = await api().request('POST', path, deployment)
      expect(status, body.message).to.equal(201)
      return `${path}/d`
    }

    const containers = (deployment: Body): Body[] => deployment.spec.template.spec.containers

    describe('merge patch', () => {
      it('merges records and removes by null', async () => {
        const path = await createMap({ keep: '1', change: '2', remove: '3' })
        const { status, body } = await api().request(
          'PATCH',
          path,
          { data: { change: '4', remove: null, add: '5' } },
          merge,
        )
        expect(status).to.equal(200)
        expect(body.data).to.deep.equal({ keep: '1', change: '4', add: '5' })
      })

      it('replaces lists', async () => {
        const path = await createDeployment()
        const patch = { spec: { template: { spec: { containers: [{ name: 'x', image: 'y' }] } } } }
        const { body } = await api().request('PATCH', path, patch, merge)
        expect(containers(body).map(({ name }) => name)).to.deep.equal(['x'])
      })

      it('minds a version that it names', async () => {
        const path = await createMap({ a: '1' })
        const patch = { metadata: { resourceVersion: '1' }, data: { a: '2' } }
        expect((await api().request('PATCH', path, patch, merge)).status).to.equal(409)
      })
    })

    describe('JSON patch', () => {
      it('edits by path', async () => {
        const path = await createMap({ a: '1', 'b.c': '2', d: '3' })
        const patch = [
          { op: 'test', path: '/data/a', value: '1' },
          { op: 'replace', path: '/data/a', value: '9' },
          { op: 'remove', path: '/data/d' },
          { op: 'add', path: '/metadata/labels/x~1y', value: 'z' },
          { op: 'copy', from: '/data/a', path: '/data/e' },
          { op: 'move', from: '/data/b.c', path: '/data/f' },
        ]
        const { status, body } = await api().request('PATCH', path, patch, json)
        expect(status, body.message).to.equal(200)
        expect(body.data).to.deep.equal({ a: '9', e: '9', f: '2' })
        expect(body.metadata.labels).to.deep.equal({ a: 'b', 'x/y': 'z' })
      })

      it('edits lists by index', async () => {
        const path = await createDeployment()
        const patch = [
          { op: 'add', path: '/spec/template/spec/containers/0', value: { name: 'first', image: 'i' } },
          { op: 'add', path: '/spec/template/spec/containers/-', value: { name: 'last', image: 'i' } },
        ]
        const { body } = await api().request('PATCH', path, patch, json)
        expect(containers(body).map(({ name }) => name)).to.deep.equal(['first', 'c', 'last'])
      })

      it('does nothing at all when one step fails', async () => {
        const path = await createMap({ a: '1' })
        for (const step of [
          { op: 'test', path: '/data/a', value: '2' },
          { op: 'remove', path: '/data/none' },
        ]) {
          const { status } = await api().request(
            'PATCH',
            path,
            [{ op: 'add', path: '/data/b', value: '2' }, step],
            json,
          )
          expect(status).to.equal(422)
        }
        expect((await api().request('GET', path)).body.data).to.deep.equal({ a: '1' })
      })
    })

    describe('strategic merge patch', () => {
      it('merges lists by their keys', async () => {
        const path = await createDeployment()
        const change = {
          name: 'c',
          image: 'i:2',
          env: [{ name: 'B', value: '2' }],
          ports: [{ containerPort: 443, name: 'tls' }],
        }
        const patch = { spec: { template: { spec: { containers: [change, { name: 'side', image: 's' }] } } } }
        const { status, body } = await api().request('PATCH', path, patch, strategic)
        expect(status, body.message).to.equal(200)
        const main = containers(body).find(({ name }) => name === 'c')!
        expect(main.image).to.equal('i:2')
        expect(main.env.map(({ name }: Body) => name)).to.have.members(['A', 'B'])
        expect(main.ports.map(({ containerPort }: Body) => containerPort)).to.have.members([80, 443])
        expect(containers(body).map(({ name }) => name)).to.have.members(['c', 'side'])
      })

      it('obeys its directives', async () => {
        const path = await createDeployment()
        const container = { name: 'c', env: [{ name: 'A', $patch: 'delete' }], ports: [{ $patch: 'replace' }] }
        const patch = {
          metadata: { '$deleteFromPrimitiveList/finalizers': ['weft.test/a'], finalizers: ['weft.test/b'] },
          spec: {
            strategy: { $retainKeys: ['type'], type: 'Recreate' },
            template: { spec: { containers: [container] } },
          },
        }
        const { status, body } = await api().request('PATCH', path, patch, strategic)
        expect(status, body.message).to.equal(200)
        expect(containers(body)[0]).not.to.have.property('env')
        expect(containers(body)[0]).not.to.have.property('ports')
        expect(body.metadata.finalizers).to.deep.equal(['weft.test/b'])
        expect(body.spec.strategy).to.deep.equal({ type: 'Recreate' })
      })

      it('removes by null', async () => {
        const path = await createMap({ a: '1', b: '2' })
        const { body } = await api().request('PATCH', path, { data: { a: null } }, strategic)
        expect(body.data).to.deep.equal({ b: '2' })
      })
    })

    it('refuses other kinds of patches, and patches of nothing', async () => {
      const path = await createMap({})
      expect((await api().request('PATCH', path, {}, { 'content-type': 'application/json' })).status).to.equal(415)
      expect((await api().request('PATCH', `${root}/configmaps/none`, {}, merge)).status).to.equal(404)
    })

    describe('server-side apply', () => {
      const service = (ports: Body[], extra: Body = {}): Body => ({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 's', ...extra },
        spec: { selector: { app: 'a' }, ports },
      })
      const put = (manager: string, object: Body, query = '') =>
        api().request('PATCH', `${root}/services/s?fieldManager=${manager}${query}`, object, apply)

      it('creates, then changes, then removes what is no longer said', async () => {
        const first = await put('me', service([{ port: 80, name: 'http' }], { labels: { a: '1', b: '2' } }))
        expect(first.status, first.body.message).to.equal(201)
        const again = await put('me', service([{ port: 80, name: 'http' }], { labels: { a: '1', b: '2' } }))
        expect(again.status).to.equal(200)
        expect(again.body.metadata.resourceVersion).to.equal(first.body.metadata.resourceVersion)
        const ports = [
          { port: 80, name: 'web' },
          { port: 443, name: 'tls' },
        ]
        const { body } = await put('me', service(ports, { labels: { b: '3' } }))
        expect(body.metadata.labels).to.deep.equal({ b: '3' })
        expect(body.spec.ports.map(({ name, port }: Body) => `${name} ${port}`)).to.deep.equal(['web 80', 'tls 443'])
        const less = await put('me', service([{ port: 443, name: 'tls' }]))
        expect(less.body.spec.ports.map(({ port }: Body) => port)).to.deep.equal([443])
        expect(less.body.metadata.labels).to.equal(undefined)
        expect(less.body.spec.clusterIP).to.equal(first.body.spec.clusterIP)
      })

      it('wants to know who applies', async () => {
        const { status } = await api().request('PATCH', `${root}/services/s`, service([{ port: 80 }]), apply)
        expect(status).to.equal(422)
      })

      it('leaves alone what others own, and refuses to change it', async () => {
        await put('a', service([{ port: 80, name: 'http' }], { labels: { a: '1' } }))
        const other = { apiVersion: 'v1', kind: 'Service', metadata: { name: 's', labels: { b: '2' } } }
        const added = await put('b', other)
        expect(added.body.metadata.labels).to.deep.equal({ a: '1', b: '2' })
        const { status, body } = await put('b', { ...other, metadata: { name: 's', labels: { a: '9', b: '2' } } })
        expect(status).to.equal(409)
        expect(body.reason).to.equal('Conflict')
        expect(body.details.causes).to.deep.equal([
          { reason: 'FieldManagerConflict', message: 'conflict with "a"', field: '.metadata.labels.a' },
        ])
        expect(body.message).to.equal('Apply failed with 1 conflict: conflict with "a": .metadata.labels.a')
        const forced = await put('b', { ...other, metadata: { name: 's', labels: { a: '9', b: '2' } } }, '&force=true')
        expect(forced.body.metadata.labels).to.deep.equal({ a: '9', b: '2' })
        const lost = await put('a', service([{ port: 80, name: 'http' }]))
        expect(lost.body.metadata.labels, 'what b took stays').to.deep.equal({ a: '9', b: '2' })
      })

      it('shares a field on which both agree', async () => {
        await put('a', service([{ port: 80 }], { labels: { x: '1' } }))
        await put('b', service([{ port: 80 }], { labels: { x: '1' } }))
        const { body } = await put('a', service([{ port: 80 }]))
        expect(body.metadata.labels).to.deep.equal({ x: '1' })
        const last = await put('b', service([{ port: 80 }]))
        expect(last.body.metadata.labels).to.equal(undefined)
      })

      it('minds what an update changed', async () => {
        await put('a', service([{ port: 80 }], { labels: { x: '1' } }))
        const path = `${root}/services/s?fieldManager=hand`
        await api().request('PATCH', path, { metadata: { labels: { x: '2' } } }, merge)
        const { status, body } = await put('a', service([{ port: 80 }], { labels: { x: '1' } }))
        expect(status).to.equal(409)
        expect(body.details.causes[0].message).to.match(/^conflict with "hand" using v1/)
        expect(body.details.causes[0].field).to.equal('.metadata.labels.x')
      })

      it('records the owners', async () => {
        await put('a', service([{ port: 80, name: 'http' }], { labels: { x: '1' } }))
        await api().request(
          'PATCH',
          `${root}/services/s?fieldManager=hand`,
          { metadata: { annotations: { n: '1' } } },
          merge,
        )
        const { body } = await api().request('GET', `${root}/services/s`)
        const owners = body.metadata.managedFields.map(({ manager, operation, fieldsType, apiVersion }: Body) => ({
          manager,
          operation,
          fieldsType,
          apiVersion,
        }))
        expect(owners).to.have.deep.members([
          { manager: 'a', operation: 'Apply', fieldsType: 'FieldsV1', apiVersion: 'v1' },
          { manager: 'hand', operation: 'Update', fieldsType: 'FieldsV1', apiVersion: 'v1' },
        ])
        const applied = body.metadata.managedFields.find(({ operation }: Body) => operation === 'Apply')
        expect(applied.fieldsV1).to.deep.equal({
          'f:metadata': { 'f:labels': { 'f:x': {} } },
          'f:spec': {
            'f:ports': { 'k:{"port":80,"protocol":"TCP"}': { '.': {}, 'f:name': {}, 'f:port': {} } },
            'f:selector': {},
          },
        })
      })

      it('takes YAML', async () => {
        const yaml = 'apiVersion: v1\nkind: Service\nmetadata:\n  name: s\nspec:\n  ports:\n  - port: 80\n'
        const { status, body } = await put('me', yaml as Body)
        expect(status, body.message).to.equal(201)
        expect(body.spec.ports[0].port).to.equal(80)
      })
    })
  })
}
