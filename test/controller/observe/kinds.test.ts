// What is kept of objects: what some stage reads, and nothing of what makes most of their size.

import { expect } from 'chai'
import { builtinKinds, dropUnread, smiKinds } from '../../../controller/observe/kinds.ts'
import type { KubeObject } from '../../../controller/observe/objects.ts'

const unread = 'not-read-by-anybody'

function kept(kind: string, more: object): KubeObject {
  const spec = [...builtinKinds, ...smiKinds].find((each) => each.kind === kind)!
  const object = {
    apiVersion: 'v1',
    kind,
    metadata: {
      name: 'a',
      namespace: 'shop',
      uid: 'u',
      resourceVersion: '7',
      managedFields: [{ manager: unread, fieldsV1: { 'f:spec': {} } }],
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': unread },
      selfLink: unread,
    },
    ...more,
  }
  return (spec.keep ?? dropUnread)(object as KubeObject)
}

describe('kinds', () => {
  for (const { kind } of [...builtinKinds, ...smiKinds]) {
    it(`of ${kind} neither managed fields nor what was last applied`, () => {
      const object = kept(kind, { spec: {}, status: {} })
      expect(object.metadata).to.include({ name: 'a', uid: 'u', resourceVersion: '7' })
      expect(JSON.stringify(object)).not.to.contain('managedFields').and.not.to.contain('last-applied')
    })
  }

  it('of a Service that we write all that others put there, for it is written back as a whole', () => {
    const metadata = {
      ...{ name: 'weft', namespace: 'weft-system', uid: 'u', resourceVersion: '7' },
      labels: { 'app.kubernetes.io/managed-by': 'weft' },
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
    }
    expect(kept('Service', { metadata }).metadata).to.deep.equal(metadata)
  })

  it('of Pods, Nodes, EndpointSlices and ServiceAccounts only what objects.ts names', () => {
    const pod = {
      spec: { nodeName: 'n', serviceAccountName: 's', containers: [{ env: [{ value: unread }] }], volumes: [unread] },
      status: { phase: 'Running', podIP: '10.0.0.1', containerStatuses: [unread], message: unread },
    }
    const node = { spec: { podCIDR: '10.0.0.0/24', taints: [unread] }, status: { images: [unread], addresses: [] } }
    const slice = {
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.0.0.1'], zone: unread, hints: { forZones: [unread] }, hostname: unread }],
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
    }
    for (const object of [kept('Pod', pod), kept('Node', node), kept('EndpointSlice', slice)]) {
      expect(JSON.stringify(object), object.kind).not.to.contain(unread)
    }
    expect(kept('EndpointSlice', slice)).to.deep.include({
      endpoints: [{ addresses: ['10.0.0.1'] }],
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
    })
    const account = kept('ServiceAccount', { secrets: [{ name: unread }], imagePullSecrets: [{ name: unread }] })
    expect(JSON.stringify(account)).not.to.contain(unread)
  })

  it('a slice that changed in nothing that is read is no news', () => {
    const { isSame } = builtinKinds.find(({ kind }) => kind === 'EndpointSlice')!
    const slice = (resourceVersion: string, port: number) =>
      kept('EndpointSlice', {
        metadata: { name: 'a', uid: 'u', resourceVersion },
        addressType: 'IPv4',
        ports: [{ port }],
      })
    expect(isSame!(slice('1', 80), slice('2', 80))).to.equal(true)
    expect(isSame!(slice('1', 80), slice('2', 81))).to.equal(false)
  })
})
