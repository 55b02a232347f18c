// Names: of Services as people write them in splits and annotations, and of the Services that the mesh makes for them.

import { createHash } from 'node:crypto'
import type { Key } from '../contract/resources.ts'
import { quote } from './problem.ts'
import type { Settings } from './settings.ts'

/** Labels, annotations and their values that the mesh gives a meaning. */
export const labels = {
  mesh: 'weft.dev/mesh',
  access: 'weft.dev/access',
  lock: 'weft.dev/lock',
  /** On what the controller writes: the Service that it stands for, and that one's UID. */
  service: 'weft.dev/service',
  namespace: 'weft.dev/namespace',
  uid: 'weft.dev/uid',
  managedBy: 'app.kubernetes.io/managed-by',
  resting: 'weft.dev/resting-ports',
  claimed: 'weft.dev/claimed-ports',
  sliceOf: 'kubernetes.io/service-name',
} as const

/** What `app.kubernetes.io/managed-by` says on everything that the controller writes. */
export const manager = 'weft'

const labelForm = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const maxLabelLength = 63
const maxShadowServiceLength = 46

/** Whether it can be the name of a Service or a Namespace (RFC 1123 label). */
export function isLabel(value: unknown): value is string {
  return typeof value === 'string' && labelForm.test(value)
}

/** Whether it can be the name of a ServiceAccount or an SMI object (RFC 1123 subdomain). */
export function isSubdomain(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 253 && value.split('.').every((label) => labelForm.test(label))
}

/** `namespace/name` */
export function toKey(namespace: string, name: string): Key {
  return `${namespace}/${name}`
}

/** The namespace of a `namespace/name`. */
export function namespaceOf(key: Key): string {
  return key.slice(0, key.indexOf('/'))
}

/** The name of a `namespace/name`. */
export function nameOf(key: Key): string {
  return key.slice(key.indexOf('/') + 1)
}

/**
 * Reads a Service's name as SMI objects and annotations carry it: bare, or with namespace, `svc` and domain, trailing dot, port.
 * @param own the namespace that it stands in: names of others are refused, so that nobody can take over a Service of theirs
 * @returns the bare name, or what is wrong with it
 */
export function readServiceName(value: unknown, own: string, settings: Settings): { name: string } | { error: string } {
  if (typeof value !== 'string' || value === '') return { error: 'must be the name of a Service' }
  const host = value.toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '')
  const [name = '', namespace = own, ...domain] = host.split('.')
  const rest = domain.join('.')
  const isServiceDomain =
    rest === '' || rest === 'svc' || rest === `svc.${settings.clusterDomain}` || rest === settings.meshDomain
  if (!isLabel(name) || !isLabel(namespace) || !isServiceDomain) {
    return { error: `${quote(value)} is not the name of a Service; write its bare name, e.g. "reviews"` }
  }
  if (namespace !== own) {
    return {
      error: `${quote(value)} is in namespace ${quote(namespace)}; only Services of the object's own namespace ${quote(own)} can be named`,
    }
  }
  return { name }
}

/**
 * Name of the shadow Service of a dedicated address: readable, and unique for each `namespace/name`.
 * @returns at most 63 characters, a valid label
 */
export function shadowName(key: Key): string {
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 16)
  return `${nameOf(key).slice(0, maxShadowServiceLength).replace(/-+$/, '')}-${hash}`
}

/** Name of a Service's alias, or null if that would be too long for a name. */
export function aliasName(key: Key, suffix: string): string | null {
  const name = nameOf(key) + suffix
  return name.length <= maxLabelLength ? name : null
}
