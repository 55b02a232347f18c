// Turns CustomResourceDefinitions into kinds that the API serves, as they come, change and go.

import { acceptStored } from './accept.ts'
import type { Backend } from './backend.ts'
import { evaluate } from './jsonpath.ts'
import type { Column, Kind, Subresource } from './kinds.ts'
import type { AnyObject } from './object.ts'
import type { Definition, DefinitionVersion, PrinterColumn } from './rules/definition.ts'

const ageColumn: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' }

const definitions = 'apiextensions.k8s.io/customresourcedefinitions'

/** Serves what is defined from now on. */
export function serveDefinitions(backend: Backend): void {
  backend.storage.subscribe(({ storage, type, object }) => {
    if (storage !== definitions) return
    const definition = object as Definition
    const id = `${definition.spec.group}/${definition.spec.names.plural}`
    if (type !== 'DELETED') {
      backend.kinds.put(id, kindsOf(definition))
      return
    }
    backend.kinds.put(id, [])
    for (const left of backend.storage.list(id)) backend.storage.remove(id, left)
  })
}

function kindsOf(definition: Definition): Kind[] {
  const stored = definition.spec.versions.find((version) => version.storage)!
  const storedKind = kindOf(definition, stored)
  return definition.spec.versions
    .filter((version) => version.served)
    .sort((a, b) => compareVersions(a.name, b.name))
    .map((version) => ({
      ...kindOf(definition, version),
      // Conversion None: only apiVersion changes; fields that the other version does not have are lost.
      toStored: (object: AnyObject) => (version === stored ? object : acceptStored(object, storedKind)),
    }))
}

function kindOf(definition: Definition, version: DefinitionVersion): Kind {
  const { group, names, scope } = definition.spec
  const subresources: Subresource[] = []
  if (version.subresources?.status !== undefined) subresources.push('status')
  const scale = version.subresources?.scale
  if (scale !== undefined) subresources.push('scale')
  const kind: Kind = {
    group,
    version: version.name,
    kind: names.kind,
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    namespaced: scope === 'Namespaced',
    subresources,
    schema: version.schema?.openAPIV3Schema ?? { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    columns: columnsOf(version),
    storage: `${group}/${names.plural}`,
    isCustom: true,
    hasGeneration: true,
    fromStored: (object) => acceptStored(object, kind),
    toStored: (object) => object,
  }
  if (scale !== undefined) {
    const path = (jsonPath: string) => jsonPath.replace(/^\./, '')
    kind.scale = { spec: path(scale.specReplicasPath), status: path(scale.statusReplicasPath) }
    if (scale.labelSelectorPath !== undefined) kind.scale.selector = path(scale.labelSelectorPath)
  }
  return kind
}

function columnsOf(version: DefinitionVersion): Column[] {
  const printed = version.additionalPrinterColumns ?? [ageColumn]
  return printed.map(({ name, type, jsonPath, priority = 0, format, description }) => ({
    name,
    type: type as Column['type'],
    priority,
    ...(format !== undefined && { format }),
    ...(description !== undefined && { description }),
    cell: (object) => evaluate(object, jsonPath)[0],
  }))
}

/** Kubernetes' order of versions: v2 before v1 before v1beta1 before v1alpha2 before v1alpha1. */
function compareVersions(a: string, b: string): number {
  const rank = (name: string): [number, number, number] => {
    const parts = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(name)
    if (parts === null) return [3, 0, 0]
    const stage = parts[2] === undefined ? 0 : parts[2] === 'beta' ? 1 : 2
    return [stage, -Number(parts[1]), -Number(parts[3] ?? 0)]
  }
  const [x, y] = [rank(a), rank(b)]
  return x[0] - y[0] || x[1] - y[1] || x[2] - y[2] || (a < b ? -1 : 1)
}
