// Events are served in two groups, core and events.k8s.io, which name the same fields differently. Stored as core Events.

import type { AnyObject, Json } from './object.ts'

/** Names of the fields: core, then events.k8s.io. */
const renamed: readonly (readonly [string, string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
  ['reportingComponent', 'reportingController'],
]

function rename(object: AnyObject, from: 0 | 1, apiVersion: string): AnyObject {
  const names = new Map(renamed.map((pair) => [pair[from], pair[from === 0 ? 1 : 0]]))
  const result: Json = {}
  for (const [name, value] of Object.entries(object)) result[names.get(name) ?? name] = value
  return { ...(result as AnyObject), apiVersion }
}

/** A core Event as events.k8s.io/v1. */
export function eventFromStored(object: AnyObject): AnyObject {
  return rename(object, 0, 'events.k8s.io/v1')
}

/** An event of events.k8s.io/v1 as a core Event. */
export function eventToStored(object: AnyObject): AnyObject {
  return rename(object, 1, 'v1')
}
