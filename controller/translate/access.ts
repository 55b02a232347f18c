// Resources about who may call whom: the rules of each destination account that a TrafficTarget names, and the namespaces
// whose mode is not the default.

import type { AccessResource, NamespaceResource } from '../contract/resources.ts'
import type { Settings } from '../resolve/settings.ts'
import { enforcedAccounts } from '../resolve/targets.ts'
import type { Topology } from '../resolve/topology.ts'

/** One for each account that is named, even if no rule of it can be read: it is enforced all the same. */
export function accessResources({ targets }: Topology): AccessResource[] {
  return enforcedAccounts(targets).map(({ key, rules }) => ({ kind: 'access', name: key, rules }))
}

export function namespaceResources({ namespaces }: Topology, { defaultAccess }: Settings): NamespaceResource[] {
  return namespaces
    .filter(({ access }) => access !== defaultAccess)
    .map(({ name, access }) => ({ kind: 'namespace', name, access }))
}
