// The Helm chart and the manifests that kubectl makes, compared as objects. Needs Helm (scripts/manifests/helm builds one, which
// takes minutes the first time) and kubectl, but no cluster.

import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { parse } from 'yaml'
import { root } from '../../scripts/local/environment.ts'
import { type Manifest, parseManifests } from '../../scripts/local/manifests.ts'

const chart = join(root, 'manifests/chart')

/** Objects by kind and name, without the one label that names the tool. */
function byName(objects: Manifest[]): Map<string, Manifest> {
  const named = objects.map((object) => {
    const text = JSON.stringify(object).replaceAll(/"app\.kubernetes\.io\/managed-by":"(kubectl|Helm)",?/g, '')
    return [`${object.kind} ${object.metadata.name}`, JSON.parse(text.replaceAll(',}', '}'))] as const
  })
  return new Map(named.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function kustomize(folder: string): Map<string, Manifest> {
  const text = execFileSync('kubectl', ['kustomize', join(root, folder)], { encoding: 'utf8', maxBuffer: 1 << 26 })
  return byName(parseManifests(text))
}

const isKind = (name: string) => name.startsWith('CustomResourceDefinition ')

describe('the chart', function () {
  this.timeout(30_000)
  let helm = ''

  before(function () {
    this.timeout(900_000)
    helm = execFileSync(join(root, 'scripts/manifests/helm'), { encoding: 'utf8' }).trim()
  })

  /** What `helm template` says, with values as for --set. */
  function render(values: string[], more: string[] = []): { objects: Map<string, Manifest>; errors: string } {
    const sets = values.flatMap((value) => ['--set-json', value])
    const args = ['template', 'weft', chart, '--namespace', 'weft-system', '--kube-version', '1.30.0', ...more, ...sets]
    const { stdout, stderr } = spawnSync(helm, args, { encoding: 'utf8', maxBuffer: 1 << 26 })
    return { objects: byName(parseManifests(stdout)), errors: stderr }
  }

  it('passes its own linter', () => {
    const { status, stdout } = spawnSync(helm, ['lint', '--strict', chart], { encoding: 'utf8' })
    expect(status, stdout).to.equal(0)
  })

  it('is manifests/base, but for the namespace, which Helm makes itself', () => {
    const base = kustomize('manifests/base')
    const { objects, errors } = render([], ['--include-crds'])
    expect(errors).to.equal('')
    const namespace = 'Namespace weft-system'
    expect([...objects.keys()]).to.deep.equal([...base.keys()].filter((name) => name !== namespace))
    for (const [name, object] of objects) expect(object, name).to.deep.equal(base.get(name))
    const { objects: whole } = render(['namespace.create=true'], ['--include-crds'])
    expect(whole.get(namespace)).to.deep.equal(base.get(namespace))
  })

  it('can be overlays/restricted', () => {
    const restricted = kustomize('manifests/overlays/restricted')
    const values = ['mesh.defaultAccess="deny"', 'agent.accessLog=true', 'networkPolicies.strict=true']
    const { objects, errors } = render([...values, 'namespace.create=true'])
    expect(errors).to.equal('')
    expect([...objects.keys()]).to.deep.equal([...restricted.keys()].filter((name) => !isKind(name)))
    for (const [name, object] of objects) expect(sorted(object), name).to.deep.equal(sorted(restricted.get(name)!))
  })

  it('can be overlays/ha', () => {
    const ha = kustomize('manifests/overlays/ha')
    const controller = '"cpu":"500m","memory":"512Mi"},"limits":{"memory":"2Gi"}'
    const agent = '"cpu":"2","memory":"256Mi"},"limits":{"memory":"1536Mi"}'
    const { objects } = render([
      `controller={"replicas":3,"minAvailable":2,"spreadOverNodes":"DoNotSchedule","resources":{"requests":{${controller}}}`,
      `agent={"resources":{"requests":{${agent}}}`,
    ])
    expect(objects.size).to.be.above(10)
    for (const [name, object] of objects) expect(object, name).to.deep.equal(ha.get(name))
  })

  it('has the optional objects of manifests/components', () => {
    const { objects } = render(['prometheus.podMonitor.enabled=true', 'criticalPodsQuota.enabled=true'])
    for (const name of ['PodMonitor weft', 'ResourceQuota weft-critical-pods']) {
      const folder = name.startsWith('Pod') ? 'podmonitor' : 'critical-pods'
      expect(objects.get(name), name).to.deep.equal(kustomize(`manifests/components/${folder}`).get(name))
    }
  })

  it('leaves out what is switched off', () => {
    const off = ['dns', 'admission', 'controllerGuard', 'networkPolicies'].map((part) => `${part}.enabled=false`)
    const { objects } = render([...off, 'controller.minAvailable=0', 'prometheus.annotations=false'])
    const kinds = new Set([...objects.keys()].map((name) => name.split(' ')[0]))
    expect([...kinds].filter((kind) => /Policy|Webhook|Budget/.test(kind!))).to.deep.equal([])
    expect(objects.has('Service weft-dns')).to.equal(false)
    expect(JSON.stringify([...objects.values()])).to.not.include('prometheus.io')
  })

  it('hands each value to the program that it is for', () => {
    const values = {
      'mesh.clusterDomain': 'corp.test',
      'mesh.trustDomain': 'mesh.test',
      'mesh.domain': 'mesh.corp',
      'mesh.aliasSuffix': '-w',
      'mesh.ports': '20000-20999',
      'mesh.certificateLifetime': '12h',
      'mesh.foreignCidrs': ['192.0.2.0/24'],
      'controller.logLevel': 'debug',
      'agent.dataThreads': 3,
      'agent.minReadySeconds': 12,
      'agent.terminationGracePeriodSeconds': 120,
      'agent.env': [{ name: 'WEFT_RETRIES', value: '2' }],
    }
    const { objects, errors } = render(
      Object.entries(values).map(([name, value]) => `${name}=${JSON.stringify(value)}`),
    )
    expect(errors).to.equal('')
    expect(variables(objects.get('Deployment weft-controller')!)).to.include({
      WEFT_CLUSTER_DOMAIN: 'corp.test',
      WEFT_TRUST_DOMAIN: 'mesh.test',
      WEFT_MESH_DOMAIN: 'mesh.corp',
      WEFT_ALIAS_SUFFIX: '-w',
      WEFT_MESH_PORTS: '20000-20999',
      WEFT_CERTIFICATE_LIFETIME: '12h',
      WEFT_FOREIGN_CIDRS: '192.0.2.0/24',
      WEFT_LOG_LEVEL: 'debug',
    })
    expect(variables(objects.get('DaemonSet weft-agent')!)).to.include({
      WEFT_MESH_PORTS: '20000-20999',
      WEFT_DATA_THREADS: '3',
      WEFT_DRAIN_DEADLINE: '115s',
      WEFT_RETRIES: '2',
    })
    expect(objects.get('DaemonSet weft-agent')!.spec).to.include({ minReadySeconds: 12 })
    const guard = JSON.stringify(objects.get('ValidatingAdmissionPolicy weft-controller'))
    expect(guard).to.include(".weft-system.svc.corp.test'").and.not.include('cluster.local')
  })

  it('follows its release to another namespace', () => {
    const { objects } = render(['namespace.create=true', 'mesh.clusterDomain="corp.test"'], ['--namespace', 'mesh'])
    expect(JSON.stringify([...objects.values()])).to.not.include('weft-system')
  })

  it('takes an image by digest, from where only a Secret lets in', () => {
    const digest = `sha256:${'0123456789abcdef'.repeat(4)}`
    const { objects } = render([`image={"digest":"${digest}","pullSecrets":["pull"],"pullPolicy":"Always"}`])
    for (const name of ['Deployment weft-controller', 'DaemonSet weft-agent']) {
      const { template } = objects.get(name)!.spec as { template: { spec: Record<string, unknown> } }
      expect(template.spec['imagePullSecrets'], name).to.deep.equal([{ name: 'pull' }])
      const image = { image: `weft@${digest}`, imagePullPolicy: 'Always' }
      expect((template.spec['containers'] as object[])[0], name).to.deep.include(image)
    }
  })

  for (const [value, complaint] of [
    ['agents.accessLog=true', /agents/],
    ['agent.acceslog=true', /acceslog/],
    ['controller.replicas="two"', /controller.*replicas|replicas/],
    ['mesh.defaultAccess="closed"', /defaultAccess/],
    ['image.digest="latest"', /digest/],
  ] as const) {
    it(`refuses ${value}, and names it`, () => {
      const { errors, objects } = render([value])
      expect(objects.size).to.equal(0)
      expect(errors).to.match(complaint)
    })
  }

  it('ends its notes with the next command', () => {
    // Helm shows notes only after asking a cluster: here they are rendered as part of an object.
    const copy = mkdtempSync(join(tmpdir(), 'weft-chart-'))
    cpSync(chart, copy, { recursive: true })
    renameSync(join(copy, 'templates/NOTES.txt'), join(copy, 'NOTES.txt'))
    writeFileSync(join(copy, 'templates/notes.yaml'), 'notes: {{ tpl (.Files.Get "NOTES.txt") . | toJson }}')
    const args = ['template', 'weft', copy, '--show-only', 'templates/notes.yaml', '--kube-version', '1.30.0']
    const notes = (more: string[]) => {
      const { stdout, stderr } = spawnSync(helm, [...args, ...more], { encoding: 'utf8' })
      expect(stderr).to.equal('')
      return (parse(stdout) as { notes: string }).notes
    }
    const last = (text: string) => text.trim().split('\n').at(-1)
    expect(last(notes(['--namespace', 'weft-system']))).to.equal('  npx weft check --wait 2m')
    expect(last(notes(['--namespace', 'mesh']))).to.equal('  npx weft check --wait 2m --mesh-namespace mesh')
    expect(notes(['--namespace', 'mesh'])).to.include('kubectl label --overwrite namespace mesh pod-security')
    expect(notes(['--set', 'namespace.create=true'])).to.not.include('pod-security')
    rmSync(copy, { recursive: true })
  })
})

function variables(object: Manifest): Record<string, string> {
  const { template } = object.spec as {
    template: { spec: { containers: { env: { name: string; value: string }[] }[] } }
  }
  return Object.fromEntries(template.spec.containers[0]!.env.map(({ name, value }) => [name, value]))
}

/** With variables in the order of their names: a patch puts new ones first. */
function sorted(object: Manifest): Manifest {
  return JSON.parse(JSON.stringify(object), (_, value) => {
    const isList = Array.isArray(value) && value.every((each) => typeof each?.name === 'string')
    return isList ? value.toSorted((a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1)) : value
  })
}
