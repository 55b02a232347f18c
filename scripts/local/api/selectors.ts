// Label and field selectors: parsed from a query, or from a LabelSelector, into a test on objects.

import { badRequest } from './errors.ts'
import { type AnyObject, isRecord } from './object.ts'

export type Test = (object: AnyObject) => boolean

interface Requirement {
  key: string
  operator: 'in' | 'notin' | 'exists' | 'absent'
  values: string[]
}

const key = '([A-Za-z0-9][-A-Za-z0-9_./]*)'
const setBased = new RegExp(String.raw`^${key}\s+(in|notin)\s*\(([^()]*)\)$`)
const equality = new RegExp(String.raw`^${key}\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)$`)
const presence = new RegExp(String.raw`^(!?)\s*${key}$`)

/**
 * A label selector as a test: `app=a,tier in (x,y),!old`.
 * @throws ApiError 400 if it can't be parsed
 */
export function labelTest(selector: string): Test {
  const requirements = splitOutsideParentheses(selector).map(parseRequirement)
  return (object) => requirements.every((requirement) => meets(requirement, object.metadata.labels ?? {}))
}

function splitOutsideParentheses(selector: string): string[] {
  return selector
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

function parseRequirement(text: string): Requirement {
  const set = setBased.exec(text)
  if (set !== null) {
    const values = set[3]!.split(',').map((value) => value.trim())
    return { key: set[1]!, operator: set[2] as 'in' | 'notin', values }
  }
  const equal = equality.exec(text)
  if (equal !== null) return { key: equal[1]!, operator: equal[2] === '!=' ? 'notin' : 'in', values: [equal[3]!] }
  const present = presence.exec(text)
  if (present !== null) return { key: present[2]!, operator: present[1] === '!' ? 'absent' : 'exists', values: [] }
  throw badRequest(`unable to parse requirement: ${JSON.stringify(text)} is no label selector`)
}

function meets({ key, operator, values }: Requirement, labels: Record<string, string>): boolean {
  const value = labels[key]
  switch (operator) {
    case 'in':
      return value !== undefined && values.includes(value)
    case 'notin':
      return value === undefined || !values.includes(value)
    case 'exists':
      return value !== undefined
    case 'absent':
      return value === undefined
  }
}

/** Fields that can be selected by, of every kind and by storage, as the real API server allows them. */
const everywhere = ['metadata.name', 'metadata.namespace']
const selectable: Record<string, readonly string[]> = {
  '/pods': [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  '/events': [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
  '/namespaces': ['status.phase'],
  '/nodes': ['spec.unschedulable'],
  '/services': ['spec.clusterIP', 'spec.type'],
  '/secrets': ['type'],
  'apps/replicasets': ['status.replicas'],
}

/** How events.k8s.io/v1 calls the fields of a stored Event. */
const aliases: Record<string, string> = { reportingController: 'reportingComponent', source: 'source.component' }

/**
 * A field selector as a test on stored objects: `spec.nodeName=node1,status.phase!=Failed`.
 * @throws ApiError 400 for a field that this kind can't be selected by
 */
export function fieldTest(selector: string, storage: string): Test {
  const tests = selector
    .split(',')
    .filter((part) => part !== '')
    .map((part) => fieldRequirement(part, storage))
  return (object) => tests.every((test) => test(object))
}

function fieldRequirement(text: string, storage: string): Test {
  const found = /^([^=!]+)(==|=|!=)(.*)$/.exec(text)
  if (found === null) throw badRequest(`invalid selector: '${text}'; can't understand '${text}'`)
  const name = found[1]!.replace(/^regarding\./, 'involvedObject.')
  const own = selectable[storage]
  if (!everywhere.includes(name) && own?.includes(name) !== true && aliases[name] === undefined) {
    if (own !== undefined) throw badRequest(`field label not supported: ${name}`)
    const known = everywhere.map((one) => JSON.stringify(one)).join(', ')
    throw badRequest(`${JSON.stringify(name)} is not a known field selector: only ${known}`)
  }
  const path = (aliases[name] ?? name).split('.')
  const isEqual = found[2] !== '!='
  return (object) => (fieldValue(object, path) === found[3]) === isEqual
}

function fieldValue(object: AnyObject, path: readonly string[]): string {
  let value: unknown = object
  for (const step of path) value = isRecord(value) ? value[step] : undefined
  return value === undefined || value === null ? '' : String(value)
}

/** The LabelSelector of a Deployment's or Service's kind (`matchLabels`, `matchExpressions`) as a selector's text. */
export function selectorText(selector: unknown): string {
  if (!isRecord(selector)) return ''
  const labels = isRecord(selector['matchLabels']) ? Object.entries(selector['matchLabels']) : []
  const parts = labels.map(([name, value]) => `${name}=${value}`)
  const expressions = Array.isArray(selector['matchExpressions']) ? selector['matchExpressions'] : []
  for (const { key, operator, values } of expressions as { key: string; operator: string; values?: string[] }[]) {
    if (operator === 'Exists') parts.push(key)
    else if (operator === 'DoesNotExist') parts.push(`!${key}`)
    else parts.push(`${key} ${operator.toLowerCase()} (${(values ?? []).join(',')})`)
  }
  return parts.join(',')
}
