// Objects as the Table that `kubectl get` asks for and prints.

import { age, columnsFor } from './columns.ts'
import type { Column, Kind } from './kinds.ts'
import { type AnyObject, isRecord, type Json } from './object.ts'

export type IncludeObject = 'None' | 'Metadata' | 'Object'

/**
 * A Table of objects.
 * @param hasHeader watches send the columns with the first event alone
 */
export function tableOf(
  kind: Kind,
  objects: readonly AnyObject[],
  metadata: Json,
  include: IncludeObject,
  hasHeader = true,
): Json {
  const columns = columnsFor(kind.columns)
  const header = columns.map(({ name, type, priority, format, description }) => ({
    name,
    type,
    format: format ?? (name === 'Name' ? 'name' : ''),
    description: description ?? '',
    priority,
  }))
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: hasHeader ? header : null,
    rows: objects.map((object) => rowOf(kind, columns, object, include)),
  }
}

function rowOf(kind: Kind, columns: readonly Column[], object: AnyObject, include: IncludeObject): Json {
  // The cells of both groups of Events are made from the core form.
  const source = kind.isCustom ? object : kind.toStored(object)
  const cells = columns.map((column) => cellOf(column, source))
  if (include === 'None') return { cells }
  return { cells, object: include === 'Object' ? object : partialOf(object) }
}

function cellOf({ type, cell }: Column, object: AnyObject): unknown {
  const value = cell(object)
  if (value === undefined || value === null) return type === 'date' ? '<unknown>' : null
  if (type === 'date') return age(value)
  if (type === 'string') return Array.isArray(value) || isRecord(value) ? JSON.stringify(value) : value
  return value
}

/** An object with nothing but its metadata. */
export function partialOf(object: AnyObject): Json {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata }
}
