// Small snapshots for unit tests, made by hand instead of by apply.

import { Endpoint } from '../../agent/mesh/endpoint.ts'
import type { MatchInput } from '../../agent/mesh/match.ts'
import type { Backend, Port, Service, Snapshot, Split } from '../../agent/mesh/snapshot.ts'
import type {
  AccessResource,
  EndpointSpec,
  NamespaceResource,
  PeerResource,
  PortResource,
  Protocol,
  ServicePolicy,
  WorkloadResource,
} from '../../controller/contract/resources.ts'
import { mesh, spec } from './resources.ts'

export function endpointSpec(address: string, given: Partial<EndpointSpec> = {}): EndpointSpec {
  return spec(address, { account: 'shop/reviews', workload: 'reviews', ...given })
}

/** An endpoint on this node, or, if a node is given, on that one. */
export function endpoint(address: string, given: Partial<EndpointSpec> = {}, since = 0): Endpoint {
  return new Endpoint('shop/reviews:9080', endpointSpec(address, given), given.node === undefined, since)
}

export function backend(
  endpoints: readonly Endpoint[],
  policy: ServicePolicy = {},
  key = 'shop/reviews:9080',
): Backend {
  return { key, service: key.slice(0, key.indexOf(':')), port: 9080, policy, endpoints }
}

export interface ServiceGiven {
  key: string
  uid?: string
  enrolled?: boolean
  policy?: ServicePolicy
  ports?: { number: number; protocol?: Protocol; splits?: Split[]; own?: Backend }[]
}

export function service(given: ServiceGiven): Service {
  const [namespace, name] = given.key.split('/') as [string, string]
  const ports = new Map<number, Port>()
  const made: Service = {
    key: given.key,
    namespace,
    name,
    uid: given.uid ?? `uid-${given.key}`,
    enrolled: given.enrolled ?? true,
    address: '',
    policy: given.policy ?? {},
    ports,
  }
  for (const { number, protocol, splits, own } of given.ports ?? [{ number: 9080 }]) {
    const mine = own ?? backend([], made.policy, `${given.key}:${number}`)
    ports.set(number, { service: made, number, protocol: protocol ?? 'http', splits: splits ?? [], own: mine })
  }
  return made
}

export function workload(address: string, account = 'shop/reviews', given: Partial<WorkloadResource> = {}) {
  const [namespace, name] = account.split('/')
  const made: WorkloadResource = {
    kind: 'workload',
    name: `uid-${address}`,
    pod: `${namespace}/${name}-pod`,
    address,
    account,
    workload: name!,
    live: true,
    startedAt: 0,
    ...given,
  }
  return made
}

export interface SnapshotGiven {
  services?: Service[]
  ports?: PortResource[]
  workloads?: WorkloadResource[]
  peers?: PeerResource[]
  namespaces?: NamespaceResource[]
  access?: AccessResource[]
  defaultAccess?: 'allow' | 'deny'
}

export function snapshot(given: SnapshotGiven = {}): Snapshot {
  return {
    version: '1',
    mesh: { ...mesh, address: '127.96.0.2', defaultAccess: given.defaultAccess ?? 'allow' },
    services: new Map((given.services ?? []).map((one) => [one.key, one])),
    locals: new Set((given.services ?? []).map((one) => one.key)),
    ports: new Map((given.ports ?? []).map((one) => [Number(one.name), one])),
    workloads: new Map((given.workloads ?? []).map((one) => [one.address, one])),
    peers: new Map((given.peers ?? []).map((one) => [one.name, one])),
    namespaces: new Map((given.namespaces ?? []).map((one) => [one.name, one])),
    access: new Map((given.access ?? []).map((one) => [one.name, one])),
  }
}

/** A request as matches see it. */
export function input(method: string, path: string, headers: Record<string, string> = {}): MatchInput {
  return { method, path, header: (name) => (Object.hasOwn(headers, name) ? headers[name]! : null) }
}

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
