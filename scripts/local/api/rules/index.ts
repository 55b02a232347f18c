// What the built-in kinds demand beyond their schema: defaults that the system fills in, and checks. One file a kind.

import type { Backend } from '../backend.ts'
import type { FieldError } from '../errors.ts'
import type { Kind } from '../kinds.ts'
import type { AnyObject } from '../object.ts'
import { definitionRules } from './definition.ts'
import { endpointSliceRules } from './endpointslice.ts'
import { namespaceRules } from './namespace.ts'
import { podRules } from './pod.ts'
import { secretRules } from './secret.ts'
import { serviceRules } from './service.ts'
import { daemonSetRules, deploymentRules, replicaSetRules } from './workload.ts'

export interface Rules {
  /** Fills in defaults and what the system allocates, in place. `old` is absent when the object is created. */
  fill?: (object: AnyObject, old: AnyObject | undefined, backend: Backend) => void
  check?: (object: AnyObject, old: AnyObject | undefined, backend: Backend) => FieldError[]
}

const rules: Record<string, Rules> = {
  '/namespaces': namespaceRules,
  '/pods': podRules,
  '/secrets': secretRules,
  '/services': serviceRules,
  'apiextensions.k8s.io/customresourcedefinitions': definitionRules,
  'apps/daemonsets': daemonSetRules,
  'apps/deployments': deploymentRules,
  'apps/replicasets': replicaSetRules,
  'discovery.k8s.io/endpointslices': endpointSliceRules,
}

export function applyRules(kind: Kind, object: AnyObject, old: AnyObject | undefined, backend: Backend): void {
  rules[kind.storage]?.fill?.(object, old, backend)
}

export function checkRules(kind: Kind, object: AnyObject, old: AnyObject | undefined, backend: Backend): FieldError[] {
  return rules[kind.storage]?.check?.(object, old, backend) ?? []
}
