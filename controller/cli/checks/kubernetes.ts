// The ground: an API server that answers, is new enough and has the right time, the rights of whoever runs this, and nodes
// whose clocks agree with it.

import { type Check, check, shorten } from './check.ts'

const category = 'Kubernetes'

/** The oldest minor version that the mesh is tried on. */
const oldestMinor = 30

/** The API server itself. */
export function checkVersion(version: { major: string; minor: string; gitVersion: string }): Check[] {
  const { major, minor, gitVersion } = version
  const isRecent = Number(major) > 1 || Number.parseInt(minor, 10) >= oldestMinor
  return [
    check(category, 'the API server answers', ''),
    check(
      category,
      `Kubernetes is 1.${oldestMinor} or newer`,
      isRecent ? '' : gitVersion,
      `upgrade Kubernetes to 1.${oldestMinor} or newer`,
    ),
  ]
}

/** A right, as a SelfSubjectAccessReview asks for it. */
export interface Right {
  verb: string
  group: string
  resource: string
  subresource?: string
  /** Absent: in all namespaces. */
  namespace?: string
}

/** What there is to read before anything can be checked. */
export const rightsToCheck = (namespace: string): Right[] => [
  ...['namespaces', 'nodes', 'pods', 'services', 'serviceaccounts'].map((resource) => right('list', '', resource)),
  right('list', 'discovery.k8s.io', 'endpointslices'),
  right('list', 'networking.k8s.io', 'networkpolicies'),
  right('list', 'split.smi-spec.io', 'trafficsplits'),
  right('list', 'access.smi-spec.io', 'traffictargets'),
  right('list', 'specs.smi-spec.io', 'httproutegroups'),
  right('get', 'apps', 'deployments', namespace),
  right('get', 'apps', 'daemonsets', namespace),
  right('get', 'coordination.k8s.io', 'leases', namespace),
  { ...right('create', '', 'pods', namespace), subresource: 'portforward' },
]

/** What an installation writes. */
export const rightsToInstall = (namespace: string): Right[] => [
  right('create', '', 'namespaces'),
  right('create', 'apiextensions.k8s.io', 'customresourcedefinitions'),
  right('create', 'rbac.authorization.k8s.io', 'clusterroles'),
  right('create', 'rbac.authorization.k8s.io', 'clusterrolebindings'),
  right('create', 'admissionregistration.k8s.io', 'validatingadmissionpolicies'),
  ...['serviceaccounts', 'services'].map((resource) => right('create', '', resource, namespace)),
  ...['roles', 'rolebindings'].map((each) => right('create', 'rbac.authorization.k8s.io', each, namespace)),
  ...['deployments', 'daemonsets'].map((resource) => right('create', 'apps', resource, namespace)),
  right('create', 'policy', 'poddisruptionbudgets', namespace),
  right('create', 'networking.k8s.io', 'networkpolicies', namespace),
]

function right(verb: string, group: string, resource: string, namespace?: string): Right {
  return namespace === undefined ? { verb, group, resource } : { verb, group, resource, namespace }
}

/** @param denied rights that are not there; null: nobody could be asked */
export function checkRights(denied: readonly Right[] | null, purpose: string): Check[] {
  if (denied === null) return []
  const names = denied.map(({ verb, group, resource, subresource, namespace }) => {
    const what = [resource, ...(subresource === undefined ? [] : [subresource])].join('/')
    return `${verb} ${group === '' ? what : `${what}.${group}`}${namespace === undefined ? '' : ` in ${namespace}`}`
  })
  const hint = 'use an account that may, or have these granted by who looks after the cluster'
  return [check(category, `you have the rights ${purpose}`, shorten(names, 8), hint)]
}

/** The kubelet's Lease of a node: it writes its own time into it, every ten seconds. */
export interface Heartbeat {
  node: string
  /** Milliseconds since the epoch by the node's clock. */
  renewedMs: number
  isReady: boolean
}

/** What certificates and leases bear; half of a minute more than a heartbeat takes. */
const skewMs = 30_000
/** A node that is ready renews its Lease within this, by a clock that is right. */
const heartbeatMs = 40_000

/**
 * Clocks of this machine and of the nodes beside that of the API server.
 * @param serverMs the API server's time; null if it did not say
 */
export function checkClocks(serverMs: number | null, localMs: number, heartbeats: readonly Heartbeat[]): Check[] {
  if (serverMs === null) return []
  const own = localMs - serverMs
  const wrong = heartbeats.flatMap(({ node, renewedMs, isReady }) => {
    const age = serverMs - renewedMs
    if (age < -skewMs / 2) return [`${node} is ${seconds(-age)} ahead`]
    return isReady && age > heartbeatMs + skewMs ? [`${node} is about ${seconds(age)} behind`] : []
  })
  const hint = 'let NTP or chrony set it; certificates are refused by a clock that is wrong'
  return [
    check(category, "the nodes' clocks agree with the API server's", shorten(wrong), hint),
    check(
      category,
      "this machine's clock agrees with the API server's",
      Math.abs(own) <= skewMs ? '' : `it is ${seconds(Math.abs(own))} ${own > 0 ? 'ahead' : 'behind'}`,
      'set it: what is said below of ages and ends is judged by the API server’s, but kubeconfigs with certificates may fail',
      'warning',
    ),
  ]
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`
}
