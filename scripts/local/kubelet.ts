// A stand-in for the kubelet of one node: runs the pods that are scheduled there as local processes on loopback addresses,
// and keeps their status in the API.

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Cluster, onChange } from './cluster.ts'
import { type RunningContainer, startContainer } from './container.ts'
import { processOf, type Surroundings } from './environment.ts'
import { logFileOf } from './logs.ts'
import type { AddressPlan } from './nodes.ts'
import type { Condition, Container, ContainerStatus, Pod } from './objects.ts'
import type { Reaper } from './reaper.ts'
import { mountVolumes, type Volumes } from './volumes.ts'

export interface KubeletOptions {
  cluster: Cluster
  node: string
  plan: AddressPlan
  dnsServer: string
  /** Folders of pods are made here. */
  folder: string
  logFolder: string
  compileCache: string
  reaper: Reaper
  /** The first back-off of a container that keeps ending. */
  backoffMs?: number
}

export interface Kubelet {
  /** Ends all pods of the node, each within its grace period but no later than the given time. */
  close(graceMs: number): Promise<void>
}

/** A pod that this kubelet runs. */
interface Running {
  pod: Pod
  address: string
  startTime: string
  folder: string
  volumes: Volumes | undefined
  containers: Map<string, RunningContainer>
  /** Containers that can't be run, and why. */
  refused: Map<string, string>
  ending: Promise<void> | undefined
  /** The next attempt to mount its volumes. */
  retry: NodeJS.Timeout | undefined
}

/** The kubelet begins with this and doubles it. */
const remountMs = 500

/** Starts the stand-in; it follows the API until closed. */
export function startKubelet(options: KubeletOptions): Kubelet {
  const { cluster, node, plan } = options
  const running = new Map<string, Running>()
  const unwatch = onChange(cluster, ['pods'], sync)

  function sync(): void {
    const pods = cluster.list<Pod>('pods').filter((pod) => pod.spec.nodeName === node)
    const seen = new Set(pods.map((pod) => pod.metadata.uid))
    for (const pod of pods) {
      const one = running.get(pod.metadata.uid)
      if (pod.metadata.deletionTimestamp) void end(pod, one)
      else if (!one) run(pod)
      else one.pod = pod
    }
    for (const [uid, one] of running) {
      if (!seen.has(uid)) void kill(uid, one)
    }
  }

  function run(pod: Pod): void {
    const address = plan.allot(node)
    const folder = join(options.folder, pod.metadata.uid)
    mkdirSync(join(folder, 'home'), { recursive: true })
    const one: Running = {
      pod,
      address,
      startTime: new Date().toISOString(),
      folder,
      volumes: undefined,
      containers: new Map(),
      refused: new Map(),
      ending: undefined,
      retry: undefined,
    }
    running.set(pod.metadata.uid, one)
    begin(one)
  }

  /** Mounts the volumes and starts the containers. A volume may name what is made later: that is tried again. */
  function begin(one: Running): void {
    const { pod, folder } = one
    one.refused.clear()
    try {
      if (pod.spec.initContainers?.length) throw new Error('local mode runs no init containers')
      one.volumes = mountVolumes(cluster, pod, folder)
    } catch (error) {
      for (const container of pod.spec.containers) one.refused.set(container.name, (error as Error).message)
      one.retry = setTimeout(() => begin(one), remountMs)
    }
    for (const container of pod.spec.containers) {
      if (!one.refused.has(container.name)) launch(one, container)
    }
    report(one)
  }

  function launch(one: Running, container: Container): void {
    const { pod, address } = one
    const around: Surroundings = {
      address,
      hostAddress: plan.nodeAddress(node),
      dnsServer: options.dnsServer,
      volumes: one.volumes!.folders,
      home: join(one.folder, 'home'),
      kubeconfig: one.volumes!.kubeconfig,
      value: (kind, name, key) => cluster.value(kind, pod.metadata.namespace!, name, key),
      compileCache: options.compileCache,
    }
    try {
      const process = processOf(pod, container, around)
      const ports = new Map((container.ports ?? []).map(({ name = '', containerPort }) => [name, containerPort]))
      const started = startContainer({
        container,
        process,
        restartPolicy: pod.spec.restartPolicy ?? 'Always',
        target: { address, from: plan.nodeAddress(node), ports, exec: process },
        logFile: logFileOf(options.logFolder, pod.metadata, container.name),
        reaper: options.reaper,
        backoffMs: options.backoffMs ?? 1000,
        changed: () => queueMicrotask(() => report(one)),
      })
      one.containers.set(container.name, started)
    } catch (error) {
      one.refused.set(container.name, (error as Error).message)
    }
  }

  function report(one: Running): void {
    const { metadata } = one.pod
    const current = cluster.get<Pod>('pods', metadata.namespace!, metadata.name)
    if (current?.metadata.uid !== metadata.uid) return
    const status = statusOf(one, current, plan.nodeAddress(node))
    if (JSON.stringify(status) !== JSON.stringify(current.status)) cluster.setStatus('pods', { ...current, status })
  }

  async function end(pod: Pod, one: Running | undefined): Promise<void> {
    if (one?.ending) return
    if (one) {
      const graceMs = (pod.metadata.deletionGracePeriodSeconds ?? 30) * 1000
      one.ending = stop(one, graceMs)
      await one.ending
    }
    cluster.remove('pods', pod.metadata, 0)
  }

  async function stop(one: Running, graceMs: number): Promise<void> {
    clearTimeout(one.retry)
    await Promise.all([...one.containers.values()].map((container) => container.stop(graceMs)))
    report(one)
    one.volumes?.close()
    running.delete(one.pod.metadata.uid)
    rmSync(one.folder, { recursive: true, force: true })
  }

  /** The pod's object is gone (deleted with force): nothing is left to be polite to. */
  async function kill(uid: string, one: Running): Promise<void> {
    if (one.ending) await Promise.all([...one.containers.values()].map((container) => container.stop(0)))
    else {
      one.ending = stop(one, 0)
      await one.ending
    }
    running.delete(uid)
  }

  return {
    close: async (graceMs) => {
      unwatch()
      const ended = [...running.values()].map((one) => {
        const seconds = one.pod.spec.terminationGracePeriodSeconds ?? 30
        one.ending ??= stop(one, Math.min(seconds * 1000, graceMs))
        return one.ending
      })
      await Promise.all(ended)
    },
  }
}

