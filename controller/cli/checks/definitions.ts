// The SMI kinds: whether they are served, whose definitions they are, and in which versions.

import { crdName, type Served } from '../../observe/discovery.ts'
import { type KindSpec, smiKinds } from '../../observe/kinds.ts'
import { type Check, check } from './check.ts'

const category = 'SMI definitions'

/** A CustomResourceDefinition as far as it matters here. */
export interface Definition {
  metadata: { name: string; labels?: Record<string, string> }
  spec: { versions: { name: string; served: boolean; storage: boolean }[] }
}

/** Versions that writers in use write: Flagger and Argo Rollouts the older ones. */
const splitVersions = ['v1alpha1', 'v1alpha2', 'v1alpha3', 'v1alpha4']

/**
 * Each kind, ours or another product's.
 * @param served by `plural.group`
 * @param definitions by name; empty where they can't be read
 */
export function checkDefinitions(
  served: ReadonlyMap<string, Served>,
  definitions: ReadonlyMap<string, Definition>,
): Check[] {
  return smiKinds.map((spec) => {
    const name = crdName(spec)
    const found = served.get(name)
    const definition = definitions.get(name)
    const fault =
      (definition && faultOf(definition, spec, found)) ??
      (found === undefined ? { what: 'not found', hint: apply } : null)
    const text = `${name} is served`
    if (fault !== null) return check(category, text, fault.what, fault.hint, found === undefined ? 'error' : 'warning')
    const isOurs = found?.hasStatus || spec.kind !== 'TrafficSplit'
    return check(category, text, isOurs ? '' : 'by a definition without status', apply, 'warning')
  })
}

const apply = 'kubectl apply -k manifests/crds'

/** What is wrong with the versions of a definition; null: nothing. @param found what of it the mesh reads */
function faultOf(
  { spec: { versions } }: Definition,
  spec: KindSpec,
  found: Served | undefined,
): { what: string; hint: string } | null {
  const served = versions.filter((each) => each.served).map((each) => each.name)
  if (found === undefined) {
    const what = `another product defines it, in ${served.join(', ') || 'no version'} alone; the mesh reads ${spec.versions.join(', ')}`
    return { what, hint: `remove that definition, or let it serve one of these; then ${apply}` }
  }
  const stored = versions.find(({ storage }) => storage)?.name ?? ''
  if (!spec.versions.includes(stored)) {
    const what = `it is stored as ${stored}, which the mesh does not know and reads as ${found.version}`
    return { what, hint: 'see whether a newer version of the mesh knows it' }
  }
  const missing = spec.kind === 'TrafficSplit' ? splitVersions.filter((each) => !served.includes(each)) : []
  if (missing.length === 0) return null
  return { what: `without ${missing.join(', ')}, which Flagger and Argo Rollouts may write`, hint: apply }
}

/** Before an installation: definitions of other products are kept as they are, or replaced, but never silently. */
export function checkForeign(definitions: ReadonlyMap<string, Definition>): Check[] {
  const foreign = [...definitions.values()].filter(
    ({ metadata }) => metadata.labels?.['app.kubernetes.io/part-of'] !== 'weft',
  )
  return [
    check(
      category,
      'no other product has defined the SMI kinds',
      foreign.map(({ metadata }) => metadata.name).join(', '),
      'install with --no-crds to keep them, or with --force-conflicts to replace them; their objects stay',
      'warning',
    ),
  ]
}
