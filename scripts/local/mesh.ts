// Brings up a whole mesh on loopback addresses in this process and its children: API, local controllers, kubelets, kube-proxy,
// DNS, and what the manifests say runs on them. `npm start` is one user of it, the end-to-end tests are others.

import { createWriteStream, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startApi } from './api/server.ts'
import type { Cluster } from './cluster.ts'
import { clusterOf } from './connect.ts'
import { startDns } from './dns.ts'
import { root } from './environment.ts'
import { startKubelet } from './kubelet.ts'
import { readLogs } from './logs.ts'
import { checkPort, checkSystem, takeLock } from './machine.ts'
import { applyManifests, type Manifest, parseManifests, readManifests } from './manifests.ts'
import { type AddressPlan, planAddresses } from './nodes.ts'
import { type Container, isOver, type Pod, type PodTemplate, type Service, selects } from './objects.ts'
import { startProxy } from './proxy.ts'
import { waitReady, waitServed } from './ready.ts'
import { startReaper } from './reaper.ts'
import { startSlices } from './slices.ts'
import { warm } from './warm.ts'
import { startWorkloads } from './workloads.ts'

export interface LocalOptions {
  /** Kubeconfig, logs and the pods' own folders are kept here. */
  folder: string
  nodes?: number
  /** Added to the second octet of all addresses, so that several meshes can run on one machine. */
  offset?: number
  /** 0: any. */
  apiPort?: number
  /** Without it there are no controller and no agents. */
  mesh?: boolean
  /** The bookshop. */
  demo?: boolean
  /** Data threads of each agent. */
  dataThreads?: number
  /** Where Node keeps compiled code; in the folder unless told otherwise. */
  compileCache?: string
  /** How long kube-proxy takes to follow changes. */
  proxyDelayMs?: number
  /** Changes objects of the manifests before they are applied. */
  adjust?(object: Manifest): Manifest
  /** Told what is being done, a line each. */
  progress?(line: string): void
  /** Until everything must be ready. */
  timeoutMs?: number
  /** Gives up starting. */
  signal?: AbortSignal
}

export interface LocalMesh {
  readonly apiUrl: string
  /** The file. */
  readonly kubeconfig: string
  readonly logFolder: string
  readonly cluster: Cluster
  readonly plan: AddressPlan
  /** Pods of a namespace with these labels that have not ended. */
  pods(namespace: string, labels: Record<string, string>): Pod[]
  /** A Service's address; undefined when there is none. */
  clusterIP(namespace: string, name: string): string | undefined
  /** Applies YAML text. */
  apply(yaml: string): void
  /**
   * Resolves when all workloads are up to date and ready, and kube-proxy knows.
   * @throws StartError naming those that are not when the time (60 s) is over
   */
  ready(timeoutMs?: number): Promise<void>
  /** Ends everything; pods get at most this time to end by themselves. */
  stop(graceMs?: number): Promise<void>
}

/** What pods get at most when the mesh is stopped: nobody waits for their callers any more. */
const stopGraceMs = 1000
const startTimeoutMs = 60_000

/**
 * Starts everything and waits until it is ready.
 * @throws StartError for what the user can mend; whatever was started is stopped then
 */
