// Schemas of the built-in kinds, taken from the models that @kubernetes/client-node generates from the API's own
// description: they know every field and its type, which is what decoding, strict validation and `kubectl explain` need.

import * as client from '@kubernetes/client-node'
import type { Schema } from './schema.ts'

interface Attribute {
  baseName: string
  type: string
  format: string
}

const named = new Map<string, Schema>()

/** Lists whose elements have a key of their own: for strategic merge one field, for field ownership all of them. */
const keyedLists: Record<string, { merge?: string; keys: string[] }> = {
  'V1PodSpec.containers': { merge: 'name', keys: ['name'] },
  'V1PodSpec.initContainers': { merge: 'name', keys: ['name'] },
  'V1PodSpec.ephemeralContainers': { merge: 'name', keys: ['name'] },
  'V1PodSpec.volumes': { merge: 'name', keys: ['name'] },
  'V1PodSpec.imagePullSecrets': { merge: 'name', keys: ['name'] },
  'V1PodSpec.hostAliases': { merge: 'ip', keys: ['ip'] },
  'V1PodSpec.topologySpreadConstraints': { merge: 'topologyKey', keys: ['topologyKey', 'whenUnsatisfiable'] },
  'V1Container.env': { merge: 'name', keys: ['name'] },
  'V1Container.ports': { merge: 'containerPort', keys: ['containerPort', 'protocol'] },
  'V1Container.volumeMounts': { merge: 'mountPath', keys: ['mountPath'] },
  'V1Container.volumeDevices': { merge: 'devicePath', keys: ['devicePath'] },
  'V1PodStatus.conditions': { merge: 'type', keys: ['type'] },
  'V1PodStatus.podIPs': { merge: 'ip', keys: ['ip'] },
  'V1ServiceSpec.ports': { merge: 'port', keys: ['port', 'protocol'] },
  'V1ServiceStatus.conditions': { merge: 'type', keys: ['type'] },
  'V1NodeStatus.conditions': { merge: 'type', keys: ['type'] },
  'V1NodeStatus.addresses': { merge: 'type', keys: ['type'] },
  'V1NamespaceStatus.conditions': { merge: 'type', keys: ['type'] },
  'V1DeploymentStatus.conditions': { merge: 'type', keys: ['type'] },
  'V1ReplicaSetStatus.conditions': { merge: 'type', keys: ['type'] },
  'V1DaemonSetStatus.conditions': { merge: 'type', keys: ['type'] },
  'V1CustomResourceDefinitionStatus.conditions': { keys: ['type'] },
  'V1ServiceAccount.secrets': { merge: 'name', keys: ['name'] },
  'V1ServiceAccount.imagePullSecrets': { keys: ['name'] },
  'V1ObjectMeta.ownerReferences': { merge: 'uid', keys: ['uid'] },
  'V1ValidatingWebhookConfiguration.webhooks': { merge: 'name', keys: ['name'] },
}

/** Lists of plain values that patches and owners treat as sets. */
const sets = new Set(['V1ObjectMeta.finalizers', 'V1ServiceSpec.externalIPs', 'V1NodeSpec.podCIDRs'])

/** Structures that have one owner as a whole. */
const atomic = new Set(['V1LabelSelector', 'V1ObjectReference', 'V1LocalObjectReference', 'V1SecretKeySelector'])
const atomicMaps = new Set(['V1ServiceSpec.selector', 'V1PodSpec.nodeSelector'])

/** Maps of quantities: numbers are allowed there and become text. */
const quantities = new Set(['limits', 'requests', 'capacity', 'allocatable', 'hard', 'used'])

/** The schema of a model of client-node, such as `V1Service`. */
export function modelSchema(model: string): Schema {
  const known = named.get(model)
  if (known !== undefined) return known
  const schema: Schema = { type: 'object', model }
  // Known before its fields are, because some models contain themselves.
  named.set(model, schema)
  const properties: Record<string, Schema> = {}
  for (const attribute of attributesOf(model)) {
    properties[attribute.baseName] = listSchema(`${model}.${attribute.baseName}`, attributeSchema(attribute))
  }
  schema.properties = properties
  if (atomic.has(model)) schema['x-kubernetes-map-type'] = 'atomic'
  return schema
}

function attributesOf(model: string): Attribute[] {
  const found = (client as unknown as Record<string, { attributeTypeMap?: Attribute[] }>)[model]
  if (found?.attributeTypeMap === undefined) throw new Error(`client-node has no model ${model}`)
  return found.attributeTypeMap
}

function attributeSchema({ baseName, type, format }: Attribute): Schema {
  if (quantities.has(baseName) && type.startsWith('{')) {
    return { type: 'object', additionalProperties: { type: 'string', format: 'quantity' } }
  }
  return typeSchema(type, format)
}

function typeSchema(type: string, format: string): Schema {
  const list = /^Array<(.*)>$/.exec(type)
  if (list !== null) return { type: 'array', items: typeSchema(list[1]!, format) }
  const map = /^\{ \[key: string\]: (.*); \}$/.exec(type)
  if (map !== null) return { type: 'object', additionalProperties: typeSchema(map[1]!, format) }
  switch (type) {
    case 'string':
      return format === '' ? { type: 'string' } : { type: 'string', format }
    case 'boolean':
      return { type: 'boolean' }
    case 'number':
      return format === 'double' ? { type: 'number', format } : { type: 'integer', format }
    case 'Date':
    case 'V1MicroTime':
      return { type: 'string', format: 'date-time' }
    case 'IntOrString':
      return { 'x-kubernetes-int-or-string': true, format: 'int-or-string' }
    case 'any':
    case 'object':
      return { 'x-kubernetes-preserve-unknown-fields': true }
    default:
      return modelSchema(type)
  }
}

function listSchema(path: string, schema: Schema): Schema {
  const keyed = keyedLists[path]
  if (keyed !== undefined) {
    schema['x-kubernetes-list-type'] = 'map'
    schema['x-kubernetes-list-map-keys'] = keyed.keys
    if (keyed.merge !== undefined) {
      schema['x-kubernetes-patch-merge-key'] = keyed.merge
      schema['x-kubernetes-patch-strategy'] = 'merge'
    }
  }
  if (sets.has(path)) {
    schema['x-kubernetes-list-type'] = 'set'
    schema['x-kubernetes-patch-strategy'] = 'merge'
  }
  if (atomicMaps.has(path)) schema['x-kubernetes-map-type'] = 'atomic'
  return schema
}
