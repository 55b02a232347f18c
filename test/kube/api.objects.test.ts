// Objects of the API: what the system sets, what it refuses, and how writes that cross are kept apart.

import { expect } from 'chai'
import { type Body, backends, withApi } from '../support/api.ts'

const configMap = (name: string, data: Record<string, string> = { a: '1' }): Body => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  data,
})

for (const backend of backends) {
  describe(`API objects (${backend.name})`, () => {
    const api = withApi(backend)
    let root = ''

    beforeEach(async () => {
      root = `/api/v1/namespaces/${await api().namespace()}`
    })

    const create = (kind: string, object: Body) => api().request('POST', `${root}/${kind}`, object)

    it('gives an object its identity and shows it', async () => {
      const created = await create('configmaps', configMap('one'))
      expect(created.status).to.equal(201)
      const { metadata } = created.body
      expect(metadata.uid).to.match(/^[0-9a-f-]{36}$/)
      expect(metadata.creationTimestamp).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
      expect(metadata.resourceVersion).to.match(/^\d+$/)
      const read = await api().request('GET', `${root}/configmaps/one`)
      expect(read.status).to.equal(200)
      expect(read.body).to.deep.equal(created.body)
    })

    it('makes a name from generateName', async () => {
      const { body } = await create('configmaps', { ...configMap(''), metadata: { generateName: 'some-' } })
      expect(body.metadata.name).to.match(/^some-[a-z0-9]{5}$/)
      expect(body.metadata.generateName).to.equal('some-')
    })

    it('refuses a second object of the same name', async () => {
      await create('configmaps', configMap('one'))
      const { status, body } = await create('configmaps', configMap('one'))
      expect(status).to.equal(409)
      expect(body).to.include({ kind: 'Status', status: 'Failure', reason: 'AlreadyExists', code: 409 })
      expect(body.message).to.equal('configmaps "one" already exists')
      expect(body.details).to.deep.equal({ name: 'one', kind: 'configmaps' })
    })

    it('says what is missing', async () => {
      const object = await api().request('GET', `${root}/configmaps/none`)
      expect(object.status).to.equal(404)
      expect(object.body.message).to.equal('configmaps "none" not found')
      expect(object.body.details).to.deep.equal({ name: 'none', kind: 'configmaps' })
      const namespace = await api().request('POST', '/api/v1/namespaces/nowhere/configmaps', configMap('one'))
      expect(namespace.status).to.equal(404)
      expect(namespace.body.message).to.equal('namespaces "nowhere" not found')
      const kind = await api().request('GET', `${root}/gizmos`)
      expect(kind.status).to.equal(404)
    })

    it('refuses an update made from an old version', async () => {
      const { body: first } = await create('configmaps', configMap('one'))
      const path = `${root}/configmaps/one`
      const second = await api().request('PUT', path, { ...first, data: { a: '2' } })
      expect(second.status).to.equal(200)
      expect(Number(second.body.metadata.resourceVersion)).to.be.greaterThan(Number(first.metadata.resourceVersion))
      const { status, body } = await api().request('PUT', path, { ...first, data: { a: '3' } })
      expect(status).to.equal(409)
      expect(body.reason).to.equal('Conflict')
      expect(body.message).to.equal(
        'Operation cannot be fulfilled on configmaps "one": the object has been modified; ' +
          'please apply your changes to the latest version and try again',
      )
    })

    it('replaces whatever is there when the update names no version', async () => {
      await create('configmaps', configMap('one'))
      const { status, body } = await api().request('PUT', `${root}/configmaps/one`, configMap('one', { b: '2' }))
      expect(status).to.equal(200)
      expect(body.data).to.deep.equal({ b: '2' })
    })

    it('keeps the version when an update changes nothing', async () => {
      const { body: first } = await create('configmaps', configMap('one'))
      const { body } = await api().request('PUT', `${root}/configmaps/one`, first)
      expect(body.metadata.resourceVersion).to.equal(first.metadata.resourceVersion)
    })

    it('does not let a client change what the system keeps', async () => {
      const { body: first } = await create('configmaps', configMap('one'))
      const metadata = { ...first.metadata, creationTimestamp: '2001-01-01T00:00:00Z', generation: 17 }
      const { body } = await api().request('PUT', `${root}/configmaps/one`, { ...first, metadata, data: { a: '2' } })
      expect(body.metadata.creationTimestamp).to.equal(first.metadata.creationTimestamp)
      expect(body.metadata.generation).to.equal(undefined)
    })

    it('names each broken field of the metadata', async () => {
      const bad = { ...configMap('Not_A_Name'), metadata: { name: 'Not_A_Name', labels: { 'a b': 'x', ok: '-bad-' } } }
      const { status, body } = await create('configmaps', bad)
      expect(status).to.equal(422)
      expect(body.reason).to.equal('Invalid')
      expect(body.details.kind).to.equal('ConfigMap')
      const fields = body.details.causes.map(({ field, reason }: Body) => `${field} ${reason}`)
      expect(fields).to.have.members([
        'metadata.name FieldValueInvalid',
        'metadata.labels FieldValueInvalid',
        'metadata.labels FieldValueInvalid',
      ])
      expect(body.message).to.match(/^ConfigMap "Not_A_Name" is invalid: \[metadata\.name: Invalid value: /)
    })

    it('refuses a value of the wrong type, and with Strict a field that is not there', async () => {
      const wrong = await create('configmaps', { ...configMap('one'), data: { a: 1 } })
      expect(wrong.status).to.equal(400)
      expect(wrong.body.message).to.contain('ConfigMap in version "v1" cannot be handled as a ConfigMap')
      expect(wrong.body.message).to.contain('ConfigMap.data of type string')
      const path = `${root}/configmaps?fieldValidation=Strict`
      const unknown = await api().request('POST', path, { ...configMap('one'), dat: {} })
      expect(unknown.status).to.equal(400)
      expect(unknown.body.message).to.contain('strict decoding error: unknown field "dat"')
      const warned = await api().request('POST', `${root}/configmaps?fieldValidation=Warn`, {
        ...configMap('one'),
        dat: {},
      })
      expect(warned.status).to.equal(201)
      expect(warned.headers['warning']).to.equal('299 - "unknown field \\"dat\\""')
      expect(warned.body).not.to.have.property('dat')
    })

    it('writes nothing on a dry run', async () => {
      const { status, body } = await api().request('POST', `${root}/configmaps?dryRun=All`, configMap('one'))
      expect(status).to.equal(201)
      expect(body.metadata.name).to.equal('one')
      expect((await api().request('GET', `${root}/configmaps/one`)).status).to.equal(404)
    })

    it('deletes only the object that the precondition means', async () => {
      const { body } = await create('configmaps', configMap('one'))
      const path = `${root}/configmaps/one`
      const other = { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: { uid: 'another' } }
      const refused = await api().request('DELETE', path, other)
      expect(refused.status).to.equal(409)
      expect(refused.body.message).to.contain('the UID in the precondition (another) does not match the UID in record')
      const done = await api().request('DELETE', path, { ...other, preconditions: { uid: body.metadata.uid } })
      expect(done.status).to.equal(200)
      expect(done.body).to.deep.include({ kind: 'Status', status: 'Success' })
      expect(done.body.details).to.deep.equal({ name: 'one', kind: 'configmaps', uid: body.metadata.uid })
      expect((await api().request('DELETE', path)).status).to.equal(404)
    })

    it('keeps an object until its last finalizer is gone', async () => {
      const object = configMap('held')
      object.metadata.finalizers = ['example.com/hold']
      await create('configmaps', object)
      const path = `${root}/configmaps/held`
      const deleted = await api().request('DELETE', path)
      expect(deleted.body.metadata.deletionTimestamp).to.be.a('string')
      const merge = { 'content-type': 'application/merge-patch+json' }
      const added = await api().request(
        'PATCH',
        path,
        { metadata: { finalizers: ['example.com/hold', 'example.com/b'] } },
        merge,
      )
      expect(added.status).to.equal(422)
      const released = await api().request('PATCH', path, { metadata: { finalizers: null } }, merge)
      expect(released.status).to.equal(200)
      expect((await api().request('GET', path)).status).to.equal(404)
    })

    it('deletes the objects that a selector means', async () => {
      for (const name of ['a', 'b', 'c']) {
        const object = configMap(name)
        object.metadata.labels = { keep: name === 'b' ? 'yes' : 'no' }
        await create('configmaps', object)
      }
      await api().request('DELETE', `${root}/configmaps?labelSelector=keep%3Dno`)
      const { body } = await api().request('GET', `${root}/configmaps?labelSelector=keep`)
      expect(body.items.map(({ metadata }: Body) => metadata.name)).to.deep.equal(['b'])
    })

    it('encodes the texts of a Secret', async () => {
      const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, stringData: { user: 'me' } }
      const { body } = await create('secrets', secret)
      expect(body).to.deep.include({ type: 'Opaque', data: { user: 'bWU=' } })
      expect(body).not.to.have.property('stringData')
      const bad = { ...secret, metadata: { name: 't' }, stringData: undefined, data: { user: 'me' } }
      const refused = await create('secrets', bad)
      expect(refused.status).to.equal(400)
      expect(refused.body.message).to.contain('illegal base64 data')
    })

    it('does not delete the namespaces that a cluster needs', async () => {
      const { status, body } = await api().request('DELETE', '/api/v1/namespaces/default')
      expect(status).to.equal(403)
      expect(body.message).to.equal('namespaces "default" is forbidden: this namespace may not be deleted')
    })

    it('gives a pod on a node its time to end, and takes one without a node at once', async () => {
      const pod = (name: string, spec: Body): Body => ({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: { terminationGracePeriodSeconds: 7, containers: [{ name: 'c', image: 'i' }], ...spec },
      })
      const placed = await create('pods', pod('placed', { nodeName: 'node1' }))
      expect(placed.body.status.phase).to.equal('Pending')
      expect(placed.body.spec).to.include({ restartPolicy: 'Always', dnsPolicy: 'ClusterFirst' })
      const path = `${root}/pods/placed`
      const ending = await api().request('DELETE', path)
      expect(ending.body.metadata).to.include({ deletionGracePeriodSeconds: 7 })
      expect((await api().request('GET', path)).body.metadata).to.have.property('deletionTimestamp')
      const options = { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0 }
      expect((await api().request('DELETE', path, options)).status).to.equal(200)
      expect((await api().request('GET', path)).status).to.equal(404)
      await create('pods', pod('homeless', {}))
      await api().request('DELETE', `${root}/pods/homeless`)
      expect((await api().request('GET', `${root}/pods/homeless`)).status).to.equal(404)
    })

    it('writes the status apart from the rest', async () => {
      const spec = { containers: [{ name: 'c', image: 'i' }] }
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec, status: { phase: 'Running' } }
      const { body: first } = await create('pods', pod)
      expect(first.status.phase).to.equal('Pending')
      const path = `${root}/pods/p`
      const viaObject = await api().request('PUT', path, { ...first, status: { phase: 'Running' } })
      expect(viaObject.body.status.phase).to.equal('Pending')
      const changed = { ...first, status: { phase: 'Running', podIP: '10.9.8.7' } }
      changed.spec = { ...first.spec, nodeName: 'elsewhere' }
      changed.metadata = { ...first.metadata, resourceVersion: viaObject.body.metadata.resourceVersion }
      const { status, body } = await api().request('PUT', `${path}/status`, changed)
      expect(status).to.equal(200)
      expect(body.status).to.include({ phase: 'Running', podIP: '10.9.8.7' })
      expect(body.spec).not.to.have.property('nodeName')
    })

    it('counts generations of what is wanted, not of what is reported', async () => {
      const apps = root.replace('/api/v1', '/apis/apps/v1')
      const template = { metadata: { labels: { app: 'a' } }, spec: { containers: [{ name: 'c', image: 'i' }] } }
      const spec = { selector: { matchLabels: { app: 'a' } }, template }
      const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd' }, spec }
      const { body: first } = await api().request('POST', `${apps}/deployments`, deployment)
      expect(first.metadata.generation).to.equal(1)
      expect(first.spec).to.include({ replicas: 1, progressDeadlineSeconds: 600, revisionHistoryLimit: 10 })
      const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } }
      expect(first.spec.strategy).to.deep.equal(strategy)
      const merge = { 'content-type': 'application/merge-patch+json' }
      const path = `${apps}/deployments/d`
      const labelled = await api().request('PATCH', path, { metadata: { labels: { x: 'y' } } }, merge)
      expect(labelled.body.metadata.generation).to.equal(1)
      const reported = await api().request('PATCH', `${path}/status`, { status: { replicas: 1 } }, merge)
      expect(reported.body.metadata.generation).to.equal(1)
      const scaled = await api().request('PATCH', `${path}/scale`, { spec: { replicas: 3 } }, merge)
      expect(scaled.body).to.deep.include({ kind: 'Scale', spec: { replicas: 3 } })
      expect(scaled.body.status).to.deep.equal({ replicas: 1, selector: 'app=a' })
      const { body } = await api().request('GET', path)
      expect(body.metadata.generation).to.equal(2)
      expect(body.spec.replicas).to.equal(3)
    })

    it('refuses a Deployment whose selector does not match, or changes', async () => {
      const apps = root.replace('/api/v1', '/apis/apps/v1')
      const template = { metadata: { labels: { app: 'a' } }, spec: { containers: [{ name: 'c', image: 'i' }] } }
      const deployment = (labels: Body): Body => ({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'd' },
        spec: { selector: { matchLabels: labels }, template },
      })
      const mismatch = await api().request('POST', `${apps}/deployments`, deployment({ app: 'b' }))
      expect(mismatch.status).to.equal(422)
      expect(mismatch.body.details.causes[0].field).to.equal('spec.template.metadata.labels')
      await api().request('POST', `${apps}/deployments`, deployment({ app: 'a' }))
      template.metadata.labels = { app: 'c' }
      const changed = await api().request('PUT', `${apps}/deployments/d`, deployment({ app: 'c' }))
      expect(changed.status).to.equal(422)
      expect(changed.body.message).to.contain('field is immutable')
    })

    it('asks for containers with a name and an image', async () => {
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec: { containers: [{ ports: [{}] }] } }
      const { status, body } = await create('pods', pod)
      expect(status).to.equal(422)
      const fields = body.details.causes.map(({ field }: Body) => field)
      expect(fields).to.include.members(['spec.containers[0].name', 'spec.containers[0].image'])
      expect(fields).to.include('spec.containers[0].ports[0].containerPort')
    })

    it('serves Events in both of their groups', async () => {
      const event = {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: 'e' },
        involvedObject: { kind: 'Service', name: 's', namespace: root.split('/').at(-1) },
        reason: 'Because',
        message: 'it is so',
        type: 'Warning',
        count: 2,
      }
      expect((await create('events', event)).status).to.equal(201)
      const events = root.replace('/api/v1', '/apis/events.k8s.io/v1')
      const { body } = await api().request('GET', `${events}/events/e`)
      expect(body).to.deep.include({ note: 'it is so', reason: 'Because', deprecatedCount: 2 })
      expect(body.regarding).to.include({ kind: 'Service', name: 's' })
      const modern = {
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        metadata: { name: 'f' },
        regarding: { ...event.involvedObject },
        eventTime: '2026-01-02T03:04:05.000006Z',
        reportingController: 'weft.dev/controller',
        reportingInstance: 'a',
        action: 'Checking',
        reason: 'Because',
        note: 'new',
        type: 'Normal',
      }
      const created = await api().request('POST', `${events}/events`, modern)
      expect(created.status, created.body.message).to.equal(201)
      const selected = await api().request('GET', `${root}/events?fieldSelector=involvedObject.name%3Ds,type%3DNormal`)
      expect(selected.body.items.map(({ message }: Body) => message)).to.deep.equal(['new'])
    })
  })
}
