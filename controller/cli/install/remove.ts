// Everything of ours in a cluster, in the order in which it can go: first who would write it again, then what stands in the
// users' namespaces, then the mesh's own. Found by label, so that nothing is forgotten that another version made.

import { setTimeout as sleep } from 'node:timers/promises'
import { hasStatus } from '../../errors.ts'
import { type Api, findObject } from '../../observe/api.ts'
import type { Meta, Service } from '../../observe/objects.ts'
import { isOurs } from '../../resolve/enrol.ts'
import { isLockOf } from '../../resolve/lock.ts'
import { labels, manager } from '../../resolve/names.ts'
import type { Settings } from '../../resolve/settings.ts'
import { Exit, exits } from '../exits.ts'
import type { Manifest } from './manifests.ts'

/** A kind that there may be objects of. */
interface Kind {
  apiVersion: string
  kind: string
  plural: string
}

/** An object to be deleted, and its path. */
export interface Removal {
  object: Pick<Manifest, 'apiVersion' | 'kind' | 'metadata'>
  path: string
}

export interface Removals {
  /** What gives the controller its rights, and it itself. */
  controller: Removal[]
  /** Aliases and locks in the users' namespaces, and whatever else is ours outside of the mesh's own. */
  scattered: Removal[]
  /** Objects of the whole cluster, and the mesh's namespace with all that is in it. */
  rest: Removal[]
  /** The SMI definitions that we installed, and how many objects of users would go with them. */
  definitions: Removal[]
  userObjects: { name: string; count: number }[]
  /** Services that are in the mesh still, as `namespace/name`. */
  enrolled: string[]
}

const part = 'app.kubernetes.io/part-of=weft'
const ours = `${labels.managedBy}=${manager}`

const serviceKind = kind('v1', 'Service', 'services')
const policyKind = kind('networking.k8s.io/v1', 'NetworkPolicy', 'networkpolicies')
const scatteredKinds: Kind[] = [
  serviceKind,
  policyKind,
  kind('rbac.authorization.k8s.io/v1', 'Role', 'roles'),
  kind('rbac.authorization.k8s.io/v1', 'RoleBinding', 'rolebindings'),
  kind('v1', 'ServiceAccount', 'serviceaccounts'),
  kind('v1', 'ConfigMap', 'configmaps'),
  kind('v1', 'Secret', 'secrets'),
  kind('coordination.k8s.io/v1', 'Lease', 'leases'),
  kind('monitoring.coreos.com/v1', 'PodMonitor', 'podmonitors'),
]

const clusterKinds: Kind[] = [
  kind('admissionregistration.k8s.io/v1', 'ValidatingWebhookConfiguration', 'validatingwebhookconfigurations'),
  kind('admissionregistration.k8s.io/v1', 'ValidatingAdmissionPolicyBinding', 'validatingadmissionpolicybindings'),
  kind('admissionregistration.k8s.io/v1', 'ValidatingAdmissionPolicy', 'validatingadmissionpolicies'),
  kind('rbac.authorization.k8s.io/v1', 'ClusterRole', 'clusterroles'),
]

const bindings = kind('rbac.authorization.k8s.io/v1', 'ClusterRoleBinding', 'clusterrolebindings')
const definitionKind = kind('apiextensions.k8s.io/v1', 'CustomResourceDefinition', 'customresourcedefinitions')

function kind(apiVersion: string, name: string, plural: string): Kind {
  return { apiVersion, kind: name, plural }
}

function rootOf({ apiVersion }: Kind): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
}

/**
 * Finds everything of ours.
 * @param settings the controller's: they say how it names what it writes
 * @throws ApiError
 */
export async function findOurs(api: Api, settings: Settings): Promise<Removals> {
  const { namespace } = settings
  const lists = await Promise.all(scatteredKinds.map((each) => listOurs(api, each)))
  lists.push(await listUnlabelled(api, settings, new Set(lists.flat().map(({ path }) => path))))
  const isInside = ({ object }: Removal) => object.metadata.namespace === namespace
  // coredns-custom may hold what is not ours: it goes with the block in it.
  const isDns = ({ object }: Removal) => object.kind === 'ConfigMap' && object.metadata.name === 'coredns-custom'
  const scattered = lists.flat().filter((each) => !isInside(each) && !isDns(each))
  const cluster = await Promise.all(clusterKinds.map((each) => listOurs(api, each)))
  const definitions = await listOurs(api, definitionKind)
  const deployments = await listOurs(api, kind('apps/v1', 'Deployment', 'deployments'))
  const own = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
  const namespacePath = `/api/v1/namespaces/${namespace}`
  const isThere = (await findObject(api, namespacePath)) !== null
  return {
    controller: [...(await listOurs(api, bindings)), ...deployments],
    scattered,
    rest: [...cluster.flat(), ...(isThere ? [{ object: own, path: namespacePath }] : [])],
    definitions,
    userObjects: await countObjects(api, definitions),
    enrolled: enrolledIn(scattered),
  }
}

