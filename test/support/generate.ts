// Worlds by chance, the same in every run: Services, pods and SMI objects that name each other, sound and broken, and the
// events that lead from one world to the next. For tests of what must hold in all of them.

import { builtinKinds, smiKinds } from '../../controller/observe/kinds.ts'
import type { KubeObject } from '../../controller/observe/objects.ts'
import type { World } from '../../controller/observe/world.ts'
import { seededRandom } from './snapshot.ts'

/** Something happened to one object; `null`: it is gone. */
export interface Happened {
  kind: string
  /** `namespace/name`, or the name alone. */
  key: string
  object: KubeObject | null
}

const namespaces = ['shop', 'bank']
const names = ['a', 'b', 'c', 'd']

export interface Generator {
  /** The next event; often one of an object that was there before. */
  event(): Happened
  /** The same list in another order. */
  shuffle<T>(list: readonly T[]): T[]
  /** A whole number below a bound. */
  below(bound: number): number
}

const partOf = new Map([...builtinKinds, ...smiKinds].map(({ kind, part }) => [kind, part]))

/** The world after some events; it shares all parts in which nothing happened with the one before. */
export function worldAfter(world: World, ...events: readonly Happened[]): World {
  const next: Record<string, ReadonlyMap<string, KubeObject>> = { ...world }
  for (const { kind, key, object } of events) {
    const part = partOf.get(kind)!
    const objects = new Map(next[part])
    if (object === null) objects.delete(key)
    else objects.set(key, object)
    next[part] = objects
  }
  return next as unknown as World
}

/** The same world with the objects of each part in another order. */
export function shuffled(world: World, { shuffle }: Generator): World {
  return Object.fromEntries(
    Object.entries(world).map(([part, objects]) => [part, new Map(shuffle([...objects]))]),
  ) as unknown as World
}

/** Opens a generator. */
export function generator(seed: number): Generator {
  const random = seededRandom(seed)
  const below = (bound: number) => Math.floor(random() * bound)
  const one = <T>(list: readonly T[]): T => list[below(list.length)]!
  const some = <T>(list: readonly T[], most: number) => Array.from({ length: below(most + 1) }, () => one(list))
  const maybe = (chance: number) => random() < chance
  let version = 0

  function meta(name: string, namespace: string | null, kind: string) {
    version++
    const created = `2026-11-0${1 + below(3)}T00:00:00Z`
    const place = namespace === null ? {} : { namespace }
    return {
      name,
      ...place,
      uid: `${kind}-${namespace}-${name}`,
      resourceVersion: `${version}`,
      creationTimestamp: created,
    }
  }

  const accountOf = (name: string) => ({ kind: one(['ServiceAccount', 'ServiceAccount', 'Group']), name })
  const weight = () => one<unknown>([0, 1, 5, '50', '500m', 'heavy', -1])
  const serviceName = () => one([...names, 'a.shop', 'b.bank', 'gone'])
  const ports = () => one([[80], [80, 90], [5432], [80, 5432]])

  const makers: Record<string, (name: string, namespace: string) => object> = {
    Service: () => ({
      spec: {
        clusterIP: `10.96.0.${1 + below(250)}`,
        selector: { app: 'x' },
        ports: ports().map((port) => ({ name: `p${port}`, port, protocol: 'TCP', targetPort: 8080 })),
      },
    }),
    ServiceAccount: () => ({}),
    Pod: (name) => ({
      spec: { nodeName: one(['node1', 'node2']), serviceAccountName: name },
      status: {
        phase: one(['Running', 'Running', 'Pending']),
        podIP: `10.1.0.${1 + below(20)}`,
        startTime: '2026-11-01T00:00:00Z',
      },
    }),
    EndpointSlice: () => ({
      addressType: 'IPv4',
      endpoints: some(names, 3).map(() => ({
        addresses: [`10.1.0.${1 + below(20)}`],
        conditions: { ready: maybe(0.8) },
      })),
      ports: ports().map((port) => ({ name: `p${port}`, port: 8080, protocol: 'TCP' })),
    }),
    TrafficSplit: () => ({
      spec: {
        service: serviceName(),
        backends: some(names, 3).map(() => ({ service: serviceName(), weight: weight() })),
        ...(maybe(0.4) ? { matches: some(names, 2).map((group) => ({ kind: 'HTTPRouteGroup', name: group })) } : {}),
      },
    }),
    TrafficTarget: () => {
      const fields = {
        destination: { ...accountOf(one(names)), ...(maybe(0.3) ? { port: one<unknown>([80, '8080', 'x']) } : {}) },
        sources: some(names, 2).map(accountOf),
        rules: some(names, 2).map((name) => ({ kind: one(['TCPRoute', 'HTTPRouteGroup', 'UDPRoute', 'X']), name })),
      }
      return maybe(0.3) ? fields : { spec: fields }
    },
    HTTPRouteGroup: () => ({
      spec: {
        matches: some(names, 3).map((name) => ({
          name,
          pathRegex: one(['/a', '/b.*', '(', '/x{2}']),
          ...(maybe(0.5) ? { headers: one<unknown>([{ x: 'y' }, [{ x: 'y' }, { z: '1' }], 'x']) } : {}),
        })),
      },
    }),
    TCPRoute: () => ({ spec: { matches: { ports: one<unknown>([[], [80], [8080, 9], ['x']]) } } }),
    UDPRoute: () => ({ spec: {} }),
  }
  const kinds = Object.keys(makers)
  const versions: Record<string, string> = {
    TrafficSplit: 'split.smi-spec.io/v1alpha2',
    TrafficTarget: 'access.smi-spec.io/v1alpha3',
    HTTPRouteGroup: 'specs.smi-spec.io/v1alpha4',
    TCPRoute: 'specs.smi-spec.io/v1alpha4',
    UDPRoute: 'specs.smi-spec.io/v1alpha4',
    EndpointSlice: 'discovery.k8s.io/v1',
  }

  function namespaceEvent(): Happened {
    const name = one(namespaces)
    const labels = one([{ 'weft.dev/mesh': 'enabled' }, { 'weft.dev/mesh': 'enabled', 'weft.dev/access': 'deny' }, {}])
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { ...meta(name, null, 'Namespace'), labels } }
    return { kind: 'Namespace', key: name, object }
  }

  return {
    below,
    event() {
      if (maybe(0.08)) return namespaceEvent()
      const kind = one(kinds)
      const namespace = one(namespaces)
      const name = one(names)
      const key = `${namespace}/${name}`
      if (maybe(0.15)) return { kind, key, object: null }
      const labels = kind === 'EndpointSlice' ? { labels: { 'kubernetes.io/service-name': one(names) } } : {}
      const apiVersion = versions[kind] ?? 'v1'
      const metadata = { ...meta(name, namespace, kind), ...labels }
      return { kind, key, object: { apiVersion, kind, metadata, ...makers[kind]!(name, namespace) } }
    },
    shuffle(list) {
      const left = [...list]
      return Array.from({ length: left.length }, () => left.splice(below(left.length), 1)[0]!)
    },
  }
}
