// The scale subresource: how many, of whatever kind, in one form for all of them.

import { badRequest } from './errors.ts'
import type { Kind } from './kinds.ts'
import { type AnyObject, isRecord, type Json } from './object.ts'
import { selectorText } from './selectors.ts'

function read(object: unknown, path: string): unknown {
  let value = object
  for (const step of path.split('.')) value = isRecord(value) ? value[step] : undefined
  return value
}

/** An object's Scale. */
export function scaleOf(kind: Kind, object: AnyObject): AnyObject {
  const { spec, status, selector } = kind.scale!
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata
  const text = kind.isCustom ? read(object, selector ?? '') : selectorText(read(object, 'spec.selector'))
  return {
    apiVersion: 'autoscaling/v1',
    kind: 'Scale',
    metadata: {
      name,
      uid,
      resourceVersion,
      ...(namespace && { namespace }),
      ...(creationTimestamp && { creationTimestamp }),
    },
    spec: { replicas: read(object, spec) ?? 0 },
    status: { replicas: read(object, status) ?? 0, ...(typeof text === 'string' && text !== '' && { selector: text }) },
  }
}

/**
 * The object with a Scale's wish in it; a copy.
 * @throws ApiError 400 if the Scale says no number
 */
export function withScale(kind: Kind, object: AnyObject, scale: unknown): AnyObject {
  const replicas = read(scale, 'spec.replicas') ?? 0
  if (!Number.isInteger(replicas)) throw badRequest('spec.replicas must be an integer')
  const next = structuredClone(object)
  const version = read(scale, 'metadata.resourceVersion')
  if (typeof version === 'string') next.metadata.resourceVersion = version
  const steps = kind.scale!.spec.split('.')
  const last = steps.pop()!
  let inner: Json = next
  for (const step of steps) {
    inner[step] ??= {}
    inner = inner[step] as Json
  }
  inner[last] = replicas
  return next
}