/** Objects with either label: what manifests installed, and what the controller wrote. */
async function listOurs(api: Api, each: Kind): Promise<Removal[]> {
  const found = new Map<string, Removal>()
  for (const labelSelector of [part, ours]) {
    for (const object of await list(api, `${rootOf(each)}/${each.plural}`, { labelSelector })) {
      const removal = removalOf(each, object)
      found.set(removal.path, removal)
    }
  }
  return [...found.values()]
}

/** Aliases and locks whose labels somebody took off, as the controller knows them. */
async function listUnlabelled(api: Api, settings: Settings, known: ReadonlySet<string>): Promise<Removal[]> {
  const all = async (each: Kind, isOne: (object: Manifest) => boolean) => {
    const objects = await list(api, `${rootOf(each)}/${each.plural}`)
    return objects.filter(isOne).map((object) => removalOf(each, object))
  }
  const found = await Promise.all([
    all(serviceKind, (object) => isOurs(object as unknown as Service, settings)),
    all(policyKind, ({ metadata }) => isLockOf(metadata as unknown as Meta)),
  ])
  return found.flat().filter(({ path }) => !known.has(path))
}

function removalOf(each: Kind, { metadata }: Manifest): Removal {
  const { name, namespace, labels: own } = metadata
  const scope = namespace === undefined ? '' : `/namespaces/${namespace}`
  const place = namespace === undefined ? {} : { namespace }
  const kept = own === undefined ? {} : { labels: own }
  const object = { apiVersion: each.apiVersion, kind: each.kind, metadata: { name, ...place, ...kept } }
  return { path: `${rootOf(each)}${scope}/${each.plural}/${name}`, object }
}

interface Page {
  items: Manifest[]
  metadata: { continue?: string }
}

async function list(api: Api, path: string, query: Record<string, string> = {}): Promise<Manifest[]> {
  const objects: Manifest[] = []
  let token: string | undefined
  do {
    // null: a kind that this cluster does not have.
    const page: Page | null = await findObject<Page>(api, path, { query: { ...query, limit: 500, continue: token } })
    objects.push(...(page?.items ?? []))
    token = page?.metadata.continue
  } while (token !== undefined && token !== '')
  return objects
}

function enrolledIn(scattered: readonly Removal[]): string[] {
  return scattered.flatMap(({ object: { kind, metadata } }) => {
    const service = metadata.labels?.[labels.service]
    return kind === 'Service' && service !== undefined ? [`${metadata.namespace}/${service}`] : []
  })
}

async function countObjects(api: Api, definitions: readonly Removal[]) {
  const counts = definitions.map(async ({ path, object }) => {
    const { spec } = await api.request<Manifest>('GET', path)
    const version = (spec.versions as { name: string; served: boolean }[]).find(({ served }) => served)?.name
    const objects = await list(api, `/apis/${spec.group}/${version}/${spec.names.plural}`)
    return { name: object.metadata.name, count: objects.length }
  })
  return (await Promise.all(counts)).filter(({ count }) => count > 0)
}

/** Deletes objects one by one; those that have gone meanwhile are no fault. */
export async function removeAll(
  api: Api,
  removals: readonly Removal[],
  tell: (removal: Removal) => void,
): Promise<void> {
  for (const removal of removals) {
    try {
      await api.request('DELETE', removal.path, { query: { propagationPolicy: 'Background' } })
      tell(removal)
    } catch (error) {
      if (!hasStatus(error, 404)) throw error
    }
  }
}

/** Deletes what the controller told users of their objects; the API server would forget it in an hour. */
export async function removeEvents(api: Api): Promise<void> {
  const ours = (event: Manifest) => event['reportingComponent'] === 'weft-controller'
  for (const { metadata } of (await list(api, '/api/v1/events')).filter(ours)) {
    const path = `/api/v1/namespaces/${metadata.namespace}/events/${metadata.name}`
    await api.request('DELETE', path).catch((error: unknown) => {
      if (!hasStatus(error, 404)) throw error
    })
  }
}

const pauseMs = 500

/** Waits until no controller is left that could write something again. @throws Exit if one stays */
export async function untilStopped(api: Api, namespace: string, waitMs: number): Promise<void> {
  const deadline = Date.now() + waitMs
  const query = { labelSelector: 'app.kubernetes.io/name=weft-controller' }
  for (;;) {
    const pods = await list(api, `/api/v1/namespaces/${namespace}/pods`, query)
    if (pods.length === 0) return
    const names = pods.map(({ metadata }) => metadata.name).join(', ')
    if (Date.now() > deadline)
      throw new Exit(exits.failed, `pods of the controller do not end: ${names}; run this again when they have`)
    await sleep(pauseMs)
  }
}

/** Waits until objects are gone. @throws Exit naming one that stays */
export async function untilGone(api: Api, removals: readonly Removal[], waitMs: number): Promise<void> {
  const deadline = Date.now() + waitMs
  for (const { path, object } of removals) {
    while ((await findObject(api, path)) !== null) {
      const name = `${object.kind} ${object.metadata.name}`
      if (Date.now() > deadline)
        throw new Exit(
          exits.failed,
          `${name} is still going; see: kubectl get ${object.kind.toLowerCase()} ${object.metadata.name} -o yaml`,
        )
      await sleep(pauseMs)
    }
  }
}
