// Locks: which pods only agents may connect to. A namespace labelled `weft.dev/lock: enabled` closes the way around the mesh
// by the Services' plain names, which mode `deny` alone does not.

import type { Key } from '../contract/resources.ts'
import type { Meta, Namespace, ObjectRef } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import { labels, manager, nameOf, namespaceOf, toKey } from './names.ts'
import { type Problems, quote } from './problem.ts'
import type { ReadService } from './services.ts'

/** A NetworkPolicy that is to be there. */
export interface LockNode {
  /** Its name, in the namespace of the Service. */
  name: string
  service: Key
  /** The Service, which owns it. */
  ref: ObjectRef
  /** Labels of the pods that are locked: the Service's selector. */
  selector: Record<string, string>
}

const prefix = 'weft-lock-'

/**
 * Reads a Namespace's label.
 * @param problems null: bad values have been reported elsewhere
 * @returns whether its enrolled Services are locked: a value that can't be read counts as `enabled`, since whoever set one
 * wanted a guard
 */
export function readLock(namespace: Namespace | undefined, problems: Problems | null): boolean {
  const value = namespace?.metadata.labels?.[labels.lock]
  if (value === undefined || value === 'disabled') return false
  if (value !== 'enabled') {
    problems?.error(
      'LabelInvalid',
      `metadata.labels[${labels.lock}]`,
      `${quote(value)} is neither "enabled" nor "disabled"; until it is corrected it counts as "enabled"`,
    )
  }
  return true
}

/** The locks of all enrolled Services whose namespaces want them. Problems hang on the Services that can't be locked. */
export function chooseLocks(enrolled: readonly ReadService[], world: World): LockNode[] {
  const locks: LockNode[] = []
  for (const { node, problems } of enrolled) {
    const namespace = namespaceOf(node.key)
    if (!readLock(world.namespaces.get(namespace), null)) continue
    const { selector = {}, type } = world.services.get(node.key)?.spec ?? {}
    if (type === 'ExternalName' || Object.keys(selector).length === 0) {
      problems.warn(
        'LockImpossible',
        'spec.selector',
        `namespace ${namespace} is locked, but this Service selects no pods, so what it leads to stays open to everybody; guard it with a NetworkPolicy of your own`,
      )
      continue
    }
    const name = prefix + nameOf(node.key)
    const other = world.policies.get(toKey(namespace, name))
    if (other !== undefined && !isLockOf(other.metadata, nameOf(node.key))) {
      problems.error(
        'LockNameTaken',
        'metadata.name',
        `another NetworkPolicy is named ${quote(name)} and is left alone, so the pods of this Service are not locked; rename that one`,
      )
      continue
    }
    locks.push({ name, service: node.key, ref: node.ref, selector })
  }
  return locks.sort((a, b) => (a.service < b.service ? -1 : 1))
}

/**
 * Whether a NetworkPolicy is the lock of a Service.
 * @param service its bare name; absent: of any
 */
export function isLockOf({ name, labels: own = {}, ownerReferences = [] }: Meta, service?: string): boolean {
  const labelled = own[labels.managedBy] === manager ? own[labels.service] : undefined
  // Somebody may have taken our labels off.
  const owner = ownerReferences.find((each) => each.kind === 'Service' && name === prefix + each.name)?.name
  const found = labelled ?? owner
  return found !== undefined && (service === undefined || found === service)
}
