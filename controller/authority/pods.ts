// The questions that the authority asks about pods, answered from what the controller observes.

import type { Key } from '../contract/resources.ts'
import { keyOf, type Pod } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'

export interface PodFacts {
  /** `namespace/name` */
  key: Key
  namespace: string
  uid: string
  /** Empty while it is not scheduled. */
  node: string
  /** `namespace/name` of its ServiceAccount. */
  account: Key
  labels: Readonly<Record<string, string>>
  /** Neither Succeeded nor Failed; a Pending pod is live: its certificate is wanted before its first connection. */
  isLive: boolean
  isReady: boolean
}

export interface PodIndex {
  /** @returns null if there is no such pod */
  pod(key: Key): PodFacts | null
  /** Whether a node runs a live pod of an account, one that has an address of its own. */
  runs(node: string, account: Key): boolean
  /** The agents' pods. */
  agents(): PodFacts[]
}

function factsOf(pod: Pod): PodFacts {
  const { namespace = '', uid, labels = {} } = pod.metadata
  const { nodeName = '', serviceAccountName } = pod.spec
  const { phase, conditions = [] } = pod.status ?? {}
  return {
    key: keyOf(pod),
    namespace,
    uid,
    node: nodeName,
    account: `${namespace}/${serviceAccountName || 'default'}`,
    labels,
    isLive: phase !== 'Succeeded' && phase !== 'Failed',
    isReady: conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
  }
}

/** Whether a pod is one of the mesh's agents, by its labels, account and namespace. */
export function isAgent(pod: PodFacts, namespace: string, account: string): boolean {
  return pod.labels['app.kubernetes.io/name'] === 'weft-agent' && pod.account === `${namespace}/${account}`
}

/**
 * The index over the World of the moment. What is derived from its pods is kept until they change.
 * @param agents.namespace the mesh's own, `agents.account` the agents' ServiceAccount in it
 */
export function podIndex(world: () => World, agents: { namespace: string; account: string }): PodIndex {
  let pods: World['pods'] | null = null
  let running = new Set<string>()
  let found: PodFacts[] = []

  function refresh(): World['pods'] {
    const current = world().pods
    if (current === pods) return current
    pods = current
    running = new Set()
    found = []
    for (const pod of current.values()) {
      const facts = factsOf(pod)
      // A pod in the host's network shares the node's address: it is never attributed an identity.
      if (facts.isLive && pod.spec.hostNetwork !== true) running.add(`${facts.node} ${facts.account}`)
      if (isAgent(facts, agents.namespace, agents.account)) found.push(facts)
    }
    return current
  }

  return {
    pod(key) {
      const pod = refresh().get(key)
      return pod === undefined ? null : factsOf(pod)
    },
    runs(node, account) {
      refresh()
      return node !== '' && running.has(`${node} ${account}`)
    },
    agents() {
      refresh()
      return found
    },
  }
}
