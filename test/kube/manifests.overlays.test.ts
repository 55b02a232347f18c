// Overlays and components as kubectl makes them, against a real API server: every field is known, their pods are admitted, and
// they say what they are for. kubectl is that of KUBEBUILDER_ASSETS.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { expect } from 'chai'
import { root } from '../../scripts/local/environment.ts'
import { type Manifest, parseManifests, readManifests } from '../../scripts/local/manifests.ts'
import type { Container, PodTemplate } from '../../scripts/local/objects.ts'
import { eachCluster } from '../support/kubecluster.ts'

const kubectl = join(process.env['KUBEBUILDER_ASSETS'] ?? '', 'kubectl')

function kustomize(folder: string): Manifest[] {
  return parseManifests(execFileSync(kubectl, ['kustomize', folder], { encoding: 'utf8', maxBuffer: 1 << 26 }))
}

const find = (objects: Manifest[], kind: string, name: string) =>
  objects.find((object) => object.kind === kind && object.metadata.name === name)

/** The container of the agents or the controller. */
function containerOf(objects: Manifest[], part: 'agent' | 'controller'): Container {
  const { spec } = find(objects, part === 'agent' ? 'DaemonSet' : 'Deployment', `weft-${part}`)!
  return (spec as { template: PodTemplate }).template.spec.containers[0]!
}

const variable = ({ env = [] }: Container, name: string) => env.find((each) => each.name === name)?.value

eachCluster(
  'manifests that kubectl makes',
  (cluster) => {
    const base = readManifests(join(root, 'manifests/base'))

    it('of base are the objects of weft.yaml', () => {
      const whole = readManifests(join(root, 'manifests/weft.yaml'))
      const made = kustomize(join(root, 'manifests/base'))
      expect(made).to.have.length(whole.length)
      for (const object of whole) {
        expect(find(made, object.kind, object.metadata.name), object.metadata.name).to.deep.equal(object)
      }
    })

    for (const overlay of ['dev', 'ha', 'restricted']) {
      it(`of overlay ${overlay} are accepted, every field of them, and their pods are admitted`, async () => {
        const objects = kustomize(join(root, 'manifests/overlays', overlay))
        const namespace = find(objects, 'Namespace', 'weft-system')!
        const made = await cluster.test.request('POST', '/api/v1/namespaces', namespace)
        expect(made.status, JSON.stringify(made.body)).to.be.oneOf([201, 409])
        for (const object of objects) {
          if (object.kind === 'Namespace' || object.kind === 'CustomResourceDefinition') continue
          const { status, body, headers } = await tried(object)
          expect(status, `${object.kind} ${object.metadata.name}: ${JSON.stringify(body)}`).to.be.oneOf([201, 409])
          expect(headers['warning'], `${object.kind} ${object.metadata.name}`).to.equal(undefined)
          const { template } = (object.spec ?? {}) as { template?: PodTemplate }
          if (!template) continue
          const metadata = { ...template.metadata, name: 'tried', namespace: object.metadata.namespace! }
          const pod = await tried({ apiVersion: 'v1', kind: 'Pod', metadata, spec: template.spec })
          expect(pod.status, `${object.metadata.name}: ${JSON.stringify(pod.body)}`).to.equal(201)
        }
      })

      it(`of overlay ${overlay} lose no port and no variable of base`, () => {
        const objects = kustomize(join(root, 'manifests/overlays', overlay))
        for (const part of ['agent', 'controller'] as const) {
          const [before, after] = [containerOf(base, part), containerOf(objects, part)]
          expect(after.ports).to.deep.equal(before.ports)
          expect(after.env).to.deep.include.members(before.env!)
        }
      })
    }

    it('of overlay dev ask for little, and let the only node be drained', () => {
      const objects = kustomize(join(root, 'manifests/overlays/dev'))
      expect(find(objects, 'Deployment', 'weft-controller')!.spec).to.include({ replicas: 1 })
      expect(find(objects, 'PodDisruptionBudget', 'weft-controller')).to.equal(undefined)
      expect(containerOf(objects, 'agent').resources?.requests).to.deep.equal({ cpu: '50m', memory: '112Mi' })
    })

    it('of overlay ha outlive a node and a drain', () => {
      const objects = kustomize(join(root, 'manifests/overlays/ha'))
      const { spec } = find(objects, 'Deployment', 'weft-controller') as unknown as {
        spec: { replicas: number; template: { spec: { topologySpreadConstraints: object[] } } }
      }
      expect(spec.replicas).to.equal(3)
      const [nodes, zones] = spec.template.spec.topologySpreadConstraints
      expect(nodes).to.include({ topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'DoNotSchedule' })
      expect(zones).to.include({ topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'ScheduleAnyway' })
      expect(find(objects, 'PodDisruptionBudget', 'weft-controller')!.spec).to.include({ minAvailable: 2 })
      expect(containerOf(objects, 'agent').resources?.limits, 'no CPU limit').to.have.all.keys('memory')
    })

    it('of overlay restricted refuse what nothing permits, log it, and name every port', () => {
      const objects = kustomize(join(root, 'manifests/overlays/restricted'))
      expect(variable(containerOf(objects, 'controller'), 'WEFT_DEFAULT_ACCESS')).to.equal('deny')
      expect(variable(containerOf(objects, 'agent'), 'WEFT_ACCESS_LOG')).to.equal('true')
      for (const policy of objects.filter(({ kind }) => kind === 'NetworkPolicy')) {
        const { policyTypes, ingress = [] } = policy.spec as { policyTypes: string[]; ingress?: { ports?: object[] }[] }
        expect(policyTypes, policy.metadata.name).to.deep.equal(['Ingress', 'Egress'])
        for (const { ports = [] } of ingress) expect(ports, policy.metadata.name).to.not.deep.equal([])
      }
    })

    it('take components and an image of your own', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'weft-overlay-'))
      const at = (path: string) => relative(folder, join(root, 'manifests', path))
      const kustomization = {
        apiVersion: 'kustomize.config.k8s.io/v1beta1',
        kind: 'Kustomization',
        resources: [at('base')],
        components: [at('components/podmonitor'), at('components/critical-pods')],
        images: [{ name: 'weft', newName: 'example.test/platform/weft', newTag: '1.2.3' }],
      }
      writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization))
      const objects = kustomize(folder)
      rmSync(folder, { recursive: true })
      for (const part of ['agent', 'controller'] as const) {
        expect(containerOf(objects, part)).to.include({ image: 'example.test/platform/weft:1.2.3' })
      }
      expect(find(objects, 'PodMonitor', 'weft')).to.not.equal(undefined)
      const quota = await tried(find(objects, 'ResourceQuota', 'weft-critical-pods')!)
      expect(quota.status, JSON.stringify(quota.body)).to.equal(201)
    })

    function tried(object: Manifest) {
      const { apiVersion, kind, metadata } = object
      const group = apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`
      const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`
      const plural = `${kind.toLowerCase()}s`.replace(/ys$/, 'ies')
      return cluster.test.request('POST', `${group}${scope}/${plural}?dryRun=All&fieldValidation=Strict`, object)
    }
  },
  { only: 'real' },
)
