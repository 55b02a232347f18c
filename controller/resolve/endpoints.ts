// Endpoints: the ready addresses of each port of a Service, out of its EndpointSlices, each judged by the guard; where none
// is ready, those that end but still serve, as kube-proxy does. The pod is looked up by address; what a slice says about
// nodes and pods is not believed.

import { isIPv4 } from 'node:net'
import type { EndpointSpec, Key } from '../contract/resources.ts'
import type { EndpointSlice, Service, ServicePort } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import { type Guard, isHostAllowed } from './guard.ts'
import { labels, toKey } from './names.ts'
import type { Pods } from './pods.ts'
import { type Problems, quote } from './problem.ts'
import type { Settings } from './settings.ts'

/** Slices by the Service that they belong to. */
export function groupSlices(world: World): Map<Key, EndpointSlice[]> {
  const groups = new Map<Key, EndpointSlice[]>()
  for (const slice of world.slices.values()) {
    const service = slice.metadata.labels?.[labels.sliceOf]
    if (service === undefined) continue
    const key = toKey(slice.metadata.namespace ?? '', service)
    const group = groups.get(key)
    if (group) group.push(slice)
    else groups.set(key, [slice])
  }
  return groups
}

export interface EndpointSource {
  guard: Guard
  pods: Pods
  settings: Settings
}

/**
 * Finds the usable endpoints of one port.
 * @param slices of this Service
 * @param problems of the Service: refused addresses are reported there
 */
export function endpointsOf(
  service: Service,
  port: ServicePort,
  slices: EndpointSlice[],
  source: EndpointSource,
  problems: Problems,
): EndpointSpec[] {
  if (service.spec.type === 'ExternalName') return externalEndpoint(service, port, source.settings)
  const carried = slices.filter(({ addressType }) => addressType === 'IPv4')
  if (
    carried.length === 0 &&
    slices.some(({ addressType, endpoints }) => addressType === 'IPv6' && endpoints?.length)
  ) {
    problems.warn(
      'EndpointRefused',
      'spec.ipFamilies',
      'there are only IPv6 endpoints, which the mesh does not carry; add IPv4',
    )
  }
  const found = new Map<string, EndpointSpec>()
  for (const isUsable of [isReady, isStillServing]) {
    // A Service whose only pod is being replaced goes on with the old one until the new one is ready.
    if (found.size > 0) break
    for (const slice of carried) {
      const target = slice.ports?.find(
        ({ name, protocol }) => (name ?? '') === (port.name ?? '') && (protocol ?? 'TCP') === 'TCP',
      )
      if (target?.port) collect(slice, target.port, isUsable, source, found, problems)
    }
  }
  return [...found.values()].sort(byAddress)
}

type Conditions = NonNullable<EndpointSlice['endpoints']>[number]['conditions']

/** What does not say is ready (discovery/v1: a null condition counts as true). */
function isReady(conditions: Conditions): boolean {
  return conditions?.ready !== false
}

function isStillServing(conditions: Conditions): boolean {
  return conditions?.terminating === true && conditions.serving !== false && !isReady(conditions)
}

function collect(
  slice: EndpointSlice,
  port: number,
  isUsable: (conditions: Conditions) => boolean,
  source: EndpointSource,
  found: Map<string, EndpointSpec>,
  problems: Problems,
): void {
  for (const [index, endpoint] of (slice.endpoints ?? []).entries()) {
    const [text] = endpoint.addresses
    if (text === undefined || !isUsable(endpoint.conditions)) continue
    const judgement = source.guard(text)
    if ('refusal' in judgement) {
      if (isAhead(slice, endpoint.targetRef, source.pods)) continue
      problems.warn(
        'EndpointRefused',
        `EndpointSlice ${slice.metadata.name} endpoints[${index}].addresses[0]`,
        `${quote(text)} ${judgement.refusal}; it gets no traffic`,
      )
      continue
    }
    const { address, seat } = judgement
    // A slice may lag behind the end of its pod, or hold what its address type does not announce.
    if ((seat !== null && !seat.isLive) || !isIPv4(address)) continue
    found.set(`${address}:${port}`, {
      address,
      port,
      node: seat?.node ?? '',
      pod: seat?.key ?? '',
      podUid: seat?.uid ?? '',
      account: seat?.account ?? '',
      workload: seat?.workload ?? '',
    })
  }
}

/** Whether a slice names a pod that our view of the pods has not shown yet, or shows without an address. */
function isAhead(
  slice: EndpointSlice,
  target: { kind?: string; namespace?: string; name?: string } | undefined,
  pods: Pods,
): boolean {
  if (target?.kind !== 'Pod' || target.name === undefined) return false
  return !pods.isAddressed(toKey(target.namespace ?? slice.metadata.namespace ?? '', target.name))
}

/** The host itself, where a flag allows it: the agents look it up. */
function externalEndpoint({ spec }: Service, port: ServicePort, settings: Settings): EndpointSpec[] {
  const host = (spec.externalName ?? '').toLowerCase().replace(/\.$/, '')
  if (!isHostAllowed(host, settings)) return []
  return [{ address: host, port: port.port, node: '', pod: '', podUid: '', account: '', workload: '' }]
}

function byAddress(a: EndpointSpec, b: EndpointSpec): number {
  if (a.address !== b.address) return a.address < b.address ? -1 : 1
  return a.port - b.port
}
