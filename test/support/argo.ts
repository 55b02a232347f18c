// Argo Rollouts as a TrafficSplit meets it: a split whose root is the stable Service itself, v1alpha1 with quantities,
// changed by merge-patches of its spec. Written after its SMI reconciler.

import { hasStatus } from '../../controller/errors.ts'
import type { Api } from '../../controller/observe/api.ts'
import type { KubeObject } from '../../controller/observe/objects.ts'

interface Split extends KubeObject {
  spec: { service: string; backends: { service: string; weight: string }[] }
}

export interface Argo {
  /** Sets the canary's weight, and those of an experiment's Services; what is left is the stable one's. */
  setWeight(canary: number, experiments?: Record<string, number>): Promise<void>
  split(): Promise<Split>
}

/** @param rollout its Rollout, as it was stored; Services `<name>-stable` and `<name>-canary` */
export function openArgo(api: Api, rollout: KubeObject): Argo {
  const { name, namespace = '', uid } = rollout.metadata
  const apiVersion = 'split.smi-spec.io/v1alpha1'
  const list = `/apis/${apiVersion}/namespaces/${namespace}/trafficsplits`
  const split = () => api.request<Split>('GET', `${list}/${name}`)

  return {
    split,
    async setWeight(canary, experiments = {}) {
      const others = Object.entries(experiments)
      const stable = others.reduce((left, [, weight]) => left - weight, 100 - canary)
      const spec: Split['spec'] = {
        service: `${name}-stable`,
        backends: [
          { service: `${name}-canary`, weight: String(canary) },
          ...others.map(([service, weight]) => ({ service, weight: String(weight) })),
          { service: `${name}-stable`, weight: String(stable) },
        ],
      }
      const found = await split().catch((thrown) => {
        if (!hasStatus(thrown, 404)) throw thrown
        return null
      })
      if (found === null) {
        const owner = { apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', name, uid }
        const ownerReferences = [{ ...owner, controller: true, blockOwnerDeletion: true }]
        const body = { apiVersion, kind: 'TrafficSplit', metadata: { name, namespace, ownerReferences }, spec }
        await api.request('POST', list, { body })
        return
      }
      const owner = found.metadata.ownerReferences?.find(({ controller }) => controller)
      if (owner?.uid !== uid) throw new Error(`Rollout does not own TrafficSplit ${name}`)
      const { backends } = spec
      const body = { spec: { backends } }
      if (JSON.stringify(found.spec.backends) === JSON.stringify(backends)) return
      await api.request('PATCH', `${list}/${name}`, { body, contentType: 'application/merge-patch+json' })
    },
  }
}