/** The status as the kubelet writes it. Times of transitions are kept where nothing changed. */
function statusOf(one: Running, current: Pod, hostIP: string): NonNullable<Pod['status']> {
  const { pod, address, startTime } = one
  const statuses = pod.spec.containers.map((container) => containerStatus(one, container))
  const states = statuses.map(({ state }) => state)
  const isOver =
    states.length > 0 && states.every((state) => state.terminated) && (!!one.ending || isFinal(pod, states))
  const isFailed = states.some((state) => state.terminated && state.terminated.exitCode !== 0)
  const wasRunning = current.status?.phase === 'Running' || states.some((state) => state.running)
  const phase = isOver ? (isFailed ? 'Failed' : 'Succeeded') : wasRunning ? 'Running' : 'Pending'
  const isReady = !isOver && statuses.every(({ ready }) => ready)
  const unready = statuses.filter(({ ready }) => !ready).map(({ name }) => name)
  const why = isReady
    ? {}
    : { reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` }
  const conditions: Condition[] = [
    { type: 'PodReadyToStartContainers', status: isOver ? 'False' : 'True' },
    { type: 'Initialized', status: 'True' },
    { type: 'Ready', status: isReady ? 'True' : 'False', ...why },
    { type: 'ContainersReady', status: isReady ? 'True' : 'False', ...why },
    { type: 'PodScheduled', status: 'True' },
  ]
  return {
    phase,
    conditions: conditions.map((condition) => dated(condition, current.status?.conditions)),
    hostIP,
    hostIPs: [{ ip: hostIP }],
    podIP: address,
    podIPs: [{ ip: address }],
    startTime,
    containerStatuses: statuses,
    qosClass: 'Burstable',
  } as NonNullable<Pod['status']>
}

function isFinal(pod: Pod, states: ContainerStatus['state'][]): boolean {
  const policy = pod.spec.restartPolicy ?? 'Always'
  return policy === 'Never' || (policy === 'OnFailure' && states.every((state) => state.terminated?.exitCode === 0))
}

function dated(condition: Condition, before: Condition[] = []): Condition {
  const old = before.find(({ type }) => type === condition.type)
  const lastTransitionTime = old?.status === condition.status ? old.lastTransitionTime : undefined
  return { ...condition, lastTransitionTime: lastTransitionTime ?? new Date().toISOString() }
}

function containerStatus(one: Running, { name, image = '' }: Container): ContainerStatus {
  const started = one.containers.get(name)
  if (started) return started.status()
  const message = one.refused.get(name)
  const waiting = message ? { reason: 'CreateContainerConfigError', message } : { reason: 'ContainerCreating' }
  return { name, image, imageID: '', ready: false, started: false, restartCount: 0, state: { waiting }, lastState: {} }
}
