// Agents of the release before: the resources of this contract version in the words of the older ones. Each step leads down
// by one version; what can't be said there is left out, never half said.

import { isIPv6 } from 'node:net'
import type { Resource } from '../contract/resources.ts'
import { contract } from '../contract/version.ts'
import type { Encoded } from '../translate/translate.ts'

/** Leads a resource down by one version; null: there is no such thing there. */
type Step = (resource: Resource) => Resource | null

/** By the version that they lead to. */
const steps: Readonly<Record<number, Step>> = { 1: asVersion1 }

/** What was said in older versions, kept as long as the resource itself: it is translated once, whatever the number of agents. */
const said = new WeakMap<Encoded, Map<number, string | null>>()

/**
 * The JSON of a resource in a contract version.
 * @returns null if that version can't express it
 */
export function inContract(encoded: Encoded, version: number): string | null {
  if (version >= contract.newest) return encoded.text
  const known = said.get(encoded) ?? new Map<number, string | null>()
  said.set(encoded, known)
  let text = known.get(version)
  if (text === undefined) {
    const resource = toVersion(encoded.resource, version)
    text = resource === null ? null : JSON.stringify(resource)
    known.set(version, text)
  }
  return text
}

/** Leads a resource of the newest version down to another one. */
export function toVersion(resource: Resource, version: number): Resource | null {
  let current: Resource | null = resource
  for (let next = contract.newest - 1; next >= version && current !== null; next--) {
    current = steps[next]?.(current) ?? null
  }
  return current
}

/** Version 1 knows IPv4 alone, one address of each thing, and no endpoints that are for their own node only. */
function asVersion1(resource: Resource): Resource | null {
  switch (resource.kind) {
    case 'mesh':
      return onlyIpv4(resource)
    case 'service': {
      const { nodeLocal: _, ...policy } = resource.policy
      return onlyIpv4({ ...resource, policy })
    }
    case 'workload': {
      const known = onlyIpv4(resource)
      return known.address === '' ? null : known
    }
    case 'peer':
      return isIPv6(resource.address) ? null : resource
    case 'endpoints':
      return { ...resource, endpoints: resource.endpoints.filter(({ address }) => !isIPv6(address)) }
    default:
      return resource
  }
}

function onlyIpv4<T extends { address: string; secondAddress?: string }>(resource: T): T {
  const { secondAddress, ...rest } = resource
  const address = [rest.address, secondAddress].find((each) => each !== undefined && !isIPv6(each)) ?? ''
  return { ...rest, address } as T
}
