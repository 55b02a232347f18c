// CustomResourceDefinitions: names that default, one storage version, a schema for each version, and the status that says
// that the kind is established (here at once).

import { type FieldError, required, unsupported, wrong } from '../errors.ts'
import { type AnyObject, type Json, timestamp } from '../object.ts'
import type { Schema } from '../schema.ts'
import type { Rules } from './index.ts'

export interface DefinitionVersion {
  name: string
  served: boolean
  storage: boolean
  schema?: { openAPIV3Schema?: Schema }
  subresources?: {
    status?: object
    scale?: { specReplicasPath: string; statusReplicasPath: string; labelSelectorPath?: string }
  }
  additionalPrinterColumns?: PrinterColumn[]
}

export interface PrinterColumn {
  name: string
  type: string
  jsonPath: string
  format?: string
  description?: string
  priority?: number
}

export interface Definition extends AnyObject {
  spec: {
    group: string
    scope: 'Namespaced' | 'Cluster'
    names: {
      kind: string
      plural: string
      singular?: string
      listKind?: string
      shortNames?: string[]
      categories?: string[]
    }
    versions: DefinitionVersion[]
    conversion?: { strategy: string }
  }
}

function fill(object: AnyObject, old: AnyObject | undefined): void {
  const { spec } = object as Definition
  if (spec?.names?.kind === undefined || !Array.isArray(spec.versions)) return
  const { names } = spec
  names.singular ??= names.kind.toLowerCase()
  names.listKind ??= `${names.kind}List`
  spec.conversion ??= { strategy: 'None' }
  const before = (old?.['status'] ?? {}) as { storedVersions?: string[]; conditions?: Json[] }
  const storage = spec.versions.find((version) => version.storage)?.name
  const stored = new Set([...(before.storedVersions ?? []), ...(storage === undefined ? [] : [storage])])
  const conditions = before.conditions ?? [
    condition('NamesAccepted', 'NoConflicts', 'no conflicts found'),
    condition('Established', 'InitialNamesAccepted', 'the initial names have been accepted'),
  ]
  object['status'] = { conditions, acceptedNames: { ...names }, storedVersions: [...stored] }
}

function condition(type: string, reason: string, message: string): Json {
  return { type, status: 'True', lastTransitionTime: timestamp(), reason, message }
}

function check(object: AnyObject, old: AnyObject | undefined): FieldError[] {
  const { spec, metadata } = object as Definition
  if (spec === undefined) return [required('spec')]
  const errors: FieldError[] = []
  if (!spec.group) errors.push(required('spec.group'))
  if (!spec.names?.plural) errors.push(required('spec.names.plural'))
  if (!spec.names?.kind) errors.push(required('spec.names.kind'))
  const scopes = ['Cluster', 'Namespaced']
  if (!scopes.includes(spec.scope)) errors.push(unsupported('spec.scope', spec.scope ?? '', scopes))
  if (metadata.name !== `${spec.names?.plural}.${spec.group}`) {
    errors.push(wrong('metadata.name', metadata.name, 'must be spec.names.plural+"."+spec.group'))
  }
  if (old !== undefined && (old as Definition).spec.scope !== spec.scope) {
    errors.push(wrong('spec.scope', spec.scope, 'field is immutable'))
  }
  if (spec.conversion !== undefined && spec.conversion.strategy !== 'None') {
    errors.push(unsupported('spec.conversion.strategy', spec.conversion.strategy, ['None']))
  }
  errors.push(...checkVersions(spec.versions ?? []))
  return errors
}

function checkVersions(versions: readonly DefinitionVersion[]): FieldError[] {
  const errors: FieldError[] = []
  const stored = versions.filter((version) => version.storage).map(({ name }) => name)
  if (stored.length !== 1) {
    errors.push(wrong('spec.versions', stored, 'must have exactly one version marked as storage version'))
  }
  for (const [i, version] of versions.entries()) {
    const at = `spec.versions[${i}].schema.openAPIV3Schema`
    const schema = version.schema?.openAPIV3Schema
    if (schema === undefined) errors.push(required(at, 'schemas are required'))
    else if (schema.type !== 'object') errors.push(wrong(`${at}.type`, schema.type ?? '', 'must be object at the root'))
    else errors.push(...checkStructure(schema, at))
  }
  return errors
}

/** A structural schema says of each field what type it has: else nothing could be pruned or defaulted. */
function checkStructure(schema: Schema, path: string): FieldError[] {
  const isTyped =
    schema.type !== undefined ||
    schema['x-kubernetes-int-or-string'] === true ||
    schema['x-kubernetes-preserve-unknown-fields'] === true
  const errors = isTyped ? [] : [required(`${path}.type`, 'must not be empty for specified fields')]
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    errors.push(...checkStructure(inner, `${path}.properties[${name}]`))
  }
  if (schema.type === 'array' && schema.items === undefined) errors.push(required(`${path}.items`, 'must be specified'))
  if (schema.items !== undefined) errors.push(...checkStructure(schema.items, `${path}.items`))
  if (typeof schema.additionalProperties === 'object') {
    errors.push(...checkStructure(schema.additionalProperties, `${path}.additionalProperties`))
  }
  return errors
}

export const definitionRules: Rules = { fill, check }
