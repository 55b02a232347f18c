// When a mesh that was started may be called up: every workload is ready, and a request comes through.

import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cluster, onChange } from './cluster.ts'
import { StartError } from './machine.ts'
import { isReady, type Pod, type Service } from './objects.ts'

interface Workload {
  kind: string
  metadata: { name: string; namespace?: string; generation?: number }
  spec: { replicas?: number }
  status?: { observedGeneration?: number; updatedReplicas?: number; availableReplicas?: number; replicas?: number } & {
    numberReady?: number
    desiredNumberScheduled?: number
    updatedNumberScheduled?: number
  }
}

function readiness({ kind, metadata, spec, status = {} }: Workload): { have: number; want: number } {
  const isSeen = (status.observedGeneration ?? 0) >= (metadata.generation ?? 1)
  if (kind === 'DaemonSet') {
    const have = Math.min(status.numberReady ?? 0, status.updatedNumberScheduled ?? 0)
    return { have: isSeen ? have : 0, want: status.desiredNumberScheduled ?? 1 }
  }
  const want = spec.replicas ?? 1
  const isClean = (status.replicas ?? 0) <= want
  const have = Math.min(status.updatedReplicas ?? 0, status.availableReplicas ?? 0)
  return { have: isSeen && isClean ? have : 0, want }
}

export interface Waiting {
  cluster: Cluster
  logFolder: string
  deadlineMs: number
  progress?(line: string): void
  signal?: AbortSignal | undefined
}

/**
 * Waits until all Deployments and DaemonSets are up to date and ready.
 * @throws StartError naming what is not when the time is over, or that it was interrupted
 */
export async function waitReady({
  cluster,
  logFolder,
  deadlineMs,
  progress = () => {},
  signal,
}: Waiting): Promise<void> {
  const told = new Map<string, string>()
  const isDone = () => {
    const workloads = [...cluster.list('daemonsets'), ...cluster.list('deployments')] as unknown as Workload[]
    const states = workloads.map((workload) => ({ workload, ...readiness(workload) }))
    for (const { workload, have, want } of states) {
      const name = `${workload.metadata.namespace}/${workload.metadata.name}`
      const text = `${name} ${have}/${want} ready`
      if (have > 0 && told.get(name) !== text) progress(text)
      told.set(name, text)
    }
    return states.every(({ have, want }) => have >= want)
  }
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const unwatch = onChange(cluster, ['pods', 'daemonsets', 'deployments'], () => {
    if (isDone()) resolve()
  })
  const timer = setTimeout(() => {
    reject(new StartError(`not ready in time: ${lagging(cluster)}; see the logs in ${logFolder}`))
  }, deadlineMs - Date.now())
  const abort = () => reject(new StartError('interrupted'))
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort)
  try {
    await promise
  } finally {
    signal?.removeEventListener('abort', abort)
    clearTimeout(timer)
    unwatch()
  }
}

/**
 * Waits until a request comes through the mesh: kube-proxy follows a second after the agents are ready.
 * @throws StartError with the last failure when the time is over, or that it was interrupted
 */
export async function waitServed({ cluster, logFolder, deadlineMs, signal }: Waiting): Promise<void> {
  let last = 'no mesh Service'
  while (Date.now() < deadlineMs && !signal?.aborted) {
    const address = cluster.get<Service>('services', 'weft-system', 'weft')?.spec.clusterIP
    const page = cluster.list<Pod>('pods', 'shop').find(({ metadata }) => metadata.labels?.['app'] === 'productpage')
    if (address && page?.status?.podIP) last = await attemptOnce(address, page.status.podIP)
    if (last === '') return
    await sleep(50)
  }
  throw new StartError(
    signal?.aborted ? 'interrupted' : `no answer through the mesh (${last}); see the logs in ${logFolder}`,
  )
}

async function attemptOnce(host: string, localAddress: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const headers = { host: 'reviews-mesh.shop:9080' }
  const request = http.get(
    { host, localAddress, port: 9080, path: '/reviews/0', headers, agent: false, timeout: 2000 },
    (response) => {
      response.resume()
      const { statusCode, headers } = response
      resolve(statusCode === 200 ? '' : `status ${statusCode} ${headers['x-weft-error'] ?? ''}`)
    },
  )
  request.on('timeout', () => request.destroy(new Error('timed out')))
  request.on('error', (error) => resolve(error.message))
  return promise
}

/** Names the pods that are not ready, each with what its containers wait for. */
function lagging(cluster: Cluster): string {
  const pods = cluster.list<Pod>('pods').filter((pod) => !isReady(pod))
  const texts = pods.map((pod) => {
    const states = pod.status?.containerStatuses ?? []
    const waits = states.flatMap(({ state }) => (state.waiting ? [state.waiting.message ?? state.waiting.reason] : []))
    return `${pod.metadata.namespace}/${pod.metadata.name}${waits.length > 0 ? ` (${waits.join('; ')})` : ''}`
  })
  return texts.join(', ') || 'some workload has no pods'
}
