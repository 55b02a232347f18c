// Which port of which service an address of this node serves: what the inbound path knows a request as. One index per
// snapshot, made at first use.

import type { Backend, Port, Snapshot } from './snapshot.ts'

/** A pod's port as a service's backend. */
export interface LocalBackend {
  readonly port: Port
  readonly backend: Backend
}

const indexes = new WeakMap<Snapshot, ReadonlyMap<string, LocalBackend>>()

/**
 * The enrolled service that a pod's port belongs to; of several the first by name.
 * @param authority address and port of the pod, as `joinPort` writes them
 * @returns undefined if no enrolled service sends anything there
 */
export function localBackend(snapshot: Snapshot, authority: string): LocalBackend | undefined {
  let index = indexes.get(snapshot)
  if (index === undefined) {
    index = makeIndex(snapshot)
    indexes.set(snapshot, index)
  }
  return index.get(authority)
}

function makeIndex(snapshot: Snapshot): Map<string, LocalBackend> {
  const index = new Map<string, LocalBackend>()
  for (const key of [...snapshot.locals].sort()) {
    const service = snapshot.services.get(key)!
    for (const port of service.ports.values()) {
      for (const endpoint of port.own.endpoints) {
        if (endpoint.isLocal && !index.has(endpoint.key)) index.set(endpoint.key, { port, backend: port.own })
      }
    }
  }
  return index
}
