// Resources and lines of the contract as the controller would send them, for tests of the agent.

import type { Message } from '../../controller/contract/messages.ts'
import type {
  EndpointSpec,
  MeshResource,
  Resource,
  ServiceResource,
  WorkloadResource,
} from '../../controller/contract/resources.ts'

export const mesh: MeshResource = {
  kind: 'mesh',
  name: 'mesh',
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
  meshDomain: 'mesh.internal',
  aliasSuffix: '-mesh',
  address: '10.96.0.20',
  defaultAccess: 'allow',
}

/** A Service with one HTTP port and no split. */
export function service(name: string, change: Partial<ServiceResource> = {}): ServiceResource {
  const port = { number: 80, name: 'http', protocol: 'http' as const, splits: [] }
  return {
    kind: 'service',
    name,
    uid: `uid-${name}`,
    enrolled: true,
    address: '',
    ports: [port],
    policy: {},
    ...change,
  }
}

/** A split of port 80 between Services. */
export function split(
  name: string,
  weights: Record<string, number>,
): ServiceResource['ports'][number]['splits'][number] {
  return { name, matches: null, backends: Object.entries(weights).map(([service, weight]) => ({ service, weight })) }
}

export function spec(address: string, change: Partial<EndpointSpec> = {}): EndpointSpec {
  return {
    address,
    port: 8080,
    node: 'node1',
    pod: `shop/pod-${address}`,
    podUid: `uid-${address}`,
    account: 'shop/default',
    workload: 'deploy',
    ...change,
  }
}

export function endpoints(name: string, ...addresses: (string | EndpointSpec)[]): Resource {
  return {
    kind: 'endpoints',
    name,
    endpoints: addresses.map((address) => (typeof address === 'string' ? spec(address) : address)),
  }
}

export function workload(address: string, change: Partial<WorkloadResource> = {}): WorkloadResource {
  return {
    kind: 'workload',
    name: `uid-${address}`,
    pod: `shop/pod-${address}`,
    address,
    account: 'shop/default',
    workload: 'deploy',
    live: true,
    startedAt: 1000,
    ...change,
  }
}

/** A `remove` line. */
export interface Gone {
  kind: Resource['kind']
  name: string
  gone: true
}

/** The messages of one transaction. */
export function transaction(version: string, full: boolean, ...items: (Resource | Gone)[]): Message[] {
  const changes = items.map(
    (item): Message =>
      'gone' in item ? { type: 'remove', kind: item.kind, name: item.name } : { type: 'set', resource: item },
  )
  return [{ type: 'begin', version, full }, ...changes, { type: 'commit', version, count: changes.length }]
}

/** Messages as NDJSON, each line ended. */
export function ndjson(messages: readonly unknown[]): string {
  return messages.map((message) => `${JSON.stringify(message)}\n`).join('')
}

/** Only the `set` and `remove` lines: what a data thread gets. */
export function change(...items: (Resource | Gone)[]): Uint8Array {
  const lines = transaction('x', false, ...items).slice(1, -1)
  return new TextEncoder().encode(lines.map((line) => JSON.stringify(line)).join('\n'))
}
