// Which Services to write, in which order, and which never to touch.

import { expect } from 'chai'
import type { Service } from '../../../controller/observe/objects.ts'
import { isOurs } from '../../../controller/resolve/enrol.ts'
import type { DesiredService } from '../../../controller/translate/desired.ts'
import { planServices, type Step } from '../../../controller/update/plan.ts'

const mesh = { namespace: 'weft-system', meshService: 'weft', aliasSuffix: '-mesh' }
const managedBy = { 'app.kubernetes.io/managed-by': 'weft' }

function standing(service: string): Record<string, string> {
  return { ...managedBy, 'weft.dev/service': service, 'weft.dev/namespace': 'shop' }
}

function desiredMesh(...ports: number[]): DesiredService {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'weft', namespace: 'weft-system', labels: managedBy, annotations: {} },
    spec: {
      type: 'ClusterIP',
      internalTrafficPolicy: 'Local',
      ipFamilyPolicy: 'PreferDualStack',
      selector: { app: 'agent' },
      ports: ports.map((port) => ({ name: `p-${port}`, protocol: 'TCP', port, targetPort: port + 10_000 })),
    },
  }
}

function desiredAlias(service: string, target = 'weft'): DesiredService {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: `${service}-mesh`,
      namespace: 'shop',
      labels: standing(service),
      annotations: {},
      ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name: service, uid: `uid-${service}` }],
    },
    spec: { type: 'ExternalName', externalName: `${target}.weft-system.svc.cluster.local` },
  }
}

/** The Service as the API server would show it after it was written. */
function stored(desired: DesiredService, more: Record<string, unknown> = {}): Service {
  const { metadata, spec } = structuredClone(desired)
  const defaults = spec.type === 'ClusterIP' ? { clusterIP: '10.96.0.7', sessionAffinity: 'None' } : {}
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { ...metadata, uid: `uid-${metadata.name}`, resourceVersion: '7', creationTimestamp: 'x', ...more },
    spec: { ...spec, ...defaults },
    status: { loadBalancer: {} },
  } as unknown as Service
}

function world(...services: Service[]): Map<string, Service> {
  return new Map(services.map((each) => [`${each.metadata.namespace}/${each.metadata.name}`, each]))
}

const steps = (plan: ReturnType<typeof planServices>) =>
  Object.fromEntries(
    Object.entries(plan).flatMap(([group, list]: [string, Step[]]) =>
      list.length === 0 ? [] : [[group, list.map(({ verb, key }) => `${verb} ${key}`)]],
    ),
  )

