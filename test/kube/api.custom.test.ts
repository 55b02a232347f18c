// Custom resources: what a CustomResourceDefinition makes of the API. One kind with every feature that the mesh's own
// definitions use, in several versions.

import { expect } from 'chai'
import { type Body, backends, withApi } from '../support/api.ts'

const status = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }

/** A schema of version v1: strict; v1beta1 is older and knows fewer fields. */
const divisions: Body = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'divisions.split.weft.test' },
  spec: {
    group: 'split.weft.test',
    scope: 'Namespaced',
    names: { plural: 'divisions', kind: 'Division', shortNames: ['dv'], categories: ['mesh'] },
    versions: [
      {
        name: 'v1beta1',
        served: true,
        storage: false,
        subresources: { status: {} },
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                properties: {
                  service: { type: 'string' },
                  backends: {
                    type: 'array',
                    items: {
                      type: 'object',
                      properties: { service: { type: 'string' }, weight: { 'x-kubernetes-int-or-string': true } },
                    },
                  },
                },
              },
              status,
            },
          },
        },
      },
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: [
          { name: 'Service', type: 'string', jsonPath: '.spec.service' },
          { name: 'First', type: 'string', jsonPath: '.spec.backends[0].service' },
          { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status', priority: 1 },
          { name: 'Count', type: 'integer', jsonPath: '.spec.count' },
          { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
        ],
        schema: {
          openAPIV3Schema: {
            type: 'object',
            required: ['spec'],
            properties: {
              spec: {
                type: 'object',
                required: ['service', 'backends'],
                properties: {
                  service: { type: 'string', minLength: 1, maxLength: 63, pattern: '^[a-z0-9-]+$' },
                  mode: { type: 'string', enum: ['fast', 'slow'], default: 'fast' },
                  count: { type: 'integer', minimum: 1, maximum: 10 },
                  note: { type: 'string', nullable: true },
                  labels: { type: 'object', additionalProperties: { type: 'string' } },
                  free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
                  backends: {
                    type: 'array',
                    minItems: 1,
                    items: {
                      type: 'object',
                      required: ['service'],
                      properties: {
                        service: { type: 'string' },
                        weight: { 'x-kubernetes-int-or-string': true, default: 1 },
                        port: { type: 'integer' },
                      },
                    },
                  },
                },
              },
              status,
            },
          },
        },
      },
      {
        name: 'v1alpha1',
        served: false,
        storage: false,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
}

const merge = { 'content-type': 'application/merge-patch+json' }

for (const backend of backends) {
  describe(`API custom resources (${backend.name})`, () => {
    const api = withApi(backend)
    let namespace = ''
    const path = (version = 'v1') => `/apis/split.weft.test/${version}/namespaces/${namespace}/divisions`
    const division = (spec: Body, name = 'd'): Body => ({
      apiVersion: 'split.weft.test/v1',
      kind: 'Division',
      metadata: { name },
      spec,
    })
    const good = { service: 'root', backends: [{ service: 'a', weight: 10 }] }

    before(() => api().define(divisions))
    beforeEach(async () => {
      namespace = await api().namespace()
    })

    it('serves the versions that are served', async () => {
      const { body } = await api().request('GET', '/apis/split.weft.test')
      expect(body.versions.map(({ version }: Body) => version)).to.deep.equal(['v1', 'v1beta1'])
      expect(body.preferredVersion.version).to.equal('v1')
      expect((await api().request('GET', path('v1alpha1'))).status).to.equal(404)
      const { body: resources } = await api().request('GET', '/apis/split.weft.test/v1')
      const kinds = resources.resources.map(({ name, kind, shortNames, categories }: Body) => ({
        name,
        kind,
        shortNames,
        categories,
      }))
      expect(kinds).to.deep.equal([
        { name: 'divisions', kind: 'Division', shortNames: ['dv'], categories: ['mesh'] },
        { name: 'divisions/status', kind: 'Division', shortNames: undefined, categories: undefined },
      ])
    })

    it('says that the definition is established', async () => {
      const root = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/divisions.split.weft.test'
      const { body } = await api().request('GET', root)
      const conditions = body.status.conditions.map(({ type, status }: Body) => `${type} ${status}`)
      expect(conditions).to.have.members(['NamesAccepted True', 'Established True'])
      expect(body.status.storedVersions).to.deep.equal(['v1'])
      expect(body.spec.names).to.include({ singular: 'division', listKind: 'DivisionList' })
      expect(body.spec.conversion).to.deep.equal({ strategy: 'None' })
    })

    it('fills in defaults and drops what the schema does not know', async () => {
      const spec = {
        ...good,
        backends: [{ service: 'a', colour: 'red' }],
        free: { any: [1, { thing: true }] },
        extra: 1,
      }
      const { status, body } = await api().request('POST', path(), division(spec))
      expect(status, body.message).to.equal(201)
      expect(body.spec).to.deep.equal({
        service: 'root',
        mode: 'fast',
        backends: [{ service: 'a', weight: 1 }],
        free: { any: [1, { thing: true }] },
      })
      expect(body.metadata.generation).to.equal(1)
    })

    it('names unknown fields to those who want to know', async () => {
      const spec = { ...good, extra: 1, backends: [{ service: 'a', colour: 'red' }] }
      const { status, body } = await api().request('POST', `${path()}?fieldValidation=Strict`, division(spec))
      expect(status).to.equal(400)
      expect(body.message).to.contain('strict decoding error')
      expect(body.message).to.contain('unknown field "spec.extra"')
      expect(body.message).to.contain('unknown field "spec.backends[0].colour"')
    })

    for (const [what, change, field, message] of [
      ['a missing field', { service: undefined }, 'spec.service', 'Required value'],
      ['a value of the wrong type', { service: 7 }, 'spec.service', 'must be of type string: "integer"'],
      ['an unknown word', { mode: 'odd' }, 'spec.mode', 'Unsupported value: "odd": supported values: "fast", "slow"'],
      ['a number too small', { count: 0 }, 'spec.count', 'should be greater than or equal to 1'],
      ['a number too large', { count: 11 }, 'spec.count', 'should be less than or equal to 10'],
      ['a text that does not match', { service: 'No!' }, 'spec.service', "should match '^[a-z0-9-]+$'"],
      ['an empty text', { service: '' }, 'spec.service', 'should be at least 1 chars long'],
      ['a text too long', { service: 'x'.repeat(64) }, 'spec.service', 'Too long: may not be more than 63 bytes'],
      ['an empty list', { backends: [] }, 'spec.backends', 'should have at least 1 items'],
      ['a null', { service: null }, 'spec.service', 'Required value'],
      [
        'a weight that is no number',
        { backends: [{ service: 'a', weight: true }] },
        'spec.backends[0].weight',
        'must be of type integer,string: "boolean"',
      ],
      [
        'a broken item',
        { backends: [{ service: 'a' }, { port: 'x', service: 'b' }] },
        'spec.backends[1].port',
        'must be of type integer: "string"',
      ],
      ['a broken map', { labels: { a: 1 } }, 'spec.labels.a', 'must be of type string: "integer"'],
    ] as [string, Body, string, string][]) {
      it(`refuses ${what}, naming the field`, async () => {
        const { status, body } = await api().request('POST', path(), division({ ...good, ...change }))
        expect(status).to.equal(422)
        expect(body).to.include({ kind: 'Status', reason: 'Invalid', code: 422 })
        expect(body.details).to.include({ name: 'd', group: 'split.weft.test', kind: 'Division' })
        expect(body.message).to.match(/^Division\.split\.weft\.test "d" is invalid: /)
        const causes = body.details.causes.filter((cause: Body) => cause.field === field)
        expect(causes.map(({ message }: Body) => message).join(), JSON.stringify(body.details.causes)).to.contain(
          message,
        )
      })
    }

    it('takes a null where it may be one', async () => {
      const { status, body } = await api().request('POST', path(), division({ ...good, note: null, mode: null }))
      expect(status, body.message).to.equal(201)
      expect(body.spec).to.have.property('note', null)
      expect(body.spec.mode).to.equal('fast')
    })

    it("shows an object in each version with that version's fields", async () => {
      const old = { ...division({ service: 'root', backends: [{ service: 'a', weight: '100' }] }) }
      old.apiVersion = 'split.weft.test/v1beta1'
      const created = await api().request('POST', path('v1beta1'), old)
      expect(created.status, created.body.message).to.equal(201)
      const { body: modern } = await api().request('GET', `${path()}/d`)
      expect(modern.apiVersion).to.equal('split.weft.test/v1')
      expect(modern.spec.backends).to.deep.equal([{ service: 'a', weight: '100' }])
      const spec = { ...modern.spec, count: 3 }
      await api().request('PUT', `${path()}/d`, { ...modern, spec })
      const { body: older } = await api().request('GET', `${path('v1beta1')}/d`)
      expect(older.spec).not.to.have.property('count')
      expect(older.spec.backends).to.deep.equal([{ service: 'a', weight: '100' }])
    })

    it('watches in the version that is asked for', async () => {
      const { body: list } = await api().request('GET', path('v1beta1'))
      const stream = await api().watch(`${path('v1beta1')}?watch=true&resourceVersion=${list.metadata.resourceVersion}`)
      await api().request('POST', path(), division({ ...good, count: 3 }))
      const { type, object } = await stream.next()
      expect(type).to.equal('ADDED')
      expect(object.apiVersion).to.equal('split.weft.test/v1beta1')
      expect(object.spec).not.to.have.property('count')
      stream.close()
    })

    it('keeps the status apart', async () => {
      const { body: first } = await api().request('POST', path(), { ...division(good), status: { state: 'made up' } })
      expect(first).not.to.have.property('status')
      const conditions = [{ type: 'Ready', status: 'True' }]
      const changed = { ...first, status: { conditions }, spec: { ...good, service: 'other' } }
      const { status, body } = await api().request('PUT', `${path()}/d/status`, changed)
      expect(status, body.message).to.equal(200)
      expect(body.status).to.deep.equal({ conditions })
      expect(body.spec.service).to.equal('root')
      expect(body.metadata.generation).to.equal(1)
      const patched = await api().request('PATCH', `${path()}/d`, { spec: { service: 'new' }, status: null }, merge)
      expect(patched.body.status).to.deep.equal({ conditions })
      expect(patched.body.metadata.generation).to.equal(2)
    })

    it('wants to know which version an update replaces', async () => {
      await api().request('POST', path(), division(good))
      const { status, body } = await api().request('PUT', `${path()}/d`, division(good))
      expect(status).to.equal(422)
      expect(body.details.causes[0].field).to.equal('metadata.resourceVersion')
    })

    it('has no strategic merge', async () => {
      await api().request('POST', path(), division(good))
      const headers = { 'content-type': 'application/strategic-merge-patch+json' }
      expect((await api().request('PATCH', `${path()}/d`, {}, headers)).status).to.equal(415)
    })

    it('prints the columns of the definition', async () => {
      const { body: created } = await api().request('POST', path(), division({ ...good, count: 2 }))
      const conditions = [
        { type: 'Other', status: 'False' },
        { type: 'Ready', status: 'True' },
      ]
      await api().request('PUT', `${path()}/d/status`, { ...created, status: { conditions } })
      await api().request('POST', path(), division(good, 'e'))
      const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io'
      const { body } = await api().request('GET', path(), undefined, { accept })
      expect(body.columnDefinitions.map(({ name, priority }: Body) => `${name} ${priority}`)).to.deep.equal([
        'Name 0',
        'Service 0',
        'First 0',
        'Ready 1',
        'Count 0',
        'Age 0',
      ])
      expect(body.rows[0].cells.slice(0, 5)).to.deep.equal(['d', 'root', 'a', 'True', 2])
      expect(body.rows[0].cells[5]).to.match(/^\d+s$/)
      expect(body.rows[1].cells.slice(0, 5)).to.deep.equal(['e', 'root', 'a', null, null])
    })

    it('refuses a definition that can not work', async () => {
      const root = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
      const broken = structuredClone(divisions)
      broken.metadata.name = 'wrong.split.weft.test'
      broken.spec.versions[0].storage = true
      broken.spec.versions[1].schema.openAPIV3Schema.properties.spec.properties.service = { minLength: 1 }
      const { status, body } = await api().request('POST', root, broken)
      expect(status).to.equal(422)
      const fields = body.details.causes.map(({ field }: Body) => field)
      expect(fields).to.include('metadata.name')
      expect(fields).to.include('spec.versions')
      expect(fields.some((field: string) => field.startsWith('spec.versions[1].schema.openAPIV3Schema'))).to.equal(true)
    })

    it('follows a definition as it changes', async () => {
      const root = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
      const growing: Body = {
        ...divisions,
        metadata: { name: 'things.grow.weft.test' },
        spec: {
          group: 'grow.weft.test',
          scope: 'Cluster',
          names: { plural: 'things', kind: 'Thing' },
          versions: [
            {
              name: 'v1',
              served: true,
              storage: true,
              schema: { openAPIV3Schema: { type: 'object', properties: { a: { type: 'integer' } } } },
            },
          ],
        },
      }
      await api().define(growing)
      const things = '/apis/grow.weft.test/v1/things'
      const thing = { apiVersion: 'grow.weft.test/v1', kind: 'Thing', metadata: { name: 't' }, a: 1, b: 2 }
      expect((await api().request('POST', things, thing)).body).not.to.have.property('b')
      const { body: definition } = await api().request('GET', `${root}/things.grow.weft.test`)
      definition.spec.versions[0].schema.openAPIV3Schema.properties.b = { type: 'integer' }
      expect((await api().request('PUT', `${root}/things.grow.weft.test`, definition)).status).to.equal(200)
      for (let kept = false; !kept; ) {
        const { body } = await api().request('PATCH', `${things}/t`, { b: 3 }, merge)
        kept = body.b === 3
      }
      await api().request('DELETE', `${root}/things.grow.weft.test`)
      for (let served = true; served; ) served = (await api().request('GET', things)).status !== 404
    })
  })
}
