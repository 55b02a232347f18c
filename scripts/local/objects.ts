// The Kubernetes objects that the stand-ins read and write, reduced to the fields that they use. Where the controller has
// a type for a kind already, this one extends it.

import type { KubeObject, Meta, Pod as PodSeen } from '../../controller/observe/objects.ts'

export type {
  EndpointSlice,
  KubeObject,
  Meta,
  Namespace,
  Node,
  OwnerReference,
  Service,
  ServiceAccount,
  ServicePort,
} from '../../controller/observe/objects.ts'

export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'; values?: string[] }[]
}

export interface EnvVar {
  name: string
  value?: string
  valueFrom?: {
    fieldRef?: { fieldPath: string }
    resourceFieldRef?: { resource: string; divisor?: string | number }
    configMapKeyRef?: { name: string; key: string; optional?: boolean }
    secretKeyRef?: { name: string; key: string; optional?: boolean }
  }
}

export interface Probe {
  httpGet?: {
    path?: string
    port: number | string
    host?: string
    scheme?: 'HTTP' | 'HTTPS'
    httpHeaders?: { name: string; value: string }[]
  }
  tcpSocket?: { port: number | string; host?: string }
  exec?: { command: string[] }
  initialDelaySeconds?: number
  periodSeconds?: number
  timeoutSeconds?: number
  successThreshold?: number
  failureThreshold?: number
}

export interface Container {
  name: string
  image?: string
  command?: string[]
  args?: string[]
  workingDir?: string
  env?: EnvVar[]
  resources?: { requests?: Record<string, string | number>; limits?: Record<string, string | number> }
  ports?: { name?: string; containerPort: number; protocol?: string }[]
  startupProbe?: Probe
  readinessProbe?: Probe
  livenessProbe?: Probe
  lifecycle?: { preStop?: { exec?: { command: string[] }; sleep?: { seconds: number } } }
  volumeMounts?: { name: string; mountPath: string; subPath?: string; readOnly?: boolean }[]
}

export interface Volume {
  name: string
  emptyDir?: object
  configMap?: { name: string; optional?: boolean }
  secret?: { secretName: string; optional?: boolean }
  projected?: {
    sources?: {
      serviceAccountToken?: { audience?: string; expirationSeconds?: number; path: string }
      configMap?: { name: string; optional?: boolean }
      secret?: { name: string; optional?: boolean }
    }[]
  }
}

export interface PodSpec {
  nodeName?: string
  serviceAccountName?: string
  automountServiceAccountToken?: boolean
  hostNetwork?: boolean
  restartPolicy?: 'Always' | 'OnFailure' | 'Never'
  terminationGracePeriodSeconds?: number
  containers: Container[]
  initContainers?: Container[]
  volumes?: Volume[]
  [field: string]: unknown
}

export interface ContainerState {
  waiting?: { reason: string; message?: string }
  running?: { startedAt: string }
  terminated?: {
    exitCode: number
    signal?: number
    reason: string
    message?: string
    startedAt: string
    finishedAt: string
  }
}

export interface ContainerStatus {
  name: string
  image: string
  imageID: string
  containerID?: string
  ready: boolean
  started: boolean
  restartCount: number
  state: ContainerState
  lastState: ContainerState
}

export interface Condition {
  type: string
  status: 'True' | 'False'
  reason?: string
  message?: string
  lastTransitionTime?: string
  lastUpdateTime?: string
}

export interface Pod extends PodSeen {
  metadata: Meta & { deletionGracePeriodSeconds?: number }
  spec: PodSpec
  status?: NonNullable<PodSeen['status']> & { containerStatuses?: ContainerStatus[]; conditions?: Condition[] }
}

/** What a Deployment or DaemonSet makes its pods from. */
export interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> }
  spec: PodSpec
}

export interface Deployment extends KubeObject {
  kind: 'Deployment'
  spec: {
    replicas?: number
    selector: LabelSelector
    template: PodTemplate
    strategy?: { type?: string; rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string } }
  }
  status?: object
}

export interface DaemonSet extends KubeObject {
  kind: 'DaemonSet'
  spec: {
    selector: LabelSelector
    template: PodTemplate
    updateStrategy?: { type?: string; rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string } }
  }
  status?: object
}

/** True when a selector of the form that Services and workloads use matches the labels; an empty one matches nothing. */
export function selects(selector: LabelSelector | undefined, labels: Record<string, string> = {}): boolean {
  const wanted = Object.entries(selector?.matchLabels ?? {})
  const expressions = selector?.matchExpressions ?? []
  if (wanted.length + expressions.length === 0) return false
  return wanted.every(([key, value]) => labels[key] === value) && expressions.every((one) => expressed(one, labels))
}

function expressed(
  expression: NonNullable<LabelSelector['matchExpressions']>[number],
  labels: Record<string, string>,
): boolean {
  const value = labels[expression.key]
  switch (expression.operator) {
    case 'In':
      return value !== undefined && (expression.values ?? []).includes(value)
    case 'NotIn':
      return value === undefined || !(expression.values ?? []).includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
  }
}

/** True when the pod has not ended and its Ready condition holds. */
export function isReady(pod: Pod): boolean {
  return (pod.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True')
}

/** True when the pod's processes have ended for good. */
export function isOver(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}
