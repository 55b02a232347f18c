// Locks: which pods they close, whom they admit, and what can't be locked.

import { expect } from 'chai'
import type { NetworkPolicy } from '../../../controller/observe/objects.ts'
import { planLocks } from '../../../controller/update/lock.ts'
import { objectsOf, passOf, said, worldOf } from '../../support/world.ts'

const namespace = (lock: string, mesh = 'enabled') =>
  `{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {weft.dev/mesh: ${mesh}, weft.dev/lock: "${lock}"}}}`
const service = (name: string, spec: string, labels = '{}') =>
  `{apiVersion: v1, kind: Service, metadata: {name: ${name}, labels: ${labels}}, spec: ${spec}}`
const web = service('web', '{clusterIP: 10.96.1.1, selector: {app: web}, ports: [{port: 80}]}')

function run(...documents: string[]) {
  const world = worldOf(documents.join('\n---\n'))
  const { translation } = passOf(world)
  const { close, open } = planLocks(translation.policies, world.policies)
  return {
    policies: translation.policies,
    problems: said(translation.problems),
    steps: [...close, ...open].map(({ verb, key }) => `${verb} ${key}`),
    close,
  }
}

const foreign = (labels: string) =>
  `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: weft-lock-web, labels: ${labels}}, spec: {podSelector: {}}}`

describe('locks', () => {
  it('admit agents alone to the pods behind a Service, and go with it', () => {
    const { policies, problems, steps } = run(namespace('enabled'), web)
    expect(policies).to.deep.equal([
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: {
          name: 'weft-lock-web',
          namespace: 'shop',
          labels: {
            'app.kubernetes.io/managed-by': 'weft',
            'weft.dev/service': 'web',
            'weft.dev/namespace': 'shop',
          },
          ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name: 'web', uid: 'service-web' }],
        },
        spec: {
          podSelector: { matchLabels: { app: 'web' } },
          policyTypes: ['Ingress'],
          ingress: [
            {
              from: [
                {
                  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'weft-system' } },
                  podSelector: { matchLabels: { 'app.kubernetes.io/name': 'weft-agent' } },
                },
              ],
            },
          ],
        },
      },
    ])
    expect(problems).to.deep.equal([])
    expect(steps).to.deep.equal(['create shop/weft-lock-web'])
  })

  it('are only where the label says so, and for Services in the mesh', () => {
    expect(run(namespace('disabled'), web).policies).to.deep.equal([])
    expect(run(namespace('enabled', 'disabled'), web).policies).to.deep.equal([])
    const opted = service(
      'api',
      '{clusterIP: 10.96.1.2, selector: {app: api}, ports: [{port: 80}]}',
      '{weft.dev/mesh: enabled}',
    )
    const { policies } = run(namespace('enabled', 'disabled'), web, opted)
    expect(policies.map(({ metadata }) => metadata.name)).to.deep.equal(['weft-lock-api'])
  })

  it('close on a value that can not be read, and say so', () => {
    const { policies, problems } = run(namespace('true'), web)
    expect(policies).to.have.length(1)
    expect(problems).to.deep.equal(['Namespace shop: LabelInvalid'])
  })

  it('say what can not be locked', () => {
    const bare = service('web', '{clusterIP: 10.96.1.1, ports: [{port: 80}]}')
    expect(run(namespace('enabled'), bare)).to.deep.include({ policies: [], problems: ['Service web: LockImpossible'] })
    expect(run(namespace('enabled'), web, foreign('{}'))).to.deep.include({
      policies: [],
      problems: ['Service web: LockNameTaken'],
      steps: [],
    })
  })

  it('are repaired when edited, without taking what others added', () => {
    const ours = '{app.kubernetes.io/managed-by: weft, weft.dev/service: web, weft.dev/namespace: shop, team: a}'
    const { steps, close } = run(namespace('enabled'), web, foreign(ours))
    expect(steps).to.deep.equal(['replace shop/weft-lock-web'])
    const [step] = close
    if (step?.verb !== 'replace') throw new Error('no replacement')
    expect(step.body.spec?.podSelector).to.deep.equal({ matchLabels: { app: 'web' } })
    expect(step.body.metadata.labels).to.include({ team: 'a' })
    const after = worldOf([namespace('enabled'), web].join('\n---\n'))
    const { policies } = passOf(after).translation
    const { close: none } = planLocks(policies, new Map([['shop/weft-lock-web', step.body]]))
    expect(none).to.deep.equal([])
  })

  it('are known by their owner where somebody took the labels off', () => {
    const stripped = foreign('{}').replace(
      'labels: {}',
      'ownerReferences: [{apiVersion: v1, kind: Service, name: web, uid: service-web}]',
    )
    expect(run(namespace('enabled'), web, stripped)).to.deep.include({
      problems: [],
      steps: ['replace shop/weft-lock-web'],
    })
    expect(run(namespace('disabled'), web, stripped).steps).to.deep.equal(['delete shop/weft-lock-web'])
    const other = stripped.replace('name: weft-lock-web', 'name: mine')
    expect(run(namespace('disabled'), web, other).steps).to.deep.equal([])
  })

  it('go with the label, and no other policy does', () => {
    const ours = '{app.kubernetes.io/managed-by: weft, weft.dev/service: web, weft.dev/namespace: shop}'
    expect(run(namespace('disabled'), web, foreign(ours)).steps).to.deep.equal(['delete shop/weft-lock-web'])
    expect(run(namespace('disabled'), web, foreign('{}')).steps).to.deep.equal([])
    const installed = foreign('{app.kubernetes.io/managed-by: weft}')
    expect(planLocks([], new Map([['a/b', objectsOf(installed)[0] as NetworkPolicy]])).open).to.deep.equal([])
  })
})
