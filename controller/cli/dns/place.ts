// Where the cluster's DNS is configured and who looks after that: decides whether our block may be written, and where.

import { type Api, findObject } from '../../observe/api.ts'
import type { Meta } from '../../observe/objects.ts'
import { importsCustom } from './corefile.ts'

/** A ConfigMap as far as it matters here. */
export interface ConfigMap {
  metadata: Meta & { managedFields?: { manager?: string; fieldsV1?: Record<string, unknown> }[] }
  data?: Record<string, string>
}

interface Deployment {
  metadata: Meta
  spec: {
    selector: { matchLabels?: Record<string, string> }
    template: {
      spec: {
        containers: { name: string; image?: string }[]
        volumes?: { configMap?: { name?: string } }[]
      }
    }
  }
}

/** Who puts his own content back over ours, or has a place of his own for it. */
export type Owner =
  | 'argocd'
  | 'addon-manager'
  | 'eks'
  | 'flux'
  | 'gke'
  | 'helm'
  | 'kops'
  | 'none'
  | 'openshift'
  | 'operator'

/** What there is to be known about the cluster's DNS. */
export interface DnsPlace {
  namespace: string
  /** The ConfigMap and its key that hold, or would hold, our block. */
  name: string
  key: string
  /** What that key holds; null if it is absent, or the ConfigMap is. */
  text: string | null
  /** Whether the ConfigMap is there, and its resourceVersion. */
  resourceVersion: string | null
  /** The Corefile itself; empty where there is none. */
  corefile: string
  owner: Owner
  /** The owner by name, e.g. the Helm release. */
  ownerName: string
  /** Labels of CoreDNS's pods; null if it was not found. */
  pods: Record<string, string> | null
  nodeLocal: NodeLocal | null
}

/** NodeLocal DNSCache stands before the cluster's DNS and asks it only for the domains that it is told. */
export interface NodeLocal {
  corefile: string
  /** Addresses that its blocks bind. */
  bind: string
}

const system = 'kube-system'
const customName = 'coredns-custom'
const customKey = 'weft.server'

/**
 * Finds the cluster's DNS.
 * @throws ApiError
 */
export async function findPlace(api: Api): Promise<DnsPlace> {
  const read = (namespace: string, name: string) => readConfigMap(api, namespace, name)
  const openshift = await read('openshift-dns', 'dns-default')
  if (openshift !== null) return placeOf({ map: openshift, owner: 'openshift', ownerName: 'dns.operator/default' })

  const { items } = await api.request<{ items: Deployment[] }>('GET', `/apis/apps/v1/namespaces/${system}/deployments`)
  const core = items.find(isCoreDns)
  const nodeLocal = nodeLocalOf(await read(system, 'node-local-dns'))
  if (core === undefined && items.some(({ metadata }) => metadata.name === 'kube-dns')) {
    const map = await read(system, 'kube-dns')
    return { ...placeOf({ map, owner: 'gke', ownerName: 'kube-dns' }), name: 'kube-dns', key: 'stubDomains', nodeLocal }
  }
  const volumes = core?.spec.template.spec.volumes ?? []
  const mounted = volumes.flatMap(({ configMap }) => (configMap?.name === undefined ? [] : [configMap.name]))
  const name = mounted.find((each) => each !== customName) ?? 'coredns'
  const map = await read(system, name)
  const corefile = map?.data?.['Corefile'] ?? ''
  const pods = core?.spec.selector.matchLabels ?? null
  const custom = await read(system, customName)
  // Where the Corefile imports from it, the ConfigMap is the place that its owner leaves to others.
  if (custom !== null || (importsCustom(corefile) && mounted.includes(customName))) {
    return {
      namespace: system,
      name: customName,
      key: customKey,
      text: custom?.data?.[customKey] ?? null,
      resourceVersion: custom?.metadata.resourceVersion ?? null,
      corefile,
      owner: 'none',
      ownerName: '',
      pods,
      nodeLocal,
    }
  }
  return { ...placeOf({ map, ...ownerOf(map) }), name, pods, nodeLocal }
}

function placeOf({ map, owner, ownerName }: { map: ConfigMap | null; owner: Owner; ownerName: string }): DnsPlace {
  const text = map?.data?.['Corefile'] ?? null
  return {
    namespace: map?.metadata.namespace ?? system,
    name: map?.metadata.name ?? 'coredns',
    key: 'Corefile',
    text,
    resourceVersion: map?.metadata.resourceVersion ?? null,
    corefile: text ?? '',
    owner,
    ownerName,
    pods: null,
    nodeLocal: null,
  }
}

function isCoreDns({ metadata, spec }: Deployment): boolean {
  const { containers } = spec.template.spec
  return metadata.name === 'coredns' || containers.some(({ name, image }) => /coredns/.test(`${name} ${image}`))
}

/** Labels and annotations by which those who put their own content back can be known, and what they call theirs. */
const marks: [Owner, string][] = [
  ['argocd', 'argocd.argoproj.io/tracking-id'],
  ['argocd', 'argocd.argoproj.io/instance'],
  ['flux', 'kustomize.toolkit.fluxcd.io/name'],
  ['flux', 'helm.toolkit.fluxcd.io/name'],
  ['kops', 'addon.kops.k8s.io/name'],
  ['helm', 'meta.helm.sh/release-name'],
]

/** Who owns a ConfigMap's content. */
export function ownerOf(map: ConfigMap | null): { owner: Owner; ownerName: string } {
  if (map === null) return { owner: 'none', ownerName: '' }
  const { labels = {}, annotations = {}, managedFields = [], ownerReferences = [] } = map.metadata
  // EKS labels self-managed CoreDNS too: only its add-on also owns the field.
  const isEks = managedFields.some(({ manager, fieldsV1 }) => manager === 'eks' && fieldsV1?.['f:data'] !== undefined)
  if (isEks) return { owner: 'eks', ownerName: 'the EKS add-on coredns' }
  for (const [owner, mark] of marks) {
    const ownerName = annotations[mark] ?? labels[mark]
    if (ownerName !== undefined) return { owner, ownerName }
  }
  if (labels['app.kubernetes.io/managed-by'] === 'Helm') return { owner: 'helm', ownerName: 'Helm' }
  if (labels['addonmanager.kubernetes.io/mode'] === 'Reconcile') {
    return { owner: 'addon-manager', ownerName: 'the add-on manager' }
  }
  const [reference] = ownerReferences
  return reference === undefined
    ? { owner: 'none', ownerName: '' }
    : { owner: 'operator', ownerName: `${reference.kind} ${reference.name}` }
}

function nodeLocalOf(map: ConfigMap | null): NodeLocal | null {
  const corefile = map?.data?.['Corefile']
  if (corefile === undefined) return null
  return { corefile, bind: /^\s*bind\s+(.+?)\s*$/m.exec(corefile)?.[1] ?? '169.254.20.10' }
}

/** Reads a ConfigMap; null if there is none. @throws ApiError */
export function readConfigMap(api: Api, namespace: string, name: string): Promise<ConfigMap | null> {
  return findObject<ConfigMap>(api, `/api/v1/namespaces/${namespace}/configmaps/${name}`)
}
