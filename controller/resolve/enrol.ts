// Enrolment: which Services are in the mesh. A Service's own label wins over its namespace's; the mesh's own namespace, the
// cluster's, and what the controller itself wrote are never in it.

import type { AccessMode } from '../contract/resources.ts'
import { keyOf, type Namespace, type Service } from '../observe/objects.ts'
import { labels, manager } from './names.ts'
import { type Problems, quote } from './problem.ts'
import type { Settings } from './settings.ts'

/** What it takes to know our own Services. */
export type OwnNames = Pick<Settings, 'namespace' | 'meshService' | 'aliasSuffix'>

/**
 * Whether the controller wrote this Service, and may change or delete it. The label of who manages it is not enough: what
 * manifests install may carry that, too. Nor must our labels be there: somebody may have taken them off.
 */
export function isOurs({ metadata }: Service, { namespace, meshService, aliasSuffix }: OwnNames): boolean {
  const { name, labels: own = {}, annotations = {}, ownerReferences = [] } = metadata
  const isInside = metadata.namespace === namespace
  if (isInside && (name === meshService || annotations[labels.uid] !== undefined)) return true
  if (own[labels.managedBy] === manager && own[labels.service] !== undefined) return true
  return ownerReferences.some((owner) => owner.kind === 'Service' && name === owner.name + aliasSuffix)
}

/** Whether nothing in this namespace is ever enrolled. */
export function isExcluded(namespace: string, settings: Settings): boolean {
  return namespace === settings.namespace || settings.excludedNamespaces.includes(namespace)
}

/**
 * Decides whether a Service is in the mesh.
 * @param namespace its Namespace; undefined if that is not known
 */
export function isEnrolled(
  service: Service,
  namespace: Namespace | undefined,
  settings: Settings,
  problems: Problems,
): boolean {
  const own = readMeshLabel(service.metadata.labels, problems)
  const wanted = own ?? readMeshLabel(namespace?.metadata.labels, null) ?? false
  if (!wanted) return false
  if (isOurs(service, settings) || keyOf(service) === 'default/kubernetes') return false
  if (!isExcluded(service.metadata.namespace ?? '', settings)) return true
  if (own === true) {
    problems.warn(
      'NotEnrolled',
      `metadata.labels[${labels.mesh}]`,
      `Services of namespace ${quote(service.metadata.namespace)} are never in the mesh; remove the label`,
    )
  }
  return false
}

/**
 * Reads the label that opts in or out.
 * @param problems null: bad values have been reported elsewhere
 * @returns null if it is absent or can't be read
 */
function readMeshLabel(of: Record<string, string> | undefined, problems: Problems | null): boolean | null {
  const value = of?.[labels.mesh]
  if (value === undefined) return null
  if (value === 'enabled') return true
  if (value === 'disabled') return false
  problems?.error(
    'LabelInvalid',
    `metadata.labels[${labels.mesh}]`,
    `${quote(value)} is neither "enabled" nor "disabled"; it is ignored`,
  )
  return null
}

/**
 * Reads a Namespace's labels.
 * @returns its access mode: a value that can't be read counts as `deny`, since whoever set one wanted a guard
 */
export function readNamespace(namespace: Namespace, settings: Settings, problems: Problems): AccessMode {
  readMeshLabel(namespace.metadata.labels, problems)
  const value = namespace.metadata.labels?.[labels.access]
  if (value === undefined) return settings.defaultAccess
  if (value === 'allow' || value === 'deny') return value
  problems.error(
    'LabelInvalid',
    `metadata.labels[${labels.access}]`,
    `${quote(value)} is neither "allow" nor "deny"; until it is corrected it counts as "deny"`,
  )
  return 'deny'
}
