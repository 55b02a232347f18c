// What can be set at installation: each value with what it changes in the manifests. Anything else is an overlay's work.

import { Exit, exits } from '../exits.ts'
import type { Manifest } from './manifests.ts'

interface Container {
  image?: string
  env?: { name: string; value?: string; valueFrom?: unknown }[]
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> }
}

type Part = 'controller' | 'agent'

interface Value {
  about: string
  /** What is wrong with a text; null: nothing. */
  fault(text: string): string | null
  set(objects: readonly Manifest[], text: string): void
}

const kinds: Record<Part, string> = { controller: 'Deployment', agent: 'DaemonSet' }

function workload(objects: readonly Manifest[], part: Part): Manifest {
  const found = objects.find(({ kind, metadata }) => kind === kinds[part] && metadata.name === `weft-${part}`)
  if (found === undefined) throw new Exit(exits.data, `the manifests have no ${kinds[part]} weft-${part}`)
  return found
}

function container(objects: readonly Manifest[], part: Part): Container {
  return workload(objects, part).spec.template.spec.containers[0]
}

function setVariable(objects: readonly Manifest[], part: Part, name: string, value: string): void {
  const own = container(objects, part)
  own.env = [...(own.env ?? []).filter((each) => each.name !== name), { name, value }]
}

const any = (text: string) => (text === '' ? 'must not be empty' : null)
const matching = (form: RegExp, what: string) => (text: string) => (form.test(text) ? null : `must be ${what}`)
const quantity = matching(/^\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi)?$/, 'a quantity such as 200m or 512Mi')

/** A flag of one or both programs; they check its value themselves when they start, in the same words. */
function variable(about: string, name: string, ...parts: Part[]): Value {
  return {
    about,
    fault: any,
    set(objects, text) {
      for (const part of parts) setVariable(objects, part, name, text)
    },
  }
}

function request(part: Part, resource: 'cpu' | 'memory'): Value {
  return {
    about: `${resource} that ${part === 'agent' ? 'each agent' : 'each controller replica'} asks for`,
    fault: quantity,
    set(objects, text) {
      const own = container(objects, part)
      own.resources = { ...own.resources, requests: { ...own.resources?.requests, [resource]: text } }
    },
  }
}

function limit(part: Part): Value {
  return {
    about: `memory that ${part === 'agent' ? 'each agent' : 'each controller replica'} may use`,
    fault: quantity,
    set(objects, text) {
      const own = container(objects, part)
      own.resources = { ...own.resources, limits: { ...own.resources?.limits, memory: text } }
    },
  }
}

const word = matching(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 'a domain such as cluster.local')

