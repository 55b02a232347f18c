// Pods, and the pod templates of workloads: defaults that kubelet and kubectl rely on, and the checks that catch mistakes
// in manifests.

import { duplicate, type FieldError, notAllowed, required, unsupported, wrong } from '../errors.ts'
import { isLabel } from '../metadata.ts'
import { type AnyObject, equal, isRecord } from '../object.ts'
import type { Rules } from './index.ts'

interface Port {
  name?: string
  containerPort?: number
  protocol?: string
}

interface Container {
  name?: string
  image?: string
  imagePullPolicy?: string
  ports?: Port[]
  env?: { name?: string; valueFrom?: { fieldRef?: { apiVersion?: string } } }[]
  resources?: object
  terminationMessagePath?: string
  terminationMessagePolicy?: string
  livenessProbe?: Probe
  readinessProbe?: Probe
  startupProbe?: Probe
}

interface Probe {
  httpGet?: { path?: string; scheme?: string }
  timeoutSeconds?: number
  periodSeconds?: number
  successThreshold?: number
  failureThreshold?: number
}

export interface PodSpec {
  containers?: Container[]
  initContainers?: Container[]
  nodeName?: string
  restartPolicy?: string
  serviceAccountName?: string
  serviceAccount?: string
  terminationGracePeriodSeconds?: number
  dnsPolicy?: string
  schedulerName?: string
  securityContext?: object
  enableServiceLinks?: boolean
  volumes?: {
    name?: string
    projected?: { defaultMode?: number; sources?: Source[] }
    configMap?: Mode
    secret?: Mode
  }[]
}

interface Source {
  serviceAccountToken?: { expirationSeconds?: number }
}

interface Mode {
  defaultMode?: number
}

const fileMode = 0o644

/** Fills in the defaults of a pod's spec; those of a template are the same. */
export function fillPodSpec(spec: PodSpec): void {
  spec.restartPolicy ??= 'Always'
  spec.terminationGracePeriodSeconds ??= 30
  spec.dnsPolicy ??= 'ClusterFirst'
  spec.securityContext ??= {}
  spec.schedulerName ??= 'default-scheduler'
  if (spec.serviceAccountName !== undefined) spec.serviceAccount = spec.serviceAccountName
  for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])]) fillContainer(container)
  for (const { projected, configMap, secret } of spec.volumes ?? []) {
    for (const mode of [projected, configMap, secret]) if (mode !== undefined) mode.defaultMode ??= fileMode
    for (const { serviceAccountToken: token } of projected?.sources ?? []) {
      if (token !== undefined) token.expirationSeconds ??= 3600
    }
  }
}

function fillContainer(container: Container): void {
  const hasTag = /:[^/]+$/.test(container.image ?? '') && !(container.image ?? '').endsWith(':latest')
  container.imagePullPolicy ??= hasTag ? 'IfNotPresent' : 'Always'
  container.resources ??= {}
  container.terminationMessagePath ??= '/dev/termination-log'
  container.terminationMessagePolicy ??= 'File'
  for (const port of container.ports ?? []) port.protocol ??= 'TCP'
  for (const { valueFrom } of container.env ?? []) {
    if (valueFrom?.fieldRef !== undefined) valueFrom.fieldRef.apiVersion ??= 'v1'
  }
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) {
    if (probe !== undefined) fillProbe(probe)
  }
}

function fillProbe(probe: Probe): void {
  probe.timeoutSeconds ??= 1
  probe.periodSeconds ??= 10
  probe.successThreshold ??= 1
  probe.failureThreshold ??= 3
  if (probe.httpGet !== undefined) {
    probe.httpGet.path ??= '/'
    probe.httpGet.scheme ??= 'HTTP'
  }
}

/** What is wrong with the spec of a pod or of a template. */
export function checkPodSpec(spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = []
  if ((spec.containers ?? []).length === 0) errors.push(required(`${path}.containers`))
  const policies = ['Always', 'OnFailure', 'Never']
  if (spec.restartPolicy !== undefined && !policies.includes(spec.restartPolicy)) {
    errors.push(unsupported(`${path}.restartPolicy`, spec.restartPolicy, policies))
  }
  const names = new Set<string>()
  for (const [i, container] of (spec.containers ?? []).entries()) {
    const at = `${path}.containers[${i}]`
    errors.push(...checkContainer(container, at))
    if (names.has(container.name ?? '')) errors.push(duplicate(`${at}.name`, container.name))
    names.add(container.name ?? '')
  }
  return errors
}

function checkContainer(container: Container, path: string): FieldError[] {
  const errors: FieldError[] = []
  if (container.name === undefined) errors.push(required(`${path}.name`))
  else if (!isLabel(container.name)) errors.push(wrong(`${path}.name`, container.name, 'must be a DNS label'))
  if ((container.image ?? '') === '') errors.push(required(`${path}.image`))
  for (const [i, { containerPort: port }] of (container.ports ?? []).entries()) {
    const at = `${path}.ports[${i}].containerPort`
    if (port === undefined) errors.push(required(at))
    else if (port < 1 || port > 65535) errors.push(wrong(at, port, 'must be between 1 and 65535, inclusive'))
  }
  for (const [i, { name }] of (container.env ?? []).entries()) {
    if ((name ?? '') === '') errors.push(required(`${path}.env[${i}].name`))
  }
  return errors
}

const mutable =
  'pod updates may not change fields other than images, tolerations, grace periods and the node of a new pod'

/** Of a pod's spec, what a client may still change after creation. */
function fixedPart(object: AnyObject): unknown {
  const spec = object['spec'] as PodSpec & Record<string, unknown>
  const {
    nodeName: _,
    tolerations: __,
    activeDeadlineSeconds: ___,
    terminationGracePeriodSeconds: ____,
    ...rest
  } = spec
  return { ...rest, containers: (spec.containers ?? []).map(({ image: _image, ...container }) => container) }
}

export const podRules: Rules = {
  fill(object, old, backend) {
    const spec = (isRecord(object['spec']) ? object['spec'] : {}) as PodSpec
    object['spec'] = spec
    if (old === undefined && spec.serviceAccountName === undefined) {
      const account = backend.storage.get('/serviceaccounts', object.metadata.namespace, 'default')
      if (account !== undefined) spec.serviceAccountName = 'default'
    }
    fillPodSpec(spec)
    spec.enableServiceLinks ??= true
    if (old === undefined) object['status'] = { phase: 'Pending', qosClass: 'BestEffort' }
  },
  check(object, old) {
    const errors = checkPodSpec(object['spec'] as PodSpec, 'spec')
    if (old === undefined) return errors
    const before = (old['spec'] as PodSpec).nodeName
    const isMoved = before !== undefined && before !== (object['spec'] as PodSpec).nodeName
    if (isMoved || !equal(fixedPart(object), fixedPart(old))) errors.push(notAllowed('spec', mutable))
    return errors
  },
}
