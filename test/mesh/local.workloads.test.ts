// The stand-ins for kubelet and workload controllers, with real processes under load.

import { existsSync, readFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import type { LocalMesh } from '../../scripts/local/mesh.ts'
import { type DaemonSet, type Deployment, isReady, type Pod } from '../../scripts/local/objects.ts'
import { startLoad } from '../support/load.ts'
import { startTestMesh } from '../support/localmesh.ts'
import { until } from '../support/until.ts'

const labels = { app: 'ratings' }

/** What a pod writes about the files that it was given as arguments. */
const fileScript = `
const { readFileSync } = require('node:fs')
const [token, mode, word] = process.argv.slice(1).map((file) => readFileSync(file, 'utf8'))
const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))
console.log(JSON.stringify({
  audience: claims.aud,
  pod: claims['kubernetes.io'].pod.name,
  mode,
  word,
  variable: process.env.WORD,
  kubeconfig: readFileSync(process.env.KUBECONFIG, 'utf8').length > 100,
}))`

function workload(kind: 'Deployment' | 'DaemonSet', name: string, spec: object, pod: object = {}): string {
  const container = {
    name: 'main',
    image: 'none',
    command: ['node', 'scripts/demo/shop.ts', 'ratings'],
    env: [{ name: 'SHOP_LINGER_MS', value: '600' }],
    ports: [{ name: 'http', containerPort: 9080 }],
    startupProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1, failureThreshold: 30 },
    readinessProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1 },
    ...pod,
  }
  const template = { metadata: { labels: { app: name } }, spec: { containers: [container] } }
  const selector = { matchLabels: { app: name } }
  return JSON.stringify({
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, namespace: 'default' },
    spec: { selector, template, ...spec },
  })
}

