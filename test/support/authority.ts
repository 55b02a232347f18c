// An authority in the test's own process: its store, its pods and its clock are in the test's hands.

import { type Authority, type AuthorityOptions, openAuthority } from '../../controller/authority/authority.ts'
import { type PodFacts, type PodIndex, podIndex } from '../../controller/authority/pods.ts'
import type { TokenFacts } from '../../controller/authority/review.ts'
import type { Store, Stored, StoreKind } from '../../controller/authority/store.ts'
import type { Pod } from '../../controller/observe/objects.ts'
import { emptyWorld } from '../../controller/observe/world.ts'
import { FakeClock } from './clock.ts'

/** A store that several replicas share, with versions as the API server keeps them. */
export function memoryStore(): Store & {
  objects: Map<string, Stored>
  writes: string[]
  beforeWrite: () => Promise<void>
} {
  const objects = new Map<string, Stored>()
  const writes: string[] = []
  let version = 0
  const store = {
    objects,
    writes,
    /** Runs before each write: to let another replica in between, or to break off. */
    beforeWrite: async () => {},
    async read(kind: StoreKind, name: string) {
      return structuredClone(objects.get(`${kind}/${name}`) ?? null)
    },
    async create(kind: StoreKind, name: string, stored: Stored) {
      await store.beforeWrite()
      if (objects.has(`${kind}/${name}`)) return false
      objects.set(`${kind}/${name}`, structuredClone({ ...stored, version: `${++version}` }))
      writes.push(`create ${name}`)
      return true
    },
    async replace(kind: StoreKind, name: string, stored: Stored) {
      await store.beforeWrite()
      if (objects.get(`${kind}/${name}`)?.version !== stored.version) return false
      objects.set(`${kind}/${name}`, structuredClone({ ...stored, version: `${++version}` }))
      writes.push(`replace ${name}`)
      return true
    },
  }
  return store
}

/** A pod as the API shows it. */
export function testPod(
  key: string,
  node: string,
  account: string,
  more: {
    uid?: string
    phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed'
    labels?: Record<string, string>
    hostNetwork?: boolean
    ready?: boolean
  } = {},
): Pod {
  const [namespace, name] = key.split('/') as [string, string]
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, uid: more.uid ?? `uid-${name}`, resourceVersion: '1', labels: more.labels ?? {} },
    spec: { nodeName: node, serviceAccountName: account, hostNetwork: more.hostNetwork ?? false },
    status: {
      phase: more.phase ?? 'Running',
      conditions: [{ type: 'Ready', status: more.ready === false ? 'False' : 'True' }],
    },
  }
}

/** The agent's pod of a node. */
export function agentPod(node: string, more: Parameters<typeof testPod>[3] = {}): Pod {
  return testPod(`weft-system/weft-agent-${node}`, node, 'weft-agent', {
    labels: { 'app.kubernetes.io/name': 'weft-agent' },
    ...more,
  })
}

/** Pods that a test may exchange. */
export function testPods(...pods: Pod[]): PodIndex & { set(...pods: Pod[]): void } {
  let world = emptyWorld
  const index = podIndex(() => world, { namespace: 'weft-system', account: 'weft-agent' })
  const set = (...next: Pod[]) => {
    world = { ...emptyWorld, pods: new Map(next.map((pod) => [`${pod.metadata.namespace}/${pod.metadata.name}`, pod])) }
  }
  set(...pods)
  return { ...index, set }
}

/** The token `agent:<node>` is that of the node's agent; other tokens can be added. */
export function testTokens(pods: PodIndex): {
  review: AuthorityOptions['review']
  add: (token: string, facts: TokenFacts) => void
  asked: string[]
} {
  const added = new Map<string, TokenFacts>()
  const asked: string[] = []
  return {
    asked,
    add: (token, facts) => added.set(token, facts),
    async review(token, audience) {
      asked.push(audience)
      const facts = added.get(token)
      if (facts !== undefined) return facts
      const pod: PodFacts | null = pods.pod(`weft-system/weft-agent-${token.replace('agent.', '')}`)
      if (pod === null) return null
      return {
        username: 'system:serviceaccount:weft-system:weft-agent',
        audiences: [audience],
        podName: pod.key.slice('weft-system/'.length),
        podUid: pod.uid,
      }
    },
  }
}

/** Log lines, kept. */
export function testLog() {
  const lines: { level: string; fields: Record<string, unknown>; message: string }[] = []
  const at = (level: string) => (fields: unknown, message?: string) => {
    lines.push({ level, fields: fields as Record<string, unknown>, message: message ?? '' })
  }
  return { lines, info: at('info'), warn: at('warn'), error: at('error') }
}

/** Opens an authority; what the test does not name is given a simple one. */
export async function testAuthority(
  options: Partial<Omit<AuthorityOptions, 'clock' | 'store' | 'log'>> & {
    store?: ReturnType<typeof memoryStore>
    clock?: FakeClock
  } = {},
): Promise<{
  authority: Authority
  store: ReturnType<typeof memoryStore>
  clock: FakeClock
  log: ReturnType<typeof testLog>
}> {
  const store = options.store ?? memoryStore()
  const clock = options.clock ?? new FakeClock(0, Date.now())
  const log = testLog()
  const pods = options.pods ?? testPods(agentPod('n1'), testPod('shop/reviews-1', 'n1', 'reviews'))
  const authority = await openAuthority({
    namespace: 'weft-system',
    trustDomain: 'cluster.local',
    replica: 'weft-controller-1',
    lifetimeMs: 86_400_000,
    isLeader: () => true,
    review: testTokens(pods).review,
    ...options,
    pods,
    store,
    clock,
    log,
  })
  return { authority, store, clock, log }
}
