// What is installed: the controller's Deployment and the agents' DaemonSet, and the settings that the controller runs with,
// read from its own flags and variables so that the tool judges as it does.

import { readConfig } from '../config.ts'
import { ConfigError, hasStatus } from '../errors.ts'
import type { Api } from '../observe/api.ts'
import type { KubeObject } from '../observe/objects.ts'
import { defaultSettings, type Settings } from '../resolve/settings.ts'

interface Container {
  image?: string
  command?: string[]
  args?: string[]
  env?: { name: string; value?: string; valueFrom?: { fieldRef?: { fieldPath?: string } } }[]
}

interface Workload extends KubeObject {
  spec: { replicas?: number; template: { spec: { containers: Container[] } } }
  status?: {
    readyReplicas?: number
    desiredNumberScheduled?: number
    numberReady?: number
    updatedNumberScheduled?: number
  }
}

export interface Installed {
  controller: { wanted: number; ready: number; image: string } | null
  agents: { wanted: number; ready: number; updated: number; image: string } | null
  settings: Settings
  /** Why the controller's settings can't be read; empty if they can. */
  trouble: string
}

const controllerName = 'weft-controller'
const agentName = 'weft-agent'

/**
 * Looks at what is installed.
 * @param namespace the mesh's own
 * @throws ApiError
 */
export async function readInstalled(api: Api, namespace: string): Promise<Installed> {
  const root = `/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}`
  const [controller, agents] = await Promise.all([
    find(api, `${root}/deployments/${controllerName}`),
    find(api, `${root}/daemonsets/${agentName}`),
  ])
  const found = { settings: { ...defaultSettings, namespace }, trouble: '' }
  if (controller !== null) Object.assign(found, readSettings(controller, namespace))
  return {
    controller: controller && {
      wanted: controller.spec.replicas ?? 1,
      ready: controller.status?.readyReplicas ?? 0,
      image: containerOf(controller)?.image ?? '',
    },
    agents: agents && {
      wanted: agents.status?.desiredNumberScheduled ?? 0,
      ready: agents.status?.numberReady ?? 0,
      updated: agents.status?.updatedNumberScheduled ?? 0,
      image: containerOf(agents)?.image ?? '',
    },
    ...found,
  }
}

async function find(api: Api, path: string): Promise<Workload | null> {
  try {
    return await api.request<Workload>('GET', path)
  } catch (error) {
    if (hasStatus(error, 404)) return null
    throw error
  }
}

function containerOf({ spec }: Workload): Container | undefined {
  return spec.template.spec.containers[0]
}

/** The settings out of the container's command line and variables. */
function readSettings(controller: Workload, namespace: string): { settings: Settings; trouble: string } {
  const { command = [], args = [], env = [] } = containerOf(controller) ?? {}
  const words = [...command, ...args]
  const flags = words.slice(words.findIndex((word) => word.startsWith('-')) >>> 0)
  const fields: Record<string, string> = { 'metadata.namespace': namespace }
  const variables = env.map(({ name, value, valueFrom }): [string, string | undefined] => {
    return [name, value ?? fields[valueFrom?.fieldRef?.fieldPath ?? '']]
  })
  try {
    return { settings: { ...readConfig(flags, Object.fromEntries(variables)).settings }, trouble: '' }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { settings: { ...defaultSettings, namespace }, trouble: error.message }
  }
}