describe('mesh: local workloads', function () {
  this.timeout(60_000)
  let mesh: LocalMesh

  before(async () => {
    mesh = await startTestMesh({ mesh: false, demo: false, nodes: 2 })
    const ports = [{ name: 'http', port: 9080, targetPort: 'http' }]
    const metadata = { name: 'ratings', namespace: 'default' }
    mesh.apply(JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata, spec: { selector: labels, ports } }))
    mesh.apply(workload('Deployment', 'ratings', { replicas: 2 }))
    await mesh.ready()
  })
  after(() => mesh.stop())

  const pods = (name = 'ratings') => mesh.pods('default', { app: name })
  const alive = () => pods().filter((pod) => !pod.metadata.deletionTimestamp)

  function change(update: (deployment: Deployment) => void): void {
    const copy = structuredClone(mesh.cluster.get<Deployment>('deployments', 'default', 'ratings')!)
    update(copy)
    mesh.cluster.update('deployments', copy)
  }

  function load() {
    const host = mesh.clusterIP('default', 'ratings')!
    return startLoad({ host, port: 9080, path: '/ratings/0', callers: 4, pauseMs: 2 })
  }

  it('spreads pods over nodes and writes their status', () => {
    expect(new Set(pods().map((pod) => pod.spec.nodeName))).to.deep.equal(new Set(['node1', 'node2']))
    for (const { status, spec } of pods()) {
      expect(mesh.plan.nodeOf(status!.podIP!)).to.equal(spec.nodeName)
      expect(status).to.include({ phase: 'Running' })
      expect(status!.containerStatuses![0]).to.include({ ready: true, restartCount: 0 })
    }
  })

  it('keeps what containers write, for kubectl logs too', async () => {
    const [pod] = pods()
    const file = join(mesh.logFolder, `default_${pod!.metadata.name}_main.log`)
    expect(readFileSync(file, 'utf8')).to.match(/ratings v1 listens on/)
  })

  it('scales up and down without a failed request', async () => {
    const calls = load()
    change(({ spec }) => {
      spec.replicas = 4
    })
    await mesh.ready()
    expect(pods()).to.have.lengthOf(4)
    change(({ spec }) => {
      spec.replicas = 1
    })
    await until(() => pods().length === 1, 'the end of three pods', 20_000)
    const before = calls.succeeded()
    await until(() => calls.succeeded() > before + 10)
    await calls.stop()
    expect(calls.failures).to.deep.equal([])
  })

  it('brings a deleted pod back without a failed request', async () => {
    change(({ spec }) => {
      spec.replicas = 2
    })
    await mesh.ready()
    const calls = load()
    const [victim] = pods()
    mesh.cluster.remove('pods', victim!.metadata)
    await until(() => !pods().some(({ metadata }) => metadata.uid === victim!.metadata.uid), 'its end', 20_000)
    await mesh.ready()
    await calls.stop()
    expect(calls.failures).to.deep.equal([])
    const addresses = pods().map((pod) => pod.status?.podIP)
    expect(addresses, 'an address is not used again soon').to.have.lengthOf(2).and.not.include(victim!.status!.podIP)
  })

  it('rolls a new template out, new pods first, without a failed request', async () => {
    const calls = load()
    const old = new Set(alive().map(({ metadata }) => metadata.uid))
    let least = Number.POSITIVE_INFINITY
    const unwatch = mesh.cluster.watch(['pods'], () => {
      least = Math.min(least, alive().filter(isReady).length)
    })
    change(({ spec }) => {
      spec.template.spec.containers[0]!.args = ['--version=v2']
    })
    await until(() => pods().length === 2 && pods().every(({ metadata }) => !old.has(metadata.uid)), 'new pods', 40_000)
    unwatch()
    await mesh.ready()
    await calls.stop()
    expect(least).to.be.at.least(2)
    expect(calls.failures).to.deep.equal([])
    const response = await new Promise<http.IncomingMessage>((resolve) => {
      http.get({ host: mesh.clusterIP('default', 'ratings'), port: 9080, path: '/ratings/0' }, resolve)
    })
    await text(response)
    expect(response.headers['x-shop-service']).to.equal('ratings-v2')
  })

  it('restarts a process that was killed, in the same pod', async () => {
    const [pod] = pods()
    const [status] = pod!.status!.containerStatuses!
    process.kill(Number(status!.containerID!.replace('process://', '')), 'SIGKILL')
    const current = () => mesh.cluster.get<Pod>('pods', 'default', pod!.metadata.name)!
    await until(() => current().status!.containerStatuses![0]!.restartCount === 1)
    await until(() => isReady(current()))
    expect(current().status!.podIP).to.equal(pod!.status!.podIP)
    expect(current().status!.containerStatuses![0]!.lastState.terminated).to.include({ exitCode: 137 })
  })

  it('runs a DaemonSet on every node and replaces pods after their successors are ready', async () => {
    const strategy = { updateStrategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } }
    mesh.apply(workload('DaemonSet', 'each', strategy))
    await mesh.ready()
    const first = pods('each')
    expect(first.map((pod) => pod.spec.nodeName).sort()).to.deep.equal(['node1', 'node2'])
    let least = Number.POSITIVE_INFINITY
    const unwatch = mesh.cluster.watch(['pods'], () => {
      for (const node of mesh.plan.nodes) {
        least = Math.min(least, pods('each').filter((pod) => pod.spec.nodeName === node && isReady(pod)).length)
      }
    })
    const set = structuredClone(mesh.cluster.get<DaemonSet>('daemonsets', 'default', 'each')!)
    set.spec.template.spec.containers[0]!.args = ['--version=v2']
    mesh.cluster.update('daemonsets', set)
    const old = new Set(first.map(({ metadata }) => metadata.uid))
    const isDone = () => pods('each').length === 2 && pods('each').every(({ metadata }) => !old.has(metadata.uid))
    await until(isDone, 'two new pods', 40_000)
    unwatch()
    expect(least).to.be.at.least(1)
    mesh.cluster.remove('daemonsets', set.metadata)
    await until(() => pods('each').length === 0, 'the end of its pods', 20_000)
  })

  it('gives pods config maps, secrets, tokens and a kubeconfig as files, once they are there', async () => {
    const metadata = { name: 'files', namespace: 'default' }
    mesh.apply(JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata, stringData: { word: 'hush' } }))
    const spec = {
      restartPolicy: 'Never',
      containers: [
        {
          name: 'main',
          image: 'none',
          command: ['node', '-e', fileScript, '/tokens/a', '/config/mode', '/secret/word'],
          env: [{ name: 'WORD', valueFrom: { secretKeyRef: { name: 'files', key: 'word' } } }],
          volumeMounts: [
            { name: 'config', mountPath: '/config' },
            { name: 'secret', mountPath: '/secret' },
            { name: 'tokens', mountPath: '/tokens' },
          ],
        },
      ],
      volumes: [
        { name: 'config', configMap: { name: 'files' } },
        { name: 'secret', secret: { secretName: 'files' } },
        {
          name: 'tokens',
          projected: {
            sources: [{ serviceAccountToken: { path: 'a', audience: 'weft-authority', expirationSeconds: 600 } }],
          },
        },
      ],
    }
    mesh.apply(JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec }))
    const current = () => mesh.cluster.get<Pod>('pods', 'default', 'files')
    const waiting = () => current()?.status?.containerStatuses?.[0]?.state.waiting
    await until(() => waiting()?.message === 'volume config: no configmap files', 'the wait for the ConfigMap')
    mesh.apply(JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { mode: 'fast' } }))
    await until(() => current()?.status?.phase === 'Succeeded', 'the end of the pod')
    const log = readFileSync(join(mesh.logFolder, 'default_files_main.log'), 'utf8')
    expect(JSON.parse(log)).to.deep.equal({
      audience: ['weft-authority'],
      pod: 'files',
      mode: 'fast',
      word: 'hush',
      variable: 'hush',
      kubeconfig: true,
    })
    mesh.cluster.remove('pods', metadata)
    await until(() => current() === undefined)
    expect(existsSync(join(mesh.logFolder, '..', 'pods', 'files'))).to.equal(false)
  })

  it('says in the status why a container cannot run', async () => {
    const metadata = { name: 'broken', namespace: 'default' }
    const containers = [{ name: 'main', image: 'none' }]
    mesh.apply(JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers } }))
    const state = () => mesh.cluster.get<Pod>('pods', 'default', 'broken')?.status?.containerStatuses?.[0]?.state
    await until(() => state()?.waiting?.reason === 'CreateContainerConfigError')
    expect(state()?.waiting?.message).to.match(/states no command/)
    mesh.cluster.remove('pods', metadata)
    await until(() => state() === undefined)
  })
})
