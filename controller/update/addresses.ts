// ClusterIPs of the Services that the controller keeps. Whoever deletes one gets it back under the address that clients
// have from DNS, if nobody else has taken that meanwhile.

import { keyOf, type Service } from '../observe/objects.ts'
import type { DesiredService } from '../translate/desired.ts'

interface Addresses {
  clusterIP: string
  clusterIPs: string[]
}

export interface AddressBook {
  /** Notes the addresses of those that are wanted and there; what is not wanted any more is forgotten. */
  note(desired: readonly DesiredService[], actual: ReadonlyMap<string, Service>): void
  /** @returns what to create: with its old address if it is known, else as it is desired */
  addressed(desired: DesiredService): DesiredService | (DesiredService & { spec: Addresses })
  /** The address can't be had any more. */
  forget(desired: DesiredService): void
}

/** Opens an empty book. */
export function openAddressBook(): AddressBook {
  let known = new Map<string, Addresses>()
  return {
    note(desired, actual) {
      const next = new Map<string, Addresses>()
      for (const service of desired) {
        if (service.spec.type === 'ExternalName') continue
        const key = keyOf(service)
        const { clusterIP, clusterIPs } = actual.get(key)?.spec ?? {}
        const addresses = clusterIP && clusterIPs ? { clusterIP, clusterIPs } : known.get(key)
        if (addresses !== undefined) next.set(key, addresses)
      }
      known = next
    },
    addressed(desired) {
      const addresses = known.get(keyOf(desired))
      return addresses === undefined ? desired : { ...desired, spec: { ...desired.spec, ...addresses } }
    },
    forget: (desired) => known.delete(keyOf(desired)),
  }
}
