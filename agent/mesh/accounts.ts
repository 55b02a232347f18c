// Control thread: the accounts whose certificates this node needs, read from the snapshot.

import type { Key } from '../../controller/contract/resources.ts'
import { resourceIn, type Wanted } from './store.ts'

export interface Accounts {
  /** Of the node's live pods: any of them may call, and all others' certificates are forgotten. */
  readonly present: ReadonlySet<Key>
  /** Those of them that serve the mesh: their certificates are asked for before anybody calls. */
  readonly ahead: ReadonlySet<Key>
}

/** The accounts of a node's pods. */
export function accountsOf(wanted: Wanted, node: string): Accounts {
  const present = new Set<Key>()
  const ahead = new Set<Key>()
  const mark = `"node":${JSON.stringify(node)}`
  for (const [key, line] of wanted.lines) {
    if (key.startsWith('workload ')) {
      const workload = resourceIn(wanted, 'workload', key.slice('workload '.length))
      if (workload?.live) present.add(workload.account)
      // Of thousands of endpoint lists few name this node: a look at the text spares parsing the others.
    } else if (key.startsWith('endpoints ') && line.includes(mark)) {
      for (const account of served(wanted, key.slice('endpoints '.length), node)) ahead.add(account)
    }
  }
  return { present, ahead: ahead.intersection(present) }
}

/** Accounts of this node's endpoints of a port, if its Service is in the mesh. */
function served(wanted: Wanted, name: string, node: string): Key[] {
  const service = resourceIn(wanted, 'service', name.slice(0, name.lastIndexOf(':')))
  if (service === null) return []
  const endpoints = resourceIn(wanted, 'endpoints', name)?.endpoints ?? []
  return endpoints.filter((endpoint) => endpoint.node === node).map((endpoint) => endpoint.account)
}
