// Services and EndpointSlices: what the system fills in, which addresses it gives, and what it refuses.

import { expect } from 'chai'
import { type Body, backends, withApi } from '../support/api.ts'

const merge = { 'content-type': 'application/merge-patch+json' }

for (const backend of backends) {
  describe(`API Services (${backend.name})`, () => {
    const api = withApi(backend)
    let root = ''

    beforeEach(async () => {
      root = `/api/v1/namespaces/${await api().namespace()}`
    })

    const service = (name: string, spec: Body): Body => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec,
    })
    const create = (name: string, spec: Body) => api().request('POST', `${root}/services`, service(name, spec))

    it('fills in defaults and gives an address', async () => {
      const { status, body } = await create('s', { selector: { app: 'a' }, ports: [{ port: 80 }] })
      expect(status, body.message).to.equal(201)
      expect(body.spec.clusterIP).to.match(/^\d+\.96\.\d+\.\d+$/)
      expect(body.spec).to.deep.equal({
        selector: { app: 'a' },
        ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
        clusterIP: body.spec.clusterIP,
        clusterIPs: [body.spec.clusterIP],
        type: 'ClusterIP',
        sessionAffinity: 'None',
        ipFamilies: ['IPv4'],
        ipFamilyPolicy: 'SingleStack',
        internalTrafficPolicy: 'Cluster',
      })
      expect(body.status).to.deep.equal({ loadBalancer: {} })
      const second = await create('t', { ports: [{ port: 80, targetPort: 'http' }], internalTrafficPolicy: 'Local' })
      expect(second.body.spec.clusterIP).not.to.equal(body.spec.clusterIP)
      expect(second.body.spec.ports[0].targetPort).to.equal('http')
      expect(second.body.spec.internalTrafficPolicy).to.equal('Local')
    })

    it('has headless Services and aliases', async () => {
      const headless = await create('h', { clusterIP: 'None', selector: { app: 'a' } })
      expect(headless.status, headless.body.message).to.equal(201)
      expect(headless.body.spec).to.deep.include({ clusterIP: 'None', clusterIPs: ['None'], type: 'ClusterIP' })
      const alias = await create('e', { type: 'ExternalName', externalName: 'weft.weft-system.svc.cluster.local' })
      expect(alias.body.spec).to.deep.equal({
        type: 'ExternalName',
        externalName: 'weft.weft-system.svc.cluster.local',
        sessionAffinity: 'None',
      })
    })

    it('keeps the address when an update does not say it, and never lets it change', async () => {
      const { body: first } = await create('s', { ports: [{ port: 80 }] })
      const path = `${root}/services/s`
      const updated = await api().request('PUT', path, service('s', { ports: [{ port: 81 }] }))
      expect(updated.status, updated.body.message).to.equal(200)
      expect(updated.body.spec.clusterIP).to.equal(first.spec.clusterIP)
      expect(updated.body.spec.ports[0].port).to.equal(81)
      const spec = { ...first.spec, clusterIP: first.spec.clusterIP.replace(/\d+$/, '200'), clusterIPs: undefined }
      const { status, body } = await api().request('PUT', path, service('s', spec))
      expect(status).to.equal(422)
      expect(body.details.causes.map(({ field }: Body) => field)).to.include('spec.clusterIPs[0]')
      expect(body.message).to.contain('may not change once set')
    })

    it('gives an address that is asked for, but not twice', async () => {
      const { body: some } = await create('some', { ports: [{ port: 80 }] })
      const wanted = some.spec.clusterIP.replace(/\d+\.\d+$/, '77.77')
      const { status, body } = await create('mine', { clusterIP: wanted, ports: [{ port: 80 }] })
      expect(status, body.message).to.equal(201)
      expect(body.spec.clusterIP).to.equal(wanted)
      const second = await create('theirs', { clusterIP: wanted, ports: [{ port: 80 }] })
      expect(second.status).to.equal(422)
      expect(second.body.details.causes[0].field).to.equal('spec.clusterIPs')
      expect(second.body.message).to.contain('provided IP is already allocated')
      const outside = await create('far', { clusterIP: '192.0.2.1', ports: [{ port: 80 }] })
      expect(outside.status).to.equal(422)
      expect(outside.body.message).to.contain('the provided network does not match the current range')
      await api().request('DELETE', `${root}/services/mine`)
      expect((await create('again', { clusterIP: wanted, ports: [{ port: 80 }] })).status).to.equal(201)
    })

    it('takes the address from a Service that becomes an alias, and gives it one when it comes back', async () => {
      await create('s', { ports: [{ port: 80 }] })
      const path = `${root}/services/s`
      const toAlias = { spec: { type: 'ExternalName', externalName: 'example.com', clusterIP: null, clusterIPs: null } }
      const alias = await api().request('PATCH', path, toAlias, merge)
      expect(alias.status, alias.body.message).to.equal(200)
      expect(alias.body.spec).not.to.have.property('clusterIP')
      const back = await api().request('PATCH', path, { spec: { type: 'ClusterIP', externalName: null } }, merge)
      expect(back.status, back.body.message).to.equal(200)
      expect(back.body.spec.clusterIP).to.match(/^\d+\.96\./)
    })

    for (const [what, spec, field, reason] of [
      ['no ports', {}, 'spec.ports', 'FieldValueRequired'],
      [
        'an unnamed port among several',
        { ports: [{ port: 1, name: 'a' }, { port: 2 }] },
        'spec.ports[1].name',
        'FieldValueRequired',
      ],
      [
        'two ports of one name',
        {
          ports: [
            { port: 1, name: 'a' },
            { port: 2, name: 'a' },
          ],
        },
        'spec.ports[1].name',
        'FieldValueDuplicate',
      ],
      [
        'one port twice',
        {
          ports: [
            { port: 1, name: 'a' },
            { port: 1, name: 'b' },
          ],
        },
        'spec.ports[1]',
        'FieldValueDuplicate',
      ],
      ['a port out of range', { ports: [{ port: 65536 }] }, 'spec.ports[0].port', 'FieldValueInvalid'],
      [
        'a target port out of range',
        { ports: [{ port: 1, targetPort: 70000 }] },
        'spec.ports[0].targetPort',
        'FieldValueInvalid',
      ],
      [
        'an unknown protocol',
        { ports: [{ port: 1, protocol: 'ICMP' }] },
        'spec.ports[0].protocol',
        'FieldValueNotSupported',
      ],
      ['an unknown type', { type: 'Odd', ports: [{ port: 1 }] }, 'spec.type', 'FieldValueNotSupported'],
      [
        'an unknown policy',
        { internalTrafficPolicy: 'Here', ports: [{ port: 1 }] },
        'spec.internalTrafficPolicy',
        'FieldValueNotSupported',
      ],
      ['an alias to nowhere', { type: 'ExternalName' }, 'spec.externalName', 'FieldValueRequired'],
      ['an alias to no name', { type: 'ExternalName', externalName: 'a_b' }, 'spec.externalName', 'FieldValueInvalid'],
    ] as [string, Body, string, string][]) {
      it(`refuses ${what}`, async () => {
        const { status, body } = await create('s', spec)
        expect(status).to.equal(422)
        const causes = body.details.causes.map((cause: Body) => `${cause.field} ${cause.reason}`)
        expect(causes).to.include(`${field} ${reason}`)
      })
    }

    it('wants names that are DNS labels', async () => {
      for (const name of ['a.b', '1a', 'x'.repeat(64)]) {
        const { status, body } = await create(name, { ports: [{ port: 80 }] })
        expect(status, name).to.equal(422)
        expect(body.details.causes[0].field).to.equal('metadata.name')
      }
      expect((await create('x'.repeat(63), { ports: [{ port: 80 }] })).status).to.equal(201)
    })

    it('refuses a port of the wrong type, naming it', async () => {
      const { status, body } = await create('s', { ports: [{ port: 'http' }] })
      expect(status).to.equal(400)
      expect(body.message).to.contain(
        'json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32',
      )
    })

    it('keeps EndpointSlices as they are written, with null for nothing', async () => {
      const slices = `${root.replace('/api/v1', '/apis/discovery.k8s.io/v1')}/endpointslices`
      const slice = (name: string, rest: Body): Body => ({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name, labels: { 'kubernetes.io/service-name': 's' } },
        addressType: 'IPv4',
        ...rest,
      })
      const empty = await api().request('POST', slices, slice('empty', { endpoints: [], ports: [] }))
      expect(empty.status, empty.body.message).to.equal(201)
      expect(empty.body).to.include({ endpoints: null, ports: null })
      expect(empty.body.metadata.generation).to.equal(1)
      const endpoints = [{ addresses: ['10.1.1.1'], conditions: { ready: true }, nodeName: 'n' }]
      const full = await api().request('POST', slices, slice('full', { endpoints, ports: [{ port: 80 }] }))
      expect(full.body.endpoints).to.deep.equal(endpoints)
      expect(full.body.ports).to.deep.equal([{ name: '', port: 80, protocol: 'TCP' }])
      const { body: changed } = await api().request('PATCH', `${slices}/full`, { endpoints: null }, merge)
      expect(changed.endpoints).to.equal(null)
      expect(changed.metadata.generation).to.equal(2)
      const bad = await api().request(
        'POST',
        slices,
        slice('bad', { addressType: 'Carrier', endpoints: [{ addresses: [] }] }),
      )
      expect(bad.status).to.equal(422)
      expect(bad.body.details.causes.map(({ field }: Body) => field)).to.include('addressType')
    })
  })
}