export async function startLocalMesh(options: LocalOptions): Promise<LocalMesh> {
  const { folder, nodes = 3, offset = 0, apiPort = 0, progress = () => {} } = options
  const plan = planAddresses(nodes, offset)
  const closers: (() => unknown)[] = []
  const stop = async () => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    return await assemble()
  } catch (error) {
    await stop()
    throw error
  }

  async function assemble(): Promise<LocalMesh> {
    await checkSystem(plan.nodeAddress(plan.nodes[0]!))
    for (const name of [`addresses ${offset}`, `folder ${folder}`]) {
      const lock = await takeLock(name, `process ${process.pid} in ${process.cwd()}`)
      closers.push(() => lock.release())
    }
    const manifests = chosen(options)
    await checkPorts(manifests, plan, apiPort)

    const logFolder = join(folder, 'log')
    const podFolder = join(folder, 'pods')
    for (const old of [logFolder, podFolder]) rmSync(old, { recursive: true, force: true })
    for (const made of [logFolder, podFolder]) mkdirSync(made, { recursive: true })

    const api = await startApi({ port: apiPort, serviceCidr: plan.serviceCidr })
    closers.push(() => api.close())
    const kubeconfig = join(folder, 'kubeconfig')
    writeFileSync(kubeconfig, api.kubeconfig(), { mode: 0o600 })
    closers.push(() => rmSync(kubeconfig, { force: true }))
    progress(`API server on ${api.url}`)

    const ownLog = createWriteStream(join(logFolder, 'local.log'))
    closers.push(() => ownLog.end())
    const log = (message: string) => ownLog.write(`${new Date().toISOString()} ${message}\n`)
    const cluster = clusterOf(api, log)
    api.provideLogs((request) => readLogs(logFolder, request))
    addNodes(cluster, plan)
    const reaper = startReaper([podFolder])
    closers.push(() => reaper.close())
    const dns = await startDns({ cluster, address: plan.dnsAddress, port: 10_053, nodeOf: plan.nodeOf })
    closers.push(() => dns.close())
    const proxy = startProxy({
      cluster,
      nodeOf: plan.nodeOf,
      log,
      ...(options.proxyDelayMs === undefined ? {} : { delayMs: options.proxyDelayMs }),
    })
    closers.push(() => proxy.close())
    closers.push(startSlices(cluster), startWorkloads(cluster))
    const compileCache = options.compileCache ?? join(folder, 'compile-cache')
    if (options.mesh !== false) await warm(compileCache)
    const kubelets = plan.nodes.map((node) =>
      startKubelet({
        cluster,
        node,
        plan,
        dnsServer: dns.address,
        folder: podFolder,
        logFolder,
        compileCache,
        reaper,
      }),
    )
    let graceMs = stopGraceMs
    closers.push(() => Promise.all(kubelets.map((kubelet) => kubelet.close(graceMs))))
    progress(`${plan.nodes.length} nodes, kube-proxy and DNS`)

    applyManifests(api.store, manifests)
    const settled = async () => {
      // The slices of what has just become ready are written a turn later.
      await sleep(1)
      await proxy.settled()
    }
    const mesh: LocalMesh = {
      apiUrl: api.url,
      kubeconfig,
      logFolder,
      cluster,
      plan,
      pods: (namespace, labels) =>
        cluster
          .list<Pod>('pods', namespace)
          .filter((pod) => selects({ matchLabels: labels }, pod.metadata.labels) && !isOver(pod)),
      clusterIP: (namespace, name) => cluster.get<Service>('services', namespace, name)?.spec.clusterIP,
      apply: (yaml) => applyManifests(api.store, parseManifests(yaml)),
      ready: async (timeoutMs = startTimeoutMs) => {
        await waitReady({ cluster, logFolder, deadlineMs: Date.now() + timeoutMs })
        await settled()
      },
      stop: (ms = stopGraceMs) => {
        graceMs = ms
        return stop()
      },
    }
    const deadlineMs = Date.now() + (options.timeoutMs ?? startTimeoutMs)
    const waiting = { cluster, logFolder, deadlineMs, progress, signal: options.signal }
    await waitReady(waiting)
    await settled()
    if (options.mesh !== false && options.demo !== false) await waitServed(waiting)
    return mesh
  }
}

function chosen(options: LocalOptions): Manifest[] {
  const { mesh = true, demo = true, dataThreads, adjust = (object: Manifest) => object } = options
  const folders = [...(mesh ? ['manifests/base'] : []), ...(demo ? ['manifests/examples/shop'] : [])]
  return folders
    .flatMap((folder) => readManifests(join(root, folder)))
    .filter(({ kind }) => mesh || kind !== 'TrafficSplit')
    .map((object) => (dataThreads === undefined ? object : withThreads(object, dataThreads)))
    .map(adjust)
}

function withThreads(object: Manifest, threads: number): Manifest {
  if (object.kind !== 'DaemonSet' || object.metadata.name !== 'weft-agent') return object
  const copy = structuredClone(object)
  for (const container of containersOf(copy)) {
    container.env = [...(container.env ?? []), { name: 'WEFT_DATA_THREADS', value: String(threads) }]
  }
  return copy
}

function containersOf(object: Manifest): Container[] {
  const { template } = (object.spec ?? {}) as { template?: PodTemplate }
  return template?.spec?.containers ?? []
}

/** A program that listens on all addresses takes a port from every pod: better to say so at once. */
async function checkPorts(manifests: Manifest[], plan: AddressPlan, apiPort: number): Promise<void> {
  if (apiPort !== 0) await checkPort('127.0.0.1', apiPort, 'choose another with --port')
  const numbers = manifests
    .flatMap(containersOf)
    .flatMap(({ ports = [] }) => ports.map(({ containerPort }) => containerPort))
  for (const port of new Set(numbers)) {
    await checkPort(
      plan.nodeAddress(plan.nodes[0]!),
      port,
      'end what listens there (pods need it on their own addresses)',
    )
  }
}

function addNodes(cluster: Cluster, plan: AddressPlan): void {
  for (const name of plan.nodes) {
    const labels = { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': process.arch }
    const now = new Date().toISOString()
    const status = {
      addresses: [
        { type: 'InternalIP', address: plan.nodeAddress(name) },
        { type: 'Hostname', address: name },
      ],
      conditions: [
        {
          type: 'Ready',
          status: 'True',
          reason: 'KubeletReady',
          message: 'kubelet stand-in is running',
          lastHeartbeatTime: now,
          lastTransitionTime: now,
        },
      ],
      nodeInfo: {
        kubeletVersion: 'local',
        operatingSystem: 'linux',
        architecture: process.arch,
        containerRuntimeVersion: `process://${process.version}`,
      },
    }
    const spec = { podCIDR: plan.podCidr(name), podCIDRs: [plan.podCidr(name)] }
    cluster.create('nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, spec, status })
  }
}
