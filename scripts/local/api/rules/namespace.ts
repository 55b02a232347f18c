// Namespaces: the label that carries the name, the phase, the finalizer that keeps one until its contents are gone.

import { sub } from '../object.ts'
import type { Rules } from './index.ts'

export const namespaceRules: Rules = {
  fill(object, old) {
    const name = object.metadata.name
    if (name !== undefined) {
      object.metadata.labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': name }
    }
    if (old === undefined) {
      object['spec'] = { ...sub(object, 'spec'), finalizers: ['kubernetes'] }
      object['status'] = { phase: 'Active' }
    }
  },
}