/** All values, by name; those that the chart has too are named as there. */
export const values: Readonly<Record<string, Value>> = {
  image: {
    about: 'image of controller and agents (also --image)',
    fault: matching(/^[\w.:/@-]+$/, 'the name of an image'),
    set(objects, text) {
      for (const part of ['controller', 'agent'] as const) container(objects, part).image = text
    },
  },
  'mesh.defaultAccess': {
    ...variable('mode of namespaces without weft.dev/access: allow or deny', 'WEFT_DEFAULT_ACCESS', 'controller'),
    fault: matching(/^(allow|deny)$/, 'allow or deny'),
  },
  'mesh.domain': { ...variable("what the agents' DNS answers for", 'WEFT_MESH_DOMAIN', 'controller'), fault: word },
  'mesh.clusterDomain': {
    about: "the cluster's DNS domain",
    fault: word,
    set(objects, text) {
      setVariable(objects, 'controller', 'WEFT_CLUSTER_DOMAIN', text)
      guardDomain(objects, text)
    },
  },
  'mesh.trustDomain': { ...variable('of the identities', 'WEFT_TRUST_DOMAIN', 'controller'), fault: word },
  'mesh.aliasSuffix': variable("added to a Service's name for its alias", 'WEFT_ALIAS_SUFFIX', 'controller'),
  'mesh.ports': {
    ...variable('range of mesh ports', 'WEFT_MESH_PORTS', 'controller', 'agent'),
    fault: matching(/^\d+-\d+$/, 'a range such as 16384-32767'),
  },
  'mesh.certificateLifetime': variable('of certificates, e.g. 24h', 'WEFT_CERTIFICATE_LIFETIME', 'controller'),
  'mesh.foreignCidrs': variable('where endpoints may lie that belong to no pod', 'WEFT_FOREIGN_CIDRS', 'controller'),
  'mesh.foreignHosts': variable('where ExternalName Services may point to', 'WEFT_FOREIGN_HOSTS', 'controller'),
  'controller.replicas': {
    about: 'replicas of the controller',
    fault: matching(/^[1-9]\d?$/, 'a number from 1 to 99'),
    set(objects, text) {
      workload(objects, 'controller').spec.replicas = Number(text)
    },
  },
  'controller.logLevel': variable('least severity that it logs', 'WEFT_LOG_LEVEL', 'controller'),
  'controller.resources.requests.cpu': request('controller', 'cpu'),
  'controller.resources.requests.memory': request('controller', 'memory'),
  'controller.resources.limits.memory': limit('controller'),
  'agent.dataThreads': {
    ...variable('threads of each agent that carry traffic', 'WEFT_DATA_THREADS', 'agent'),
    fault: matching(/^[1-9]\d?$/, 'a number from 1 to 99'),
  },
  'agent.accessLog': {
    ...variable('whether agents log each request: true or false', 'WEFT_ACCESS_LOG', 'agent'),
    fault: matching(/^(true|false)$/, 'true or false'),
  },
  'agent.logLevel': variable('least severity that they log', 'WEFT_LOG_LEVEL', 'agent'),
  'agent.resources.requests.cpu': request('agent', 'cpu'),
  'agent.resources.requests.memory': request('agent', 'memory'),
  'agent.resources.limits.memory': limit('agent'),
}

/** The policy that keeps the controller to its own Services knows the domain that aliases point into. */
function guardDomain(objects: readonly Manifest[], domain: string): void {
  for (const object of objects.filter(({ kind }) => kind === 'ValidatingAdmissionPolicy')) {
    for (const validation of object.spec.validations as { expression: string }[]) {
      validation.expression = validation.expression.replaceAll('.svc.cluster.local', `.svc.${domain}`)
    }
  }
}

/** Where an installation keeps what was set, so that an upgrade keeps it too. */
const annotation = 'weft.dev/values'

/**
 * Reads `name=value` pairs.
 * @throws Exit naming the value at fault
 */
export function readValues(pairs: readonly string[]): Record<string, string> {
  const given: Record<string, string> = {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    const name = at < 0 ? pair : pair.slice(0, at)
    const value = Object.hasOwn(values, name) ? values[name] : undefined
    if (at < 0) throw new Exit(exits.usage, `--set ${pair}: must be NAME=VALUE`)
    if (value === undefined) {
      throw new Exit(exits.usage, `--set ${name}: no such value; there are ${Object.keys(values).join(', ')}`)
    }
    const fault = value.fault(pair.slice(at + 1))
    if (fault !== null) throw new Exit(exits.usage, `--set ${name}: ${fault}`)
    given[name] = pair.slice(at + 1)
  }
  return given
}

/** Sets values in manifests, and notes them there. Changes the objects. */
export function setValues(objects: readonly Manifest[], given: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(given)) values[name]!.set(objects, text)
  if (Object.keys(given).length === 0) return
  const { metadata } = workload(objects, 'controller')
  metadata.annotations = { ...metadata.annotations, [annotation]: JSON.stringify(given) }
}

/** What was set when an object was installed; values that this version does not know are left out. */
export function valuesOf({ metadata }: { metadata: { annotations?: Record<string, string> } }): Record<string, string> {
  try {
    const noted = JSON.parse(metadata.annotations?.[annotation] ?? '{}') as Record<string, unknown>
    const entries = Object.entries(noted).map(([name, value]): [string, string] => [name, String(value)])
    return Object.fromEntries(entries.filter(([name]) => Object.hasOwn(values, name)))
  } catch {
    return {}
  }
}

/** The image that the manifests name. */
export function imageOf(objects: readonly Manifest[]): string {
  return container(objects, 'controller').image ?? ''
}
