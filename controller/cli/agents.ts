// The agents one by one: what runs on each node, how far it is behind the controller, and how long its certificates last.
// The cluster says which agents there are; the rest is read from the debug pages of controllers and agents, on their loopback.

import { messageOf } from '../errors.ts'
import type { Cluster } from '../observe/access.ts'
import type { Api } from '../observe/api.ts'
import type { KubeObject } from '../observe/objects.ts'
import { gatheredMs } from '../transmit/unacked.ts'
import { readPage } from './forward.ts'
import { shortDuration, tableOf } from './table.ts'

/** Reads a debug page of a pod; exchanged in tests. */
export type ReadPage = (pod: { namespace: string; name: string }, path: string) => Promise<string>

/** One agent. */
export interface AgentFacts {
  node: string
  pod: string
  image: string
  isReady: boolean
  /** As its own metrics have it; empty if they can't be read. */
  version: string
  /**
   * What it made of the newest snapshot. `unconnected`: it has a link to none of the controllers that could be asked;
   * `unknown`: none could be asked.
   */
  snapshot: 'current' | 'behind' | 'refused' | 'unconnected' | 'unknown'
  /** For how long it is behind; milliseconds. */
  lagMs: number
  /** Contract version that it speaks with its controller; 0 if that is not known. */
  contract: number
  /** Certificates that it holds. */
  certificates: number
  /** When the first of them ends; milliseconds since the epoch, null if it holds none. */
  expires: number | null
  /** Why something about it is not known, or does not work; empty if all is. */
  trouble: string
}

interface AgentPod extends KubeObject {
  spec: { nodeName?: string; containers: { image?: string }[] }
  status?: { conditions?: { type: string; status: string }[] }
}

/** As `/debug/agents` of a controller has it. */
interface Told {
  node: string
  pod: string
  isConnected: boolean
  contract: number
  sent: string
  applied: string
  error: { message: string } | null
  lagMs?: number
}

/** The admin port of controllers and agents. */
const adminPort = 15000

/** The way through the API server. */
export function readThrough(cluster: Cluster): ReadPage {
  return ({ namespace, name }, path) => readPage(cluster, { namespace, pod: name, port: adminPort }, path)
}

/**
 * Reads the agents.
 * @param namespace the mesh's own
 * @throws ApiError if the pods can't be listed; pages that can't be read become troubles
 */
export async function readAgents(api: Api, read: ReadPage, namespace: string): Promise<AgentFacts[]> {
  const [agents, controllers] = await Promise.all([
    listPods(api, namespace, 'weft-agent'),
    listPods(api, namespace, 'weft-controller'),
  ])
  const told = await askControllers(read, controllers.filter(isReady), namespace)
  const facts = await eachOf(agents, async (pod): Promise<AgentFacts> => {
    const own = isReady(pod) ? await askAgent(read, { namespace, name: pod.metadata.name }) : silent('it is not ready')
    return {
      node: pod.spec.nodeName ?? '',
      pod: pod.metadata.name,
      image: pod.spec.containers[0]?.image ?? '',
      isReady: isReady(pod),
      ...snapshotOf(pod.metadata.name, told),
      ...own,
    }
  })
  return facts.sort((a, b) => (a.node < b.node ? -1 : a.node > b.node ? 1 : 0))
}

/** As many agents as are asked at a time: each takes two connections through the API server. */
const parallel = 16

async function eachOf<T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<R[]> {
  const queue = items.entries()
  const results: R[] = []
  const worker = async () => {
    for (const [index, item] of queue) results[index] = await run(item)
  }
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, worker))
  return results
}

async function listPods(api: Api, namespace: string, name: string): Promise<AgentPod[]> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`
  const query = { labelSelector: `app.kubernetes.io/name=${name}` }
  const { items } = await api.request<{ items: AgentPod[] }>('GET', path, { query })
  return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
}

function isReady({ status }: AgentPod): boolean {
  return status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true
}

/** What all controllers together say; null if none could be asked. */
async function askControllers(read: ReadPage, pods: AgentPod[], namespace: string): Promise<Told[] | null> {
  const answers = pods.map(async ({ metadata: { name } }) => {
    try {
      return JSON.parse(await read({ namespace, name }, '/debug/agents')) as Told[]
    } catch {
      return null
    }
  })
  const heard = (await Promise.all(answers)).filter((each) => each !== null)
  return heard.length === 0 ? null : heard.flat()
}

type SnapshotFacts = Pick<AgentFacts, 'snapshot' | 'lagMs' | 'contract'>

function snapshotOf(pod: string, told: Told[] | null): SnapshotFacts {
  if (told === null) return { snapshot: 'unknown', lagMs: 0, contract: 0 }
  const session = told.find((each) => each.pod === pod && each.isConnected)
  if (session === undefined) return { snapshot: 'unconnected', lagMs: 0, contract: 0 }
  // An agent may report to another replica than the one that it is connected to.
  const hasRefused = told.some((each) => each.pod === pod && each.error !== null)
  const isFresh = !hasRefused && (session.lagMs ?? 0) < gatheredMs
  const hasApplied = isFresh || told.some((each) => each.pod === pod && each.applied === session.sent)
  const snapshot = hasApplied ? 'current' : hasRefused ? 'refused' : 'behind'
  return { snapshot, lagMs: hasApplied ? 0 : (session.lagMs ?? 0), contract: session.contract }
}

type OwnFacts = Pick<AgentFacts, 'version' | 'certificates' | 'expires' | 'trouble'>

function silent(trouble: string): OwnFacts {
  return { version: '', certificates: 0, expires: null, trouble }
}

async function askAgent(read: ReadPage, pod: { namespace: string; name: string }): Promise<OwnFacts> {
  try {
    const [metrics, page] = await Promise.all([read(pod, '/metrics'), read(pod, '/debug/identities')])
    const { trouble, accounts } = JSON.parse(page) as { trouble?: string; accounts: { expires: number }[] }
    const held = accounts.map(({ expires }) => expires).filter((at) => at > 0)
    return {
      version: /^weft_build_info\{[^}]*\bversion="([^"]*)"/m.exec(metrics)?.[1] ?? '',
      certificates: held.length,
      expires: held.length === 0 ? null : Math.min(...held),
      trouble: trouble ?? '',
    }
  } catch (error) {
    return silent(messageOf(error))
  }
}

/** The text for a list. @param nowMs by the API server's clock */
export function formatAgents(agents: readonly AgentFacts[], nowMs: number, format: 'table' | 'json'): string {
  if (format === 'json') return `${JSON.stringify(agents, null, 2)}\n`
  const head = ['NODE', 'POD', 'READY', 'VERSION', 'IMAGE', 'SNAPSHOT', 'CONTRACT', 'CERTIFICATES', 'TROUBLE']
  const rows = agents.map((each) => [
    each.node,
    each.pod,
    each.isReady ? 'yes' : 'no',
    each.version || '?',
    each.image,
    each.snapshot === 'behind' ? `behind ${shortDuration(each.lagMs)}` : each.snapshot,
    each.contract === 0 ? '?' : String(each.contract),
    each.expires === null ? String(each.certificates) : `${each.certificates}, ${until(each.expires - nowMs)}`,
    each.trouble,
  ])
  return tableOf(head, rows)
}

function until(ms: number): string {
  return ms <= 0 ? 'ended' : `${shortDuration(ms)} left`
}
