// Flagger as a TrafficSplit and Prometheus meet it: the objects that it writes for each provider, how it changes them, what
// it reads back, and the queries of its built-in checks. Written after its routers and observers.

import { ApiError, hasStatus } from '../../controller/errors.ts'
import type { Api } from '../../controller/observe/api.ts'
import type { KubeObject } from '../../controller/observe/objects.ts'

export const providers = ['smi:v1alpha1', 'smi:v1alpha2', 'smi:v1alpha3', 'linkerd', 'osm'] as const
export type Provider = (typeof providers)[number]

interface Backend {
  service: string
  weight: number | string
}

interface Split extends KubeObject {
  spec: { service: string; backends: Backend[]; matches?: unknown }
}

export interface Flagger {
  /** Makes the split, or puts back its spec if anybody changed more than weights. @returns whether it wrote */
  reconcile(): Promise<boolean>
  routes(): Promise<{ primary: number; canary: number }>
  setRoutes(primary: number, canary: number): Promise<void>
  /** The queries of its checks, for a rate over this range. */
  queries(range: string): { successRate: string; duration: string }
}

/** Of which version the splits of a provider are. */
const versions: Record<Provider, string> = {
  'smi:v1alpha1': 'v1alpha1',
  'smi:v1alpha2': 'v1alpha2',
  'smi:v1alpha3': 'v1alpha3',
  linkerd: 'v1alpha1',
  osm: 'v1alpha2',
}

/** @param canary its Canary, as it was stored */
export function openFlagger(api: Api, canary: KubeObject, provider: Provider): Flagger {
  const { name, namespace = '', uid } = canary.metadata
  const version = versions[provider]
  const apiVersion = `split.smi-spec.io/${version}`
  const list = `/apis/${apiVersion}/namespaces/${namespace}/trafficsplits`
  // v1alpha1 has quantities, which Go writes as strings.
  const weight = (whole: number) => (version === 'v1alpha1' ? String(whole) : whole)
  const backends = (primary: number, canaryWeight: number): Backend[] => [
    { service: `${name}-canary`, weight: weight(canaryWeight) },
    { service: `${name}-primary`, weight: weight(primary) },
  ]
  const shapeOf = (spec: Split['spec']) =>
    JSON.stringify([spec.service, spec.backends.map(({ service }) => service), spec.matches ?? null])

  /** As its next interval would. */
  async function update(change: (split: Split) => void): Promise<void> {
    for (let interval = 0; ; interval++) {
      const split = structuredClone(await api.request<Split>('GET', `${list}/${name}`))
      change(split)
      try {
        await api.request('PUT', `${list}/${name}`, { body: split })
        return
      } catch (thrown) {
        if (!hasStatus(thrown, 409) || interval === 3) throw thrown
      }
    }
  }

  return {
    async reconcile() {
      const spec = { service: name, backends: backends(100, 0) }
      try {
        const split = await api.request<Split>('GET', `${list}/${name}`)
        if (shapeOf(split.spec) === shapeOf(spec)) return false
        await update((found) => {
          found.spec = spec
        })
      } catch (thrown) {
        if (!(thrown instanceof ApiError) || thrown.status !== 404) throw thrown
        const owner = { apiVersion: 'flagger.app/v1beta1', kind: 'Canary', name, uid }
        const ownerReferences = [{ ...owner, controller: true, blockOwnerDeletion: true }]
        const metadata = { name, namespace, ownerReferences }
        await api.request('POST', list, { body: { apiVersion, kind: 'TrafficSplit', metadata, spec } })
      }
      return true
    },
    async routes() {
      const { spec } = await api.request<Split>('GET', `${list}/${name}`)
      const of = (suffix: string) => Number(spec.backends.find(({ service }) => service === name + suffix)?.weight)
      return { primary: of('-primary'), canary: of('-canary') }
    },
    setRoutes: (primary, canaryWeight) =>
      update((split) => {
        split.spec.backends = backends(primary, canaryWeight)
      }),
    queries: (range) => queriesOf(provider, namespace, name, range),
  }
}

function queriesOf(provider: Provider, namespace: string, target: string, range: string) {
  switch (provider) {
    case 'linkerd': {
      const workload = `namespace="${namespace}", deployment=~"${target}"`
      const inbound = 'direction="inbound"'
      return checks(
        'response_total',
        'response_latency_ms',
        `${workload}, ${inbound}`,
        'classification!="failure"',
        range,
      )
    }
    case 'osm': {
      const workload = `destination_namespace="${namespace}", destination_kind="Deployment", destination_name="${target}"`
      return checks('osm_request_total', 'osm_request_duration_ms', workload, 'response_code!~"5.*"', range)
    }
    default: {
      const workload = `destination_workload_namespace="${namespace}", destination_workload=~"${target}"`
      const selector = `reporter="destination", ${workload}`
      const names = ['istio_requests_total', 'istio_request_duration_milliseconds'] as const
      return checks(...names, selector, 'response_code!~"5.*"', range)
    }
  }
}

/** Every provider's two queries have this form. */
function checks(requests: string, durations: string, workload: string, isGood: string, range: string) {
  const rate = (selector: string) => `sum( rate( ${requests}{ ${selector} }[${range}] ) )`
  return {
    successRate: `${rate(`${workload}, ${isGood}`)} / ${rate(workload)} * 100`,
    duration: `histogram_quantile( 0.99, sum( rate( ${durations}_bucket{ ${workload} }[${range}] ) ) by (le) )`,
  }
}
