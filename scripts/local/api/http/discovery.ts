// Discovery: which groups, versions and kinds there are. Twice: piece by piece, and aggregated as clients since 1.27 ask.

import { noSuchPath } from '../errors.ts'
import { groupVersion, type Kind, type Kinds, type Subresource } from '../kinds.ts'
import type { Json } from '../object.ts'

const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']

const subresourceVerbs: Record<Subresource, string[]> = {
  status: ['get', 'patch', 'update'],
  scale: ['get', 'patch', 'update'],
  log: ['get'],
  portforward: ['create', 'get'],
  token: ['create'],
}

/** What a subresource speaks, if not its kind. */
const subresourceKinds: Partial<Record<Subresource, { group: string; version: string; kind: string }>> = {
  scale: { group: 'autoscaling', version: 'v1', kind: 'Scale' },
  portforward: { group: '', version: 'v1', kind: 'PodPortForwardOptions' },
  token: { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' },
}

export interface Discovered {
  body: Json
  contentType: string
}

const aggregated =
  /application\/json;(?=[^,]*g=apidiscovery\.k8s\.io)(?=[^,]*as=APIGroupDiscoveryList)[^,]*v=(v2(?:beta1)?)(?=[;,]|$)/

/**
 * Answers /api, /apis and what is below them but no objects; undefined for any other path.
 * @throws ApiError 404 for a group or version that is not served
 */
export function discover(kinds: Kinds, path: string, accept = ''): Discovered | undefined {
  const [root, ...rest] = path.split('/').slice(1)
  if ((root !== 'api' && root !== 'apis') || rest.length > (root === 'api' ? 1 : 2)) return undefined
  const isCore = root === 'api'
  const all = kinds.all().filter(({ group }) => (group === '') === isCore)
  const version = rest.length === 0 ? aggregated.exec(accept)?.[1] : undefined
  if (version !== undefined) {
    const contentType = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`
    return { body: aggregate(all, version), contentType }
  }
  const body = isCore ? core(all, rest[0]) : groups(all, rest[0], rest[1])
  return { body, contentType: 'application/json' }
}

function core(all: readonly Kind[], version: string | undefined): Json {
  if (version !== undefined) return resources(all, version)
  return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }
}

function groups(all: readonly Kind[], group: string | undefined, version: string | undefined): Json {
  if (group === undefined) {
    const names = [...new Set(all.map((kind) => kind.group))]
    return { kind: 'APIGroupList', apiVersion: 'v1', groups: names.map((name) => groupOf(all, name)) }
  }
  const own = all.filter((kind) => kind.group === group)
  if (own.length === 0) throw noSuchPath()
  if (version === undefined) return { kind: 'APIGroup', apiVersion: 'v1', ...groupOf(all, group) }
  return resources(
    own.filter((kind) => kind.version === version),
    `${group}/${version}`,
  )
}

function groupOf(all: readonly Kind[], name: string): Json {
  const versions = versionsOf(all, name).map((version) => ({ groupVersion: `${name}/${version}`, version }))
  return { name, versions, preferredVersion: versions[0] }
}

function versionsOf(all: readonly Kind[], group: string): string[] {
  return [...new Set(all.filter((kind) => kind.group === group).map(({ version }) => version))]
}

function resources(all: readonly Kind[], gv: string): Json {
  if (all.length === 0) throw noSuchPath()
  const list = all.flatMap((kind) => {
    const { plural, singular, namespaced, shortNames, categories } = kind
    const main: Json = { name: plural, singularName: singular, namespaced, kind: kind.kind, verbs: verbsOf(kind) }
    if (shortNames.length > 0) main['shortNames'] = shortNames
    if (categories.length > 0) main['categories'] = categories
    const below = kind.subresources.map((name) => ({
      name: `${plural}/${name}`,
      singularName: '',
      namespaced,
      kind: kind.kind,
      ...subresourceKinds[name],
      verbs: subresourceVerbs[name],
    }))
    return [main, ...below]
  })
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: gv, resources: list }
}

function verbsOf(kind: Kind): string[] {
  return kind.isReview === true ? ['create'] : verbs
}

function aggregate(all: readonly Kind[], version: string): Json {
  const items = [...new Set(all.map(({ group }) => group))].map((group) => ({
    metadata: { name: group, creationTimestamp: null },
    versions: versionsOf(all, group).map((one) => ({
      version: one,
      freshness: 'Current',
      resources: all.filter((kind) => kind.group === group && kind.version === one).map(aggregateKind),
    })),
  }))
  return { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items }
}

function aggregateKind(kind: Kind): Json {
  const { group, version, plural, singular, shortNames, categories } = kind
  const responseKind = { group, version, kind: kind.kind }
  return {
    resource: plural,
    responseKind,
    scope: kind.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: singular,
    verbs: verbsOf(kind),
    ...(shortNames.length > 0 && { shortNames }),
    ...(categories.length > 0 && { categories }),
    ...(kind.subresources.length > 0 && {
      subresources: kind.subresources.map((name) => ({
        subresource: name,
        responseKind: subresourceKinds[name] ?? responseKind,
        verbs: subresourceVerbs[name],
      })),
    }),
  }
}

/** The group versions that are served, as /openapi/v3 names them: `api/v1`, `apis/apps/v1`. */
export function documentNames(kinds: Kinds): Map<string, Kind[]> {
  return Map.groupBy(kinds.all(), (kind) => (kind.group === '' ? `api/${kind.version}` : `apis/${groupVersion(kind)}`))
}
