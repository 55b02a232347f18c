// Endpoints: the ready addresses of each port of a Service, out of its EndpointSlices, each judged by the guard; where none
// is ready, those that end but still serve, as kube-proxy does. The pod is looked up by address; what a slice says about
// nodes and pods is not believed.

import { isIPv4 } from 'node:net'
import type { EndpointSpec } from '../contract/resources.ts'
import type { EndpointSlice, Service, ServicePort } from '../observe/objects.ts'
import { type Guard, isHostAllowed } from './guard.ts'
import { toKey } from './names.ts'
import type { Pods } from './pods.ts'
import { type Problems, quote } from './problem.ts'
import type { Settings } from './settings.ts'

export interface EndpointSource {
  guard: Guard
  pods: Pick<Pods, 'isAddressed'>
  settings: Settings
}

/**
 * Under which name to look for a port in its Service's slices. Kubernetes writes these a while after a port was renamed:
 * until then its endpoints stand under the old name.
 * @param before the name in the pass before; undefined if the port was not there
 */
export function sliceNameOf(
  { spec }: Service,
  port: ServicePort,
  slices: readonly EndpointSlice[],
  before: string | undefined,
): string {
  const name = port.name ?? ''
  const isTaken = before !== undefined && spec.ports?.some((other) => (other.name ?? '') === before)
  if (before === undefined || isTaken || portIn(slices, name) || !portIn(slices, before)) return name
  return before
}

function portIn(slices: readonly EndpointSlice[], name: string): boolean {
  return slices.some(({ ports }) => ports?.some((port) => isNamed(port, name)))
}

function isNamed(port: NonNullable<EndpointSlice['ports']>[number], name: string): boolean {
  return (port.name ?? '') === name && (port.protocol ?? 'TCP') === 'TCP'
}

/**
 * Finds the usable endpoints of one port.
 * @param name what the slices call it
 * @param slices of this Service
 * @param problems of the Service: refused addresses are reported there
 */
export function endpointsOf(
  service: Service,
  port: ServicePort,
  name: string,
  slices: readonly EndpointSlice[],
  source: EndpointSource,
  problems: Problems,
): EndpointSpec[] {
  if (service.spec.type === 'ExternalName') return externalEndpoint(service, port, source.settings)
  const families = familiesOf(service)
  for (const isUsable of [isReady, isStillServing]) {
    // A dual-stack Service lists each pod once in each family: one of them is enough.
    for (const family of families) {
      const found = new Map<string, EndpointSpec>()
      for (const slice of slices) {
        if (slice.addressType !== family) continue
        const target = slice.ports?.find((each) => isNamed(each, name))
        if (target?.port) collect(slice, target.port, isUsable, source, found, problems)
      }
      // A Service whose only pod is being replaced goes on with the old one until the new one is ready.
      if (found.size > 0) return [...found.values()].sort(byAddress)
    }
  }
  return []
}

/** The IP families in the order in which the Service wants them, then those that only its slices know of. */
function familiesOf({ spec }: Service): readonly string[] {
  return [...new Set([...(spec.ipFamilies ?? []), 'IPv4', 'IPv6'])]
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
      const field = `EndpointSlice ${slice.metadata.name} endpoints[${index}].addresses[0]`
      // Once, however many ports the Service has.
      const isSaid = problems.list.some((problem) => problem.field === field)
      if (isSaid || isAhead(slice, endpoint.targetRef, source.pods)) continue
      problems.warn('EndpointRefused', field, `${quote(text)} ${judgement.refusal}; it gets no traffic`)
      continue
    }
    const { address, seat } = judgement
    // A slice may lag behind the end of its pod, or hold what its address type does not announce.
    if ((seat !== null && !seat.isLive) || isIPv4(address) !== (slice.addressType === 'IPv4')) continue
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
  pods: EndpointSource['pods'],
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
