// Whether names under the mesh domain resolve: asked of every CoreDNS pod, since each reads its configuration for itself.

import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../errors.ts'
import type { Api } from '../../observe/api.ts'
import type { Service } from '../../observe/objects.ts'
import { labels, manager } from '../../resolve/names.ts'
import type { OpenedCluster } from '../cluster.ts'
import { askPod, type DnsReply } from './ask.ts'
import type { DnsState } from './block.ts'

export interface Verdict {
  /** `unknown`: CoreDNS could not be asked from here. */
  result: 'resolves' | 'fails' | 'unknown'
  /** What was asked and what came. */
  text: string
}

/** Asks a CoreDNS pod; exchanged in tests. */
export type Ask = (pod: { namespace: string; name: string }, name: string, type: 'A' | 'SOA') => Promise<DnsReply>

interface CorePod {
  metadata: { name: string; namespace: string }
  status?: { conditions?: { type: string; status: string }[] }
}

/** The way through the API server. */
export function askThrough({ cluster }: Pick<OpenedCluster, 'cluster'>): Ask {
  return (pod, name, type) => askPod(cluster, pod, name, type)
}

const pauseMs = 2_000

/**
 * Asks until every pod answers, or the time is over: the kubelet takes up to a minute to show a changed ConfigMap, CoreDNS
 * 30 seconds more to read it.
 */
export async function verify(api: Api, ask: Ask, state: DnsState, waitMs: number): Promise<Verdict> {
  const deadline = Date.now() + waitMs
  for (;;) {
    const verdict = await verifyOnce(api, ask, state)
    if (verdict.result !== 'fails' || Date.now() + pauseMs > deadline) return verdict
    await sleep(pauseMs)
  }
}

async function verifyOnce(api: Api, ask: Ask, { domain, place }: DnsState): Promise<Verdict> {
  if (place.pods === null) return { result: 'unknown', text: 'no CoreDNS Deployment was found in kube-system' }
  const pods = await readyPods(api, place.namespace, place.pods)
  if (pods.length === 0) return { result: 'fails', text: 'no CoreDNS pod is ready' }
  const name = await someName(api, domain)
  for (const pod of pods) {
    let reply: DnsReply
    try {
      reply = name === null ? await ask(pod, domain, 'SOA') : await ask(pod, name, 'A')
    } catch (error) {
      return { result: 'unknown', text: `pod ${pod.name} could not be asked: ${messageOf(error)}` }
    }
    const what = name ?? `the SOA of ${domain}`
    if (!reply.hasAnswer) return { result: 'fails', text: `pod ${pod.name} answers ${reply.rcode} to ${what}` }
  }
  const count = `${pods.length} CoreDNS ${pods.length === 1 ? 'pod answers' : 'pods answer'}`
  return { result: 'resolves', text: name === null ? `${count} for ${domain}` : `${count} ${name}` }
}

async function readyPods(api: Api, namespace: string, of: Record<string, string>) {
  const labelSelector = Object.entries(of)
    .map((pair) => pair.join('='))
    .join(',')
  const { items } = await api.request<{ items: CorePod[] }>('GET', `/api/v1/namespaces/${namespace}/pods`, {
    query: { labelSelector },
  })
  return items
    .filter(({ status }) => status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'))
    .map(({ metadata }) => metadata)
}

/** A name that must resolve: that of some Service in the mesh; null if there is none. */
async function someName(api: Api, domain: string): Promise<string | null> {
  const { items } = await api.request<{ items: Service[] }>('GET', '/api/v1/services', {
    query: { labelSelector: `${labels.managedBy}=${manager},${labels.service}`, limit: 50 },
  })
  const alias = items.find(({ spec }) => spec.type === 'ExternalName')?.metadata.labels
  return alias === undefined ? null : `${alias[labels.service]}.${alias[labels.namespace]}.${domain}`
}
