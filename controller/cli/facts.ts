// What the checks need to know of a cluster besides the objects that the controller observes. Every reader gives what it
// finds; what is not there is null, so that checks can say so.

import { X509Certificate } from 'node:crypto'
import { request } from 'undici'
import { trustConfig } from '../contract/identity.ts'
import { hasStatus } from '../errors.ts'
import type { Cluster } from '../observe/access.ts'
import { type Api, findObject } from '../observe/api.ts'
import { crdName } from '../observe/discovery.ts'
import { smiKinds } from '../observe/kinds.ts'
import type { Leadership, TrustFacts } from './checks/controller.ts'
import type { Definition } from './checks/definitions.ts'
import type { Heartbeat, Right } from './checks/kubernetes.ts'
import type { ProxyFacts } from './checks/proxy.ts'
import { readConfigMap } from './dns/place.ts'

interface Lease {
  metadata: { name: string }
  spec?: { holderIdentity?: string | null; renewTime?: string | null; leaseDurationSeconds?: number | null }
}

interface Node {
  metadata: { name: string }
  status?: { conditions?: { type: string; status: string }[] }
}

/** The API server's clock, to the second; null if it does not say. */
export async function readServerTime(cluster: Cluster): Promise<number | null> {
  try {
    const { dispatcher, headers } = await cluster.access()
    const response = await request(`${cluster.server}/version`, { dispatcher, headers, headersTimeout: 10_000 })
    await response.body.dump()
    const time = Date.parse(String(response.headers['date'] ?? ''))
    return Number.isNaN(time) ? null : time
  } catch {
    return null
  }
}

/** Which of some rights are not there; null if the API server can't be asked. */
export async function readDenied(api: Api, rights: readonly Right[]): Promise<Right[] | null> {
  try {
    const answers = await Promise.all(
      rights.map(async (right) => {
        const spec = { resourceAttributes: right }
        const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec }
        const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
        const { status } = await api.request<{ status?: { allowed?: boolean } }>('POST', path, { body })
        return status?.allowed === true ? [] : [right]
      }),
    )
    return answers.flat()
  } catch (error) {
    if (hasStatus(error, 404) || hasStatus(error, 403)) return null
    throw error
  }
}

/** Who leads; null if nobody ever has. */
export async function readLeadership(api: Api, namespace: string): Promise<Leadership | null> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases/weft-controller`
  const lease = await findObject<Lease>(api, path)
  if (lease === null) return null
  const { holderIdentity, renewTime, leaseDurationSeconds } = lease.spec ?? {}
  return {
    holder: holderIdentity ?? '',
    renewedMs: Date.parse(renewTime ?? '') || 0,
    leaseMs: (leaseDurationSeconds ?? 15) * 1000,
  }
}

/** How the mesh's certificates and its webhook stand; null where something is not there or may not be read. */
export async function readTrust(api: Api, namespace: string): Promise<TrustFacts> {
  const [trust, webhook] = await Promise.all([
    readConfigMap(api, namespace, trustConfig.name).catch(unreadable),
    findObject<{ webhooks?: { clientConfig: { caBundle?: string } }[] }>(
      api,
      '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/weft-smi',
    ).catch(unreadable),
  ])
  const roots = trust?.data?.[trustConfig.bundle]?.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
  const ends = (roots ?? []).map((pem) => new X509Certificate(pem).validToDate.getTime())
  const isTrusted = webhook?.webhooks?.every(({ clientConfig }) => (clientConfig.caBundle ?? '') !== '')
  return { rootEnds: ends.length === 0 ? null : Math.max(...ends), isWebhookTrusted: isTrusted ?? null }
}

/** The nodes' Leases; none where the cluster keeps no such Leases. */
export async function readHeartbeats(api: Api): Promise<Heartbeat[]> {
  const [leases, nodes] = await Promise.all([
    findObject<{ items: Lease[] }>(api, '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases'),
    findObject<{ items: Node[] }>(api, '/api/v1/nodes'),
  ])
  const ready = new Map(
    nodes?.items.map(({ metadata, status }) => {
      const condition = status?.conditions?.find(({ type }) => type === 'Ready')
      return [metadata.name, condition?.status === 'True']
    }),
  )
  return (leases?.items ?? []).flatMap(({ metadata: { name }, spec }) => {
    const renewedMs = Date.parse(spec?.renewTime ?? '')
    return Number.isNaN(renewedMs) || !ready.has(name) ? [] : [{ node: name, renewedMs, isReady: ready.get(name)! }]
  })
}

/** The definitions of the SMI kinds, by name; empty if they can't be read. */
export async function readDefinitions(api: Api): Promise<Map<string, Definition>> {
  const found = await Promise.all(
    smiKinds.map((spec) =>
      findObject<Definition>(api, `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crdName(spec)}`).catch(
        unreadable,
      ),
    ),
  )
  return new Map(found.flatMap((each) => (each === null ? [] : [[each.metadata.name, each]])))
}

/** kube-proxy's configuration, and what stands in for it. */
export async function readProxy(api: Api): Promise<ProxyFacts> {
  const [config, cilium, proxy] = await Promise.all([
    readConfigMap(api, 'kube-system', 'kube-proxy').catch(unreadable),
    readConfigMap(api, 'kube-system', 'cilium-config').catch(unreadable),
    findObject<{ spec: { template: { spec: { containers: { command?: string[]; args?: string[] }[] } } } }>(
      api,
      '/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy',
    ).catch(unreadable),
  ])
  const data = config?.data ?? {}
  const containers = proxy?.spec.template.spec.containers ?? []
  return {
    config: config === null ? null : (data['config.conf'] ?? data['config'] ?? Object.values(data)[0] ?? ''),
    flags: proxy === null ? null : containers.flatMap(({ command = [], args = [] }) => [...command, ...args]),
    cilium: cilium === null ? null : (cilium.data ?? {}),
  }
}

/** What may not be read is not known. */
function unreadable(error: unknown): null {
  if (hasStatus(error, 403)) return null
  throw error
}
