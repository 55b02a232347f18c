// What is installed: the controller's Deployment and the agents' DaemonSet, and the settings that the controller runs with,
// read from its own flags and variables so that the tool judges as it does.

import { readConfig } from '../config.ts'
import { ConfigError } from '../errors.ts'
import { type Api, findObject } from '../observe/api.ts'
import type { KubeObject } from '../observe/objects.ts'
import { defaultSettings, type Settings } from '../resolve/settings.ts'
import { valuesOf } from './install/values.ts'

interface Container {
  image?: string
  command?: string[]
  args?: string[]
  env?: { name: string; value?: string; valueFrom?: { fieldRef?: { fieldPath?: string } } }[]
}

interface Workload extends KubeObject {
  spec: { replicas?: number; template: { spec: { containers: Container[] } } }
  status?: {
    observedGeneration?: number
    readyReplicas?: number
    updatedReplicas?: number
    desiredNumberScheduled?: number
    numberReady?: number
    updatedNumberScheduled?: number
  }
}

/** Controller or agents. */
export interface Part {
  wanted: number
  ready: number
  /** Of the current version. */
  updated: number
  /** Whether Kubernetes has seen the newest version, and these numbers are about it. */
  isObserved: boolean
  image: string
}

export interface Installed {
  controller: Part | null
  agents: Part | null
  /** As the controller's label has it; empty if it is not known. */
  version: string
  /** The Helm release; empty if Helm did not install it. */
  release: string
  /** What was set at installation. */
  values: Record<string, string>
  settings: Settings
  /** Lifetime of the agents' certificates. */
  certificateMs: number
  /** Why the controller's settings can't be read; empty if they can. */
  trouble: string
}

const controllerName = 'weft-controller'
const agentName = 'weft-agent'
/** Of certificates, as a controller without flags has it. */
const usualLifetimeMs = 24 * 3_600_000

/**
 * Looks at what is installed.
 * @param namespace the mesh's own
 * @throws ApiError
 */
export async function readInstalled(api: Api, namespace: string): Promise<Installed> {
  const root = `/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}`
  const [controller, agents] = await Promise.all([
    findObject<Workload>(api, `${root}/deployments/${controllerName}`),
    findObject<Workload>(api, `${root}/daemonsets/${agentName}`),
  ])
  const found = { settings: { ...defaultSettings, namespace }, certificateMs: usualLifetimeMs, trouble: '' }
  if (controller !== null) Object.assign(found, readSettings(controller, namespace))
  const { labels = {}, annotations = {} } = controller?.metadata ?? {}
  return {
    controller: controller && {
      ...partOf(controller),
      wanted: controller.spec.replicas ?? 1,
      ready: controller.status?.readyReplicas ?? 0,
      updated: controller.status?.updatedReplicas ?? 0,
    },
    agents: agents && {
      ...partOf(agents),
      wanted: agents.status?.desiredNumberScheduled ?? 0,
      ready: agents.status?.numberReady ?? 0,
      updated: agents.status?.updatedNumberScheduled ?? 0,
    },
    version: labels['app.kubernetes.io/version'] ?? '',
    release: annotations['meta.helm.sh/release-name'] ?? '',
    values: controller === null ? {} : valuesOf(controller),
    ...found,
  }
}

function partOf(workload: Workload): Pick<Part, 'isObserved' | 'image'> {
  const { generation = 0 } = workload.metadata
  return {
    isObserved: (workload.status?.observedGeneration ?? 0) >= generation,
    image: containerOf(workload)?.image ?? '',
  }
}

function containerOf({ spec }: Workload): Container | undefined {
  return spec.template.spec.containers[0]
}

/** The settings out of the container's command line and variables. */
function readSettings(
  controller: Workload,
  namespace: string,
): Pick<Installed, 'settings' | 'certificateMs' | 'trouble'> {
  const { command = [], args = [], env = [] } = containerOf(controller) ?? {}
  const words = [...command, ...args]
  const flags = words.slice(words.findIndex((word) => word.startsWith('-')) >>> 0)
  const fields: Record<string, string> = { 'metadata.namespace': namespace }
  const variables = env.map(({ name, value, valueFrom }): [string, string | undefined] => {
    return [name, value ?? fields[valueFrom?.fieldRef?.fieldPath ?? '']]
  })
  try {
    const { settings, certificateMs } = readConfig(flags, Object.fromEntries(variables))
    return { settings: { ...settings }, certificateMs, trouble: '' }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { settings: { ...defaultSettings, namespace }, certificateMs: usualLifetimeMs, trouble: error.message }
  }
}
