// The questions that the authority asks about pods, answered from what the controller observes.

import type { Key } from '../contract/resources.ts'
import { keyOf, type Pod } from '../observe/objects.ts'
import { keysChanged } from '../observe/view.ts'
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
  /** Its own addresses; none in the host's network. */
  addresses: readonly string[]
  /** One of the mesh's agents, by its namespace, account and labels. */
  isAgent: boolean
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

/** Which pods are agents. */
export interface AgentMarks {
  /** The mesh's own namespace. */
  namespace: string
  /** Their ServiceAccount in it. */
  account: string
  /** Their labels. */
  selector?: Readonly<Record<string, string>>
}

const usualSelector = { 'app.kubernetes.io/name': 'weft-agent' }

function factsOf(pod: Pod, marks: AgentMarks): PodFacts {
  const { namespace = '', uid, labels = {} } = pod.metadata
  const { nodeName = '', serviceAccountName, hostNetwork = false } = pod.spec
  const { phase, conditions = [], podIP = '', podIPs = [{ ip: podIP }] } = pod.status ?? {}
  const account = `${namespace}/${serviceAccountName || 'default'}`
  const isLabelled = Object.entries(marks.selector ?? usualSelector).every(([name, value]) => labels[name] === value)
  return {
    key: keyOf(pod),
    namespace,
    uid,
    node: nodeName,
    account,
    addresses: hostNetwork ? [] : podIPs.map(({ ip }) => ip).filter((ip) => ip !== ''),
    isAgent: isLabelled && account === `${marks.namespace}/${marks.account}`,
    isLive: phase !== 'Succeeded' && phase !== 'Failed',
    isReady: conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
  }
}

/**
 * The index over the World of the moment. It follows the pods: what that costs depends on how many changed.
 */
export function podIndex(world: () => World, marks: AgentMarks): PodIndex {
  let pods: World['pods'] = new Map()
  /** How many pods of an account a node runs. */
  const running = new Map<string, number>()
  const found = new Map<Key, PodFacts>()

  function count(pod: Pod, by: number): void {
    const { isLive, node, account } = factsOf(pod, marks)
    // A pod in the host's network shares the node's address: it is never attributed an identity.
    if (!isLive || pod.spec.hostNetwork === true) return
    const name = `${node} ${account}`
    const sum = (running.get(name) ?? 0) + by
    if (sum === 0) running.delete(name)
    else running.set(name, sum)
  }

  function refresh(): World['pods'] {
    const current = world().pods
    for (const key of keysChanged(pods, current)) {
      const [old, next] = [pods.get(key), current.get(key)]
      if (old !== undefined) count(old, -1)
      found.delete(key)
      if (next === undefined) continue
      count(next, 1)
      const facts = factsOf(next, marks)
      if (facts.isAgent) found.set(key, facts)
    }
    pods = current
    return current
  }

  return {
    pod(key) {
      const pod = refresh().get(key)
      return pod === undefined ? null : factsOf(pod, marks)
    },
    runs(node, account) {
      refresh()
      return node !== '' && running.has(`${node} ${account}`)
    },
    agents() {
      refresh()
      return [...found.values()]
    },
  }
}
