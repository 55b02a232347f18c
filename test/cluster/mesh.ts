// The mesh and the shop on the cluster under test: put there once for all suites of a run, as users would. The shop's pods are
// pinned, so that suites know which way a request takes.

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { stringify } from 'yaml'
import { root } from '../../scripts/local/environment.ts'
import { type Manifest, readManifests } from '../../scripts/local/manifests.ts'
import { until } from '../support/until.ts'
import { apply, type Body, kubectl, list, pods, type Ran, rolledOut, run, weft } from './kubectl.ts'

export const agentLabel = 'app.kubernetes.io/name=weft-agent'
export const controllerLabel = 'app.kubernetes.io/name=weft-controller'
/** The image of agents, controller and shop; it must be where the nodes find it. */
export const image = process.env['WEFT_IMAGE'] || 'weft:dev'
/** What the shop's clients call. */
export const reviews = 'http://reviews-mesh:9080/reviews/0'

/** Where everything is. */
export interface Installed {
  /** What applying the mesh said. */
  applied: Ran
  /** From applying it to everything being ready. */
  readyMs: number
  /** The folder that was applied: `kubectl apply -k`. */
  manifests: string
  /** All nodes. */
  nodes: string[]
  /** The node of productpage, details, ratings and reviews v2, … */
  here: string
  /** … and that of reviews v1 and v3. */
  there: string
}

let installed: Promise<Installed> | undefined
let dnsData: object | undefined

/** What stood in CoreDNS's ConfigMap before there was a mesh. */
export function originalDns(): object | undefined {
  return dnsData
}

/** Gives a suite the mesh: installs it before the first of them. */
export function withMesh(): () => Installed {
  let found: Installed | undefined
  before(async function () {
    this.timeout(240_000)
    installed ??= install()
    found = await installed
  })
  return () => {
    if (found === undefined) throw new Error('the mesh is there only while tests run')
    return found
  }
}

async function install(): Promise<Installed> {
  if (!process.env['KUBECONFIG']) throw new Error('KUBECONFIG must name the cluster that the mesh is tested on')
  const nodes: string[] = (await list('', 'nodes')).map(({ metadata }) => metadata.name)
  const [here, there] = nodes
  if (here === undefined || there === undefined) throw new Error('the cluster needs two nodes')
  const namespaces: string[] = (await list('', 'namespaces')).map(({ metadata }) => metadata.name)
  for (const name of ['weft-system', 'shop']) {
    if (namespaces.includes(name)) throw new Error(`the cluster has a namespace ${name}: name one that nobody uses`)
  }
  const [dns] = await list('kube-system', 'configmaps', '--field-selector=metadata.name=coredns')
  dnsData = dns?.data
  const manifests = manifestsOf(image)
  const start = performance.now()
  const applied = await run('kubectl', ['apply', '-k', manifests])
  if (applied.code !== 0) throw new Error(applied.errors)
  await rolledOut('weft-system', 'deployment/weft-controller')
  await rolledOut('weft-system', 'daemonset/weft-agent')
  return { applied, readyMs: performance.now() - start, manifests, nodes, here, there }
}

/** The folder to apply for an image: the base, or an overlay that names the image. */
export function manifestsOf(name: string, folder = join(root, 'manifests/base')): string {
  if (name === '' || name === 'weft:dev') return folder
  const overlay = mkdtempSync(join(tmpdir(), 'weft-cluster-'))
  const tag = name.lastIndexOf(':')
  const images = [{ name: 'weft', newName: name.slice(0, tag), newTag: name.slice(tag + 1) }]
  writeFileSync(join(overlay, 'kustomization.yaml'), stringify({ resources: [relative(overlay, folder)], images }))
  return overlay
}

/** Prints a figure that README may quote, in the report of the tests. */
export function figure(what: string, value: string | number): void {
  console.log(`      figure: ${what}: ${value}`)
}

/** Puts the shop on the cluster, pinned to nodes. */
export async function openShop({ here, there }: Installed): Promise<void> {
  const objects = readManifests(join(root, 'manifests/examples/shop'))
  const isFar = (name: string) => name === 'reviews-v1' || name === 'reviews-v3'
  await apply(...objects.map((object) => pin(object, isFar(object.metadata.name) ? there : here)))
  const deployments = objects.filter(({ kind }) => kind === 'Deployment').map(({ metadata }) => metadata.name)
  for (const name of deployments) await rolledOut('shop', `deployment/${name}`)
}

function pin(object: Manifest, node: string): Manifest {
  if (object.kind !== 'Deployment') return object
  const copy = structuredClone(object) as Body
  copy.spec.template.spec.nodeSelector = { 'kubernetes.io/hostname': node }
  // Waiting for the first call of a probe is most of what a suite would wait for.
  for (const container of copy.spec.template.spec.containers) {
    container.readinessProbe.periodSeconds = 1
    container.image = image
  }
  return copy
}

/** Lets the cluster's DNS know the mesh domain; a Service must be in the mesh, for the kubelet takes a minute to tell CoreDNS. */
export async function openNames(): Promise<void> {
  const { code, out, errors } = await weft('dns', 'install', '--yes')
  if (code !== 0) throw new Error(`weft dns install: ${errors}${out}`)
}

/** What `weft check` finds, but for what it can't see on clusters whose kube-proxy is no pod. */
export async function troubles(): Promise<string[]> {
  const { out } = await weft('check', '-o', 'short')
  return out.split('\n').filter((line) => /^[‼×]/.test(line) && !line.includes('kube-proxy was not found'))
}

/** Resolves when it finds nothing. */
export async function untilWell(): Promise<void> {
  let found: string[] = []
  const isWell = async () => {
    found = await troubles()
    return found.length === 0
  }
  await until(isWell, () => `weft check without a finding: ${found.join('\n')}`, 20_000)
}

/** The split between two versions of reviews, in percent. */
export function split(v1: number, v2: number): object {
  return {
    apiVersion: 'split.smi-spec.io/v1alpha4',
    kind: 'TrafficSplit',
    metadata: { name: 'reviews', namespace: 'shop' },
    spec: {
      service: 'reviews',
      backends: [
        { service: 'reviews-v1', weight: v1 },
        { service: 'reviews-v2', weight: v2 },
      ],
    },
  }
}

/** The agent of a node. */
export async function agentOn(node: string): Promise<Body> {
  const agents = await pods('weft-system', agentLabel)
  const found = agents.find(({ spec }) => spec.nodeName === node)
  if (found === undefined) throw new Error(`no agent on ${node}`)
  return found
}

/** What the agents of a node have counted: the sum of a metric over the series with all of these labels. */
export async function metric(node: string, name: string, labels: Record<string, string> = {}): Promise<number> {
  const { metadata } = await agentOn(node)
  const path = `/api/v1/namespaces/weft-system/pods/${metadata.name}:15020/proxy/metrics`
  const lines = (await kubectl(['get', '--raw', path])).split('\n')
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
  return lines
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => wanted.every((pair) => line.includes(pair)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}
