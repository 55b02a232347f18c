// What the manifests promise: least rights, updates without a gap, labels.

import { execFileSync } from 'node:child_process'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { root } from '../../../scripts/local/environment.ts'
import { type Manifest, readManifests } from '../../../scripts/local/manifests.ts'
import type { PodSpec } from '../../../scripts/local/objects.ts'

interface Security {
  runAsNonRoot?: boolean
  runAsUser?: number
  seccompProfile?: { type: string }
  allowPrivilegeEscalation?: boolean
  readOnlyRootFilesystem?: boolean
  privileged?: boolean
  capabilities?: { drop?: string[]; add?: string[] }
}

interface Workload extends Manifest {
  spec: {
    template: { metadata: { labels: Record<string, string> }; spec: PodSpec }
    updateStrategy?: { rollingUpdate?: { maxSurge?: number; maxUnavailable?: number } }
  }
}

const base = readManifests(join(root, 'manifests/base'))
const shop = readManifests(join(root, 'manifests/examples/shop'))
const workloads = [...base, ...shop].filter(
  (object): object is Workload => object.kind === 'Deployment' || object.kind === 'DaemonSet',
)
const find = (kind: string, name: string) =>
  base.find((object) => object.kind === kind && object.metadata.name === name) as Workload

describe('manifests', () => {
  for (const { kind, metadata, spec } of workloads) {
    it(`${kind} ${metadata.namespace}/${metadata.name} passes the restricted Pod Security Standard, read-only root included`, () => {
      const pod = spec.template.spec
      const security = pod['securityContext'] as Security
      expect(security).to.deep.include({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } })
      expect(security.runAsUser).to.be.above(0)
      for (const field of ['hostNetwork', 'hostPID', 'hostIPC']) expect(pod).to.not.have.property(field)
      for (const volume of pod.volumes ?? []) {
        const [kind] = Object.keys(volume).filter((key) => key !== 'name')
        expect(kind).to.be.oneOf(['configMap', 'emptyDir', 'projected'])
      }
      for (const container of pod.containers) {
        const own = (container as unknown as { securityContext: Security }).securityContext
        expect(own).to.deep.equal({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        })
        for (const port of container.ports ?? []) expect(port).to.not.have.property('hostPort')
      }
    })

    it(`${kind} ${metadata.namespace}/${metadata.name} states requests and probes`, () => {
      for (const container of spec.template.spec.containers) {
        expect(container.resources?.requests).to.have.all.keys('cpu', 'memory')
        expect(container.readinessProbe, 'readiness').to.not.equal(undefined)
        expect(container.startupProbe, 'startup').to.not.equal(undefined)
      }
    })
  }

  it('give the agent no rights in Kubernetes, and no token that the API accepts', () => {
    const subjects = base
      .filter(({ kind }) => kind.endsWith('RoleBinding'))
      .flatMap((binding) => binding['subjects'] as { name: string }[])
    expect(subjects.map(({ name }) => name)).to.deep.equal(['weft-controller', 'weft-controller'])
    const { spec } = find('DaemonSet', 'weft-agent')
    expect(spec.template.spec.automountServiceAccountToken).to.equal(false)
    const sources = spec.template.spec.volumes?.flatMap(({ projected }) => projected?.sources ?? [])
    expect(sources?.map(({ serviceAccountToken }) => serviceAccountToken?.audience)).to.deep.equal(['weft-authority'])
  })

  it('limit heaps by the memory limit, in the way that Node knows, and CPU not at all', () => {
    for (const [kind, name] of [
      ['DaemonSet', 'weft-agent'],
      ['Deployment', 'weft-controller'],
    ] as const) {
      const { containers } = find(kind, name).spec.template.spec
      expect(Object.keys(containers[0]!.resources!.limits!), name).to.deep.equal(['memory'])
      const options = containers[0]!.env!.find((each) => each.name === 'NODE_OPTIONS')!.value!
      expect(options).to.match(/^--max-old-space-size-percentage=\d\d --max-semi-space-size=8$/)
      const script = 'require("node:v8").getHeapStatistics().heap_size_limit'
      const env = { NODE_OPTIONS: options }
      const limit = Number(execFileSync(process.execPath, ['-p', script], { env, encoding: 'utf8' }))
      const memory = process.constrainedMemory() || totalmem()
      const share = limit / Math.min(memory, totalmem())
      const wanted = Number(/percentage=(\d\d)/.exec(options)![1]) / 100
      expect(share, options).to.be.closeTo(wanted, 0.1)
    }
  })

  it('replace agents without a gap, on every node, with time to drain', () => {
    const { spec } = find('DaemonSet', 'weft-agent')
    expect(spec.updateStrategy?.rollingUpdate).to.deep.equal({ maxSurge: 1, maxUnavailable: 0 })
    expect(spec.template.spec).to.deep.include({
      terminationGracePeriodSeconds: 60,
      priorityClassName: 'system-node-critical',
      tolerations: [{ operator: 'Exists' }],
    })
  })

  it('let the controller write nothing but Services, locks, Events and status outside its namespace', () => {
    const role = base.find(({ kind }) => kind === 'ClusterRole')!
    const rules = role['rules'] as { resources: string[]; verbs: string[] }[]
    const readOnly = new Set(['get', 'list', 'watch'])
    const written = rules
      .filter(({ verbs }) => verbs.some((verb) => !readOnly.has(verb)))
      .flatMap(({ resources }) => resources)
    const status = ['trafficsplits', 'traffictargets', 'httproutegroups', 'tcproutes', 'udproutes'].map(
      (one) => `${one}/status`,
    )
    expect(written).to.have.members([
      'services',
      // Locks.
      'networkpolicies',
      'events',
      ...status,
      // The root in our own webhook, by name.
      'validatingwebhookconfigurations',
      'tokenreviews',
    ])
    expect(rules.flatMap(({ resources, verbs }) => [...resources, ...verbs])).to.not.include('*')
  })

  it('label what belongs to the mesh', () => {
    const own = base.filter(({ kind }) => kind !== 'CustomResourceDefinition')
    for (const { kind, metadata } of own) {
      const labels = metadata['labels'] as Record<string, string>
      expect(labels, `${kind} ${metadata.name}`).to.include({ 'app.kubernetes.io/part-of': 'weft' })
      expect(labels, `${kind} ${metadata.name}`).to.have.property('app.kubernetes.io/name')
    }
  })

  it('divide traffic between Services that the shop has', () => {
    const files = ['shop/split.yaml', 'reviews-canary.yaml', 'reviews-split.yaml']
    const services = shop.filter(({ kind }) => kind === 'Service').map(({ metadata }) => metadata.name)
    for (const file of files) {
      const [split] = readManifests(join(root, 'manifests/examples', file))
      const { service, backends } = split!.spec as { service: string; backends: { service: string; weight: number }[] }
      expect(services).to.include.members([service, ...backends.map((backend) => backend.service)])
      expect(split!.metadata).to.deep.include({ name: 'reviews', namespace: 'shop' })
    }
  })
})
