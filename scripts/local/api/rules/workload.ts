// Deployments, ReplicaSets and DaemonSets: defaults, and the selector that must match the template and never changes.

import { type FieldError, required, wrong } from '../errors.ts'
import { type AnyObject, equal, sub } from '../object.ts'
import { labelTest, selectorText } from '../selectors.ts'
import type { Rules } from './index.ts'
import { checkPodSpec, fillPodSpec, type PodSpec } from './pod.ts'

interface WorkloadSpec {
  replicas?: number
  selector?: { matchLabels?: Record<string, string> }
  template?: { metadata?: { labels?: Record<string, string> }; spec?: PodSpec }
  revisionHistoryLimit?: number
  progressDeadlineSeconds?: number
  strategy?: { type?: string; rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string } }
  updateStrategy?: { type?: string; rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string } }
}

function specOf(object: AnyObject): WorkloadSpec {
  object['spec'] ??= {}
  return object['spec'] as WorkloadSpec
}

function fillTemplate(spec: WorkloadSpec): void {
  if (spec.template?.spec !== undefined) fillPodSpec(spec.template.spec)
}

function check(object: AnyObject, old: AnyObject | undefined): FieldError[] {
  const spec = specOf(object)
  const errors: FieldError[] = []
  const selector = selectorText(spec.selector)
  if (spec.selector === undefined) errors.push(required('spec.selector'))
  else if (selector === '')
    errors.push(wrong('spec.selector', spec.selector, 'empty selector is invalid for workloads'))
  if (spec.replicas !== undefined && spec.replicas < 0) {
    errors.push(wrong('spec.replicas', spec.replicas, 'must be greater than or equal to 0'))
  }
  if (old !== undefined && !equal(specOf({ ...old }).selector, spec.selector)) {
    errors.push(wrong('spec.selector', spec.selector, 'field is immutable'))
  }
  const labels = sub(spec.template?.metadata, 'labels') as Record<string, string>
  if (selector !== '' && !labelTest(selector)({ metadata: { labels } } as unknown as AnyObject)) {
    errors.push(wrong('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'))
  }
  errors.push(...checkPodSpec(spec.template?.spec ?? {}, 'spec.template.spec'))
  return errors
}

export const deploymentRules: Rules = {
  fill(object) {
    const spec = specOf(object)
    spec.replicas ??= 1
    spec.revisionHistoryLimit ??= 10
    spec.progressDeadlineSeconds ??= 600
    spec.strategy ??= {}
    spec.strategy.type ??= 'RollingUpdate'
    if (spec.strategy.type === 'RollingUpdate') {
      spec.strategy.rollingUpdate = { maxSurge: '25%', maxUnavailable: '25%', ...spec.strategy.rollingUpdate }
    }
    fillTemplate(spec)
  },
  check,
}

export const replicaSetRules: Rules = {
  fill(object) {
    const spec = specOf(object)
    spec.replicas ??= 1
    fillTemplate(spec)
  },
  check,
}

export const daemonSetRules: Rules = {
  fill(object) {
    const spec = specOf(object)
    spec.revisionHistoryLimit ??= 10
    spec.updateStrategy ??= {}
    spec.updateStrategy.type ??= 'RollingUpdate'
    if (spec.updateStrategy.type === 'RollingUpdate') {
      spec.updateStrategy.rollingUpdate = { maxSurge: 0, maxUnavailable: 1, ...spec.updateStrategy.rollingUpdate }
    }
    fillTemplate(spec)
  },
  check,
}