describe('plan of Services', () => {
  it('creates addresses first; an alias waits until its address can be read back', () => {
    const desired = [desiredMesh(80), desiredAlias('reviews')]
    expect(steps(planServices(desired, world(), mesh))).to.deep.equal({ addresses: ['create weft-system/weft'] })
    const written = world(stored(desired[0]!))
    expect(steps(planServices(desired, written, mesh))).to.deep.equal({ aliases: ['create shop/reviews-mesh'] })
  })

  it('creates a shadow Service when the claims on its ports can be read back, and its alias after that', () => {
    const claims = JSON.stringify([[10_090, 'shop/db:90']])
    const desired = [desiredMesh(80), desiredMesh(90), desiredAlias('db', 'db-1'), desiredAlias('reviews')]
    desired[0]!.metadata.annotations = { 'weft.dev/claimed-ports': claims }
    desired[1]!.metadata = { ...desired[1]!.metadata, name: 'db-1', labels: standing('db') }
    const before = stored(desiredMesh(80))
    const first = { addresses: ['replace weft-system/weft'] }
    expect(steps(planServices(desired, world(before), mesh))).to.deep.equal(first)
    expect(steps(planServices(desired, world(), mesh))).to.deep.equal({ addresses: ['create weft-system/weft'] })
    const claimed = stored(desired[0]!)
    const second = { addresses: ['create weft-system/db-1'], aliases: ['create shop/reviews-mesh'] }
    expect(steps(planServices(desired, world(claimed), mesh))).to.deep.equal(second)
    const third = { aliases: ['create shop/db-mesh', 'create shop/reviews-mesh'] }
    expect(steps(planServices(desired, world(claimed, stored(desired[1]!)), mesh))).to.deep.equal(third)
  })

  it('holds back no alias whose own address is in order', () => {
    const desired = [desiredMesh(80), desiredMesh(90), desiredAlias('reviews'), desiredAlias('db', 'db-1')]
    desired[1]!.metadata = { ...desired[1]!.metadata, name: 'db-1', labels: standing('db') }
    const plan = planServices(desired, world(stored(desired[0]!)), mesh)
    expect(steps(plan)).to.deep.equal({ addresses: ['create weft-system/db-1'], aliases: ['create shop/reviews-mesh'] })
  })

  it('writes nothing when all is as it should be, whatever the API server added', () => {
    const desired = [desiredMesh(80, 90), desiredAlias('reviews')]
    const actual = world(stored(desired[0]!), stored(desired[1]!, { labels: { ...standing('reviews'), team: 'x' } }))
    expect(steps(planServices(desired, actual, mesh))).to.deep.equal({})
  })

  it('replaces what differs, at the version that was seen, and keeps what is not ours', () => {
    const before = stored(desiredMesh(80), { labels: { ...managedBy, team: 'x', 'weft.dev/old': 'y' } })
    const plan = planServices([desiredMesh(80, 90)], world(before), mesh)
    expect(steps(plan)).to.deep.equal({ addresses: ['replace weft-system/weft'] })
    const step = plan.addresses[0]!
    if (step.verb !== 'replace') throw new Error(step.verb)
    expect(step.body.metadata.resourceVersion).to.equal('7')
    expect(step.body.metadata.labels).to.deep.equal({ ...managedBy, team: 'x' })
    expect(step.body.spec).to.include({ clusterIP: '10.96.0.7', sessionAffinity: 'None' })
    expect(step.body.spec.ports!.map(({ port }) => port)).to.deep.equal([80, 90])
  })

  for (const [what, spoil] of [
    ['a target port', (service: Service) => (service.spec.ports![0]!.targetPort = 1)],
    ['the selector', (service: Service) => (service.spec.selector = { app: 'other' })],
    ['the traffic policy', (service: Service) => (service.spec.internalTrafficPolicy = 'Cluster')],
    ['a label', (service: Service) => (service.metadata.labels = { ...managedBy, 'weft.dev/service': 'x' })],
  ] as const) {
    it(`repairs ${what} that somebody changed`, () => {
      const actual = stored(desiredMesh(80))
      spoil(actual)
      expect(steps(planServices([desiredMesh(80)], world(actual), mesh))).to.deep.equal({
        addresses: ['replace weft-system/weft'],
      })
    })
  }

  it('gives an alias to the Service that took its owner’s place', () => {
    const actual = stored(desiredAlias('reviews'))
    const desired = desiredAlias('reviews')
    desired.metadata.ownerReferences![0]!.uid = 'reborn'
    const step = planServices([desired], world(actual), mesh).aliases[0]!
    if (step.verb !== 'replace') throw new Error(step.verb)
    expect(step.body.metadata.ownerReferences!.map(({ uid }) => uid)).to.deep.equal(['reborn'])
  })

  it('deletes what is ours and no longer wanted: aliases first, addresses last', () => {
    const shadow = desiredMesh(5432)
    shadow.metadata = { ...shadow.metadata, name: 'db-1', labels: standing('db') }
    const actual = world(stored(shadow), stored(desiredAlias('db', 'db-1')), stored(desiredMesh(80)))
    expect(steps(planServices([desiredMesh(80)], actual, mesh))).to.deep.equal({
      withdraw: ['delete shop/db-mesh'],
      cleanup: ['delete weft-system/db-1'],
    })
  })

  it('touches nothing that is not ours, though it has the name or half of the labels', () => {
    const taken = stored(desiredAlias('reviews'), { labels: {}, ownerReferences: [] })
    const other = stored(desiredMesh(15010), { name: 'weft-controller', labels: managedBy })
    const copied = stored(desiredAlias('reviews'), {
      ...{ name: 'copy', labels: { 'weft.dev/service': 'reviews' } },
    })
    expect(steps(planServices([desiredAlias('reviews')], world(taken, other, copied), mesh))).to.deep.equal({})
    expect([taken, other, copied].map((each) => isOurs(each, mesh))).to.deep.equal([false, false, false])
  })

  const shadow = () => {
    const desired = desiredMesh(5432)
    const annotations = { 'weft.dev/uid': 'uid-db' }
    desired.metadata = { ...desired.metadata, name: 'db-1', labels: standing('db'), annotations }
    return desired
  }

  for (const [what, desired] of [
    ['the mesh Service', desiredMesh(80)],
    ['an alias', desiredAlias('reviews')],
    ['a shadow Service', shadow()],
  ] as const) {
    it(`gives ${what} its labels back`, () => {
      const actual = world(stored(desiredMesh(80)), stored(desired, { labels: { team: 'x' } }))
      const plan = planServices([desiredMesh(80), desired], actual, mesh)
      const [step] = [...plan.addresses, ...plan.aliases]
      if (step?.verb !== 'replace') throw new Error(JSON.stringify(steps(plan)))
      expect(step.body.metadata.labels).to.deep.equal({ ...desired.metadata.labels, team: 'x' })
    })
  }

  it('makes a mesh Service that became a NodePort a ClusterIP again, with its address', () => {
    const actual = stored(desiredMesh(80))
    actual.spec = { ...actual.spec, type: 'NodePort', ports: [{ ...actual.spec.ports![0]!, nodePort: 30_080 }] }
    const [step] = planServices([desiredMesh(80)], world(actual), mesh).addresses
    if (step?.verb !== 'replace') throw new Error('not replaced')
    expect(step.body.spec).to.include({ type: 'ClusterIP', clusterIP: '10.96.0.7' })
    expect(step.body.spec.ports![0]).to.not.have.property('nodePort')
  })

  it('waits for what is being deleted', () => {
    const going = { deletionTimestamp: '2026-01-01T00:00:00Z' }
    expect(steps(planServices([], world(stored(desiredAlias('reviews'), going)), mesh))).to.deep.equal({})
    const wanted = planServices([desiredAlias('reviews')], world(stored(desiredAlias('reviews'), going)), mesh)
    expect(steps(wanted)).to.deep.equal({})
  })

  it('deletes one of ours whose type is wrong; the next pass creates it anew', () => {
    const actual = stored(desiredMesh(80))
    actual.metadata = { ...actual.metadata, name: 'reviews-mesh', namespace: 'shop', labels: standing('reviews') }
    expect(steps(planServices([desiredAlias('reviews')], world(actual), mesh))).to.deep.equal({
      cleanup: ['delete shop/reviews-mesh'],
    })
  })
})
