// Control thread: the accounts whose certificates this node needs, read from the snapshot.

import type { Key } from '../../controller/contract/resources.ts'
import { resourceIn, type Wanted } from './store.ts'

export interface Accounts {
  /** Of the node's live pods: any of them may call, and all others' certificates are forgotten. */
  readonly present: ReadonlySet<Key>
  /**
   * Those of them in namespaces with Services of the mesh: their certificates are asked for as soon as a pod has its address,
   * so that they are there when it becomes ready and other nodes' callers come.
   */
  readonly ahead: ReadonlySet<Key>
}

/** The accounts of a node's pods. */
export function accountsOf(wanted: Wanted): Accounts {
  const present = new Set<Key>()
  const meshed = new Set<string>()
  for (const key of wanted.lines.keys()) {
    const name = key.slice(key.indexOf(' ') + 1)
    if (key.startsWith('service ')) meshed.add(namespaceOf(name))
    if (!key.startsWith('workload ')) continue
    const workload = resourceIn(wanted, 'workload', name)
    if (workload?.live) present.add(workload.account)
  }
  return { present, ahead: new Set([...present].filter((account) => meshed.has(namespaceOf(account)))) }
}

function namespaceOf(key: Key): string {
  return key.slice(0, key.indexOf('/'))
}
