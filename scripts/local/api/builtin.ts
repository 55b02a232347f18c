// The kinds that the API has from the start: those that the mesh, its manifests and the demo use, and no others.

import { printers } from './columns.ts'
import { eventFromStored, eventToStored } from './events.ts'
import type { Kind, Kinds, Subresource } from './kinds.ts'
import { modelSchema } from './models.ts'
import type { AnyObject } from './object.ts'

interface Row {
  gv: string
  kind: string
  plural: string
  short?: string[]
  /** Name of the model in client-node, if it is not version + kind. */
  model?: string
  cluster?: true
  all?: true
  generation?: true
  review?: true
  with?: Subresource[]
  storage?: string
}

const rows: readonly Row[] = [
  { gv: 'v1', kind: 'Namespace', plural: 'namespaces', short: ['ns'], cluster: true, with: ['status'] },
  { gv: 'v1', kind: 'Node', plural: 'nodes', short: ['no'], cluster: true, with: ['status'] },
  { gv: 'v1', kind: 'Pod', plural: 'pods', short: ['po'], all: true, with: ['status', 'log', 'portforward'] },
  { gv: 'v1', kind: 'Service', plural: 'services', short: ['svc'], all: true, with: ['status'] },
  { gv: 'v1', kind: 'Endpoints', plural: 'endpoints', short: ['ep'] },
  { gv: 'v1', kind: 'ServiceAccount', plural: 'serviceaccounts', short: ['sa'], with: ['token'] },
  { gv: 'v1', kind: 'ConfigMap', plural: 'configmaps', short: ['cm'] },
  { gv: 'v1', kind: 'Secret', plural: 'secrets' },
  { gv: 'v1', kind: 'Event', plural: 'events', short: ['ev'], model: 'CoreV1Event', storage: '/events' },
  {
    gv: 'events.k8s.io/v1',
    kind: 'Event',
    plural: 'events',
    short: ['ev'],
    model: 'EventsV1Event',
    storage: '/events',
  },
  {
    gv: 'apps/v1',
    kind: 'Deployment',
    plural: 'deployments',
    short: ['deploy'],
    all: true,
    generation: true,
    with: ['status', 'scale'],
  },
  {
    gv: 'apps/v1',
    kind: 'ReplicaSet',
    plural: 'replicasets',
    short: ['rs'],
    all: true,
    generation: true,
    with: ['status', 'scale'],
  },
  {
    gv: 'apps/v1',
    kind: 'DaemonSet',
    plural: 'daemonsets',
    short: ['ds'],
    all: true,
    generation: true,
    with: ['status'],
  },
  { gv: 'discovery.k8s.io/v1', kind: 'EndpointSlice', plural: 'endpointslices', generation: true },
  { gv: 'coordination.k8s.io/v1', kind: 'Lease', plural: 'leases' },
  {
    gv: 'policy/v1',
    kind: 'PodDisruptionBudget',
    plural: 'poddisruptionbudgets',
    short: ['pdb'],
    generation: true,
    with: ['status'],
  },
  { gv: 'networking.k8s.io/v1', kind: 'NetworkPolicy', plural: 'networkpolicies', short: ['netpol'], generation: true },
  {
    gv: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicy',
    plural: 'validatingadmissionpolicies',
    cluster: true,
    generation: true,
    with: ['status'],
  },
  {
    gv: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicyBinding',
    plural: 'validatingadmissionpolicybindings',
    cluster: true,
    generation: true,
  },
  {
    // Stored and shown; nobody is asked, as where the webhook is away and its failure is ignored.
    gv: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingWebhookConfiguration',
    plural: 'validatingwebhookconfigurations',
    cluster: true,
    generation: true,
  },
  { gv: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', plural: 'clusterroles', cluster: true },
  { gv: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding', plural: 'clusterrolebindings', cluster: true },
  { gv: 'rbac.authorization.k8s.io/v1', kind: 'Role', plural: 'roles' },
  { gv: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', plural: 'rolebindings' },
  {
    gv: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    plural: 'customresourcedefinitions',
    short: ['crd', 'crds'],
    cluster: true,
    generation: true,
    with: ['status'],
  },
  { gv: 'authentication.k8s.io/v1', kind: 'TokenReview', plural: 'tokenreviews', cluster: true, review: true },
  {
    gv: 'authentication.k8s.io/v1',
    kind: 'SelfSubjectReview',
    plural: 'selfsubjectreviews',
    cluster: true,
    review: true,
  },
  {
    gv: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    plural: 'selfsubjectaccessreviews',
    cluster: true,
    review: true,
  },
  {
    gv: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    plural: 'subjectaccessreviews',
    cluster: true,
    review: true,
  },
]

/** Registers the built-in kinds. */
export function addBuiltins(kinds: Kinds): void {
  const byStorage = Map.groupBy(rows.map(kindOf), (kind) => kind.storage)
  for (const [storage, versions] of byStorage) kinds.put(storage, versions)
}

function kindOf(row: Row): Kind {
  const [group, version] = row.gv.includes('/') ? (row.gv.split('/') as [string, string]) : ['', row.gv]
  const columns = printers[row.kind]
  const isEvent = row.kind === 'Event'
  const kind: Kind = {
    group,
    version,
    kind: row.kind,
    plural: row.plural,
    singular: row.kind.toLowerCase(),
    shortNames: row.short ?? [],
    categories: row.all === true ? ['all'] : [],
    namespaced: row.cluster !== true,
    subresources: row.with ?? [],
    schema: modelSchema(row.model ?? `V1${row.kind}`),
    storage: row.storage ?? `${group}/${row.plural}`,
    isCustom: false,
    isReview: row.review === true,
    hasGeneration: row.generation === true,
    fromStored: isEvent && group !== '' ? eventFromStored : same,
    toStored: isEvent && group !== '' ? eventToStored : same,
    ...(columns === undefined ? {} : { columns }),
  }
  if (kind.subresources.includes('scale')) {
    kind.scale = { spec: 'spec.replicas', status: 'status.replicas', selector: 'status.selector' }
  }
  return kind
}

function same(object: AnyObject): AnyObject {
  return object
}
