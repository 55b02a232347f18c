// The columns of `kubectl get` for the built-in kinds, as the real API server prints them.

import type { Column } from './kinds.ts'
import { type AnyObject, sub } from './object.ts'
import { selectorText } from './selectors.ts'

type Cell = (object: AnyObject) => unknown

const none = '<none>'

function column(name: string, cell: Cell, priority = 0, type: Column['type'] = 'string'): Column {
  return { name, type, priority, cell }
}

function list(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? (value as Record<string, unknown>[]) : []
}

function joined(values: readonly unknown[], most = Number.POSITIVE_INFINITY): string {
  if (values.length === 0) return none
  const shown = values.slice(0, most).join(',')
  return values.length > most ? `${shown} + ${values.length - most} more...` : shown
}

/** How long ago, as kubectl writes ages: 45s, 3m20s, 5h, 12d. */
export function age(time: unknown, now = Date.now()): string {
  const since = Date.parse(String(time))
  if (time === undefined || time === null || Number.isNaN(since)) return '<unknown>'
  const seconds = Math.max(0, Math.floor((now - since) / 1000))
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit)) as [number, number, number]
  const pair = (whole: string, rest: number, unit: string) => (rest > 0 ? `${whole}${rest}${unit}` : whole)
  if (seconds < 120) return `${seconds}s`
  if (minutes < 10) return pair(`${minutes}m`, seconds % 60, 's')
  if (hours < 3) return `${minutes}m`
  if (hours < 8) return pair(`${hours}h`, minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  return days < 8 ? pair(`${days}d`, hours % 24, 'h') : `${days}d`
}

const ageColumn = column('Age', (object) => age(object.metadata.creationTimestamp))

function containers(object: AnyObject): Record<string, unknown>[] {
  return list(sub(sub(sub(object, 'spec'), 'template'), 'spec')['containers'])
}

const containerColumns = [
  column('Containers', (object) => joined(containers(object).map(({ name }) => name)), 1),
  column('Images', (object) => joined(containers(object).map(({ image }) => image)), 1),
  column('Selector', (object) => selectorText(sub(object, 'spec')['selector']) || none, 1),
]

function status(object: AnyObject, field: string): number {
  return Number(sub(object, 'status')[field] ?? 0)
}

function podStatus(object: AnyObject): string {
  const { phase, reason } = sub(object, 'status') as { phase?: string; reason?: string }
  if (object.metadata.deletionTimestamp !== undefined) return 'Terminating'
  for (const { state } of list(sub(object, 'status')['containerStatuses'])) {
    const { waiting, terminated } = (state ?? {}) as {
      waiting?: { reason?: string }
      terminated?: { reason?: string; exitCode?: number }
    }
    if (waiting?.reason) return waiting.reason
    if (terminated !== undefined) return terminated.reason ?? `ExitCode:${terminated.exitCode}`
  }
  return reason ?? phase ?? 'Unknown'
}

function podRestarts(object: AnyObject): string {
  const statuses = list(sub(object, 'status')['containerStatuses'])
  const count = statuses.reduce((sum, { restartCount }) => sum + Number(restartCount ?? 0), 0)
  const ends = statuses
    .map(({ lastState }) => sub(lastState, 'terminated')['finishedAt'])
    .filter((end) => end !== undefined)
  const last = ends.sort().at(-1)
  return count > 0 && last !== undefined ? `${count} (${age(last)} ago)` : String(count)
}

function servicePorts(object: AnyObject): string {
  return joined(
    list(sub(object, 'spec')['ports']).map(({ port, nodePort, protocol }) =>
      nodePort === undefined ? `${port}/${protocol}` : `${port}:${nodePort}/${protocol}`,
    ),
  )
}

function serviceExternal(object: AnyObject): string {
  const { type, externalName, externalIPs } = sub(object, 'spec') as Record<string, unknown>
  if (type === 'ExternalName') return String(externalName)
  const ips = list(externalIPs)
  if (type === 'LoadBalancer') {
    const ingress = list(sub(sub(object, 'status'), 'loadBalancer')['ingress']).map(
      ({ ip, hostname }) => ip ?? hostname,
    )
    return ingress.length === 0 ? '<pending>' : joined([...ingress, ...ips])
  }
  return joined(ips)
}

function labelsText(labels: Record<string, unknown>): string {
  return joined(Object.entries(labels).map(([key, value]) => `${key}=${value}`))
}

function nodeAddress(object: AnyObject, type: string): string {
  const found = list(sub(object, 'status')['addresses']).find((address) => address['type'] === type)
  return String(found?.['address'] ?? none)
}

function nodeStatus(object: AnyObject): string {
  const ready = list(sub(object, 'status')['conditions']).find(({ type }) => type === 'Ready')
  const word = ready === undefined ? 'Unknown' : ready['status'] === 'True' ? 'Ready' : 'NotReady'
  return sub(object, 'spec')['unschedulable'] === true ? `${word},SchedulingDisabled` : word
}

function nodeRoles(object: AnyObject): string {
  const prefix = 'node-role.kubernetes.io/'
  const roles = Object.keys(object.metadata.labels ?? {}).filter((key) => key.startsWith(prefix))
  return joined(roles.map((key) => key.slice(prefix.length)).sort())
}

function nodeInfo(field: string): Cell {
  return (object) => sub(sub(object, 'status'), 'nodeInfo')[field] ?? '<unknown>'
}

function eventObject(object: AnyObject): string {
  const { kind, name } = sub(object, 'involvedObject') as { kind?: string; name?: string }
  return `${(kind ?? '').toLowerCase()}/${name ?? ''}`
}

function eventTime(object: AnyObject, field: 'firstTimestamp' | 'lastTimestamp'): string {
  const time = object[field] ?? object['eventTime'] ?? object.metadata.creationTimestamp
  return age(time)
}

const name = column('Name', (object) => object.metadata.name)
const dataColumn = column('Data', (object) => Object.keys(sub(object, 'data')).length)

function subjects(kind: string): Cell {
  return (object) => {
    const found = list(object['subjects']).filter((subject) => subject['kind'] === kind)
    return found.map(({ namespace, name: own }) => (kind === 'ServiceAccount' ? `${namespace}/${own}` : own)).join(', ')
  }
}

const bindingColumns = [
  column('Role', (object) => {
    const { kind, name: role } = sub(object, 'roleRef')
    return `${kind}/${role}`
  }),
  ageColumn,
  column('Users', subjects('User'), 1),
  column('Groups', subjects('Group'), 1),
  column('ServiceAccounts', subjects('ServiceAccount'), 1),
]

/** Columns by kind; kinds that are missing have a name and an age. */
export const printers: Record<string, readonly Column[]> = {
  Namespace: [column('Status', (object) => sub(object, 'status')['phase']), ageColumn],
  Node: [
    column('Status', nodeStatus),
    column('Roles', nodeRoles),
    ageColumn,
    column('Version', nodeInfo('kubeletVersion')),
    column('Internal-IP', (object) => nodeAddress(object, 'InternalIP'), 1),
    column('External-IP', (object) => nodeAddress(object, 'ExternalIP'), 1),
    column('OS-Image', nodeInfo('osImage'), 1),
    column('Kernel-Version', nodeInfo('kernelVersion'), 1),
    column('Container-Runtime', nodeInfo('containerRuntimeVersion'), 1),
  ],
  Pod: [
    column('Ready', (object) => {
      const ready = list(sub(object, 'status')['containerStatuses']).filter((one) => one['ready'] === true).length
      return `${ready}/${list(sub(object, 'spec')['containers']).length}`
    }),
    column('Status', podStatus),
    column('Restarts', podRestarts),
    ageColumn,
    column('IP', (object) => sub(object, 'status')['podIP'] ?? none, 1),
    column('Node', (object) => sub(object, 'spec')['nodeName'] ?? none, 1),
    column('Nominated Node', (object) => sub(object, 'status')['nominatedNodeName'] ?? none, 1),
    column('Readiness Gates', () => none, 1),
  ],
  Service: [
    column('Type', (object) => sub(object, 'spec')['type']),
    column('Cluster-IP', (object) => sub(object, 'spec')['clusterIP'] ?? none),
    column('External-IP', serviceExternal),
    column('Port(s)', servicePorts),
    ageColumn,
    column('Selector', (object) => labelsText(sub(sub(object, 'spec'), 'selector')), 1),
  ],
  EndpointSlice: [
    column('AddressType', (object) => object['addressType']),
    column('Ports', (object) => {
      const ports = list(object['ports'])
      return ports.length === 0
        ? '<unset>'
        : joined(
            ports.map(({ port }) => port ?? '*'),
            3,
          )
    }),
    column('Endpoints', (object) => {
      const addresses = list(object['endpoints']).flatMap((endpoint) => list(endpoint['addresses']))
      return addresses.length === 0 ? '<unset>' : joined(addresses, 3)
    }),
    ageColumn,
  ],
  Endpoints: [
    column('Endpoints', (object) => {
      const subsets = list(object['subsets']).flatMap(({ addresses, ports }) =>
        list(addresses).flatMap(({ ip }) => list(ports).map(({ port }) => `${ip}:${port}`)),
      )
      return joined(subsets, 3)
    }),
    ageColumn,
  ],
  ServiceAccount: [column('Secrets', (object) => list(object['secrets']).length), ageColumn],
  ConfigMap: [dataColumn, ageColumn],
  Secret: [column('Type', (object) => object['type']), dataColumn, ageColumn],
  Lease: [column('Holder', (object) => sub(object, 'spec')['holderIdentity'] ?? ''), ageColumn],
  Event: [
    column('Last Seen', (object) => eventTime(object, 'lastTimestamp')),
    column('Type', (object) => object['type']),
    column('Reason', (object) => object['reason']),
    column('Object', eventObject),
    column('Subobject', (object) => sub(object, 'involvedObject')['fieldPath'] ?? '', 1),
    column('Source', (object) => sub(object, 'source')['component'] ?? object['reportingComponent'] ?? '', 1),
    column('Message', (object) => String(object['message'] ?? '').trim()),
    column('First Seen', (object) => eventTime(object, 'firstTimestamp'), 1),
    column('Count', (object) => object['count'] ?? 1, 1),
    column('Name', (object) => object.metadata.name, 1),
  ],
  Deployment: [
    column('Ready', (object) => `${status(object, 'readyReplicas')}/${sub(object, 'spec')['replicas']}`),
    column('Up-to-date', (object) => status(object, 'updatedReplicas')),
    column('Available', (object) => status(object, 'availableReplicas')),
    ageColumn,
    ...containerColumns,
  ],
  ReplicaSet: [
    column('Desired', (object) => sub(object, 'spec')['replicas']),
    column('Current', (object) => status(object, 'replicas')),
    column('Ready', (object) => status(object, 'readyReplicas')),
    ageColumn,
    ...containerColumns,
  ],
  DaemonSet: [
    column('Desired', (object) => status(object, 'desiredNumberScheduled')),
    column('Current', (object) => status(object, 'currentNumberScheduled')),
    column('Ready', (object) => status(object, 'numberReady')),
    column('Up-to-date', (object) => status(object, 'updatedNumberScheduled')),
    column('Available', (object) => status(object, 'numberAvailable')),
    column('Node Selector', (object) =>
      labelsText(sub(sub(sub(sub(object, 'spec'), 'template'), 'spec'), 'nodeSelector')),
    ),
    ageColumn,
    ...containerColumns,
  ],
  ClusterRole: [column('Created At', (object) => object.metadata.creationTimestamp)],
  Role: [column('Created At', (object) => object.metadata.creationTimestamp)],
  ClusterRoleBinding: bindingColumns,
  RoleBinding: bindingColumns,
  NetworkPolicy: [
    column('Pod-Selector', (object) => selectorText(sub(object, 'spec')['podSelector']) || none),
    ageColumn,
  ],
  PodDisruptionBudget: [
    column('Min Available', (object) => String(sub(object, 'spec')['minAvailable'] ?? 'N/A')),
    column('Max Unavailable', (object) => String(sub(object, 'spec')['maxUnavailable'] ?? 'N/A')),
    column('Allowed Disruptions', (object) => status(object, 'disruptionsAllowed')),
    ageColumn,
  ],
  CustomResourceDefinition: [column('Created At', (object) => object.metadata.creationTimestamp)],
}

/** The columns of a kind: its name first, unless the kind has its own idea of that. */
export function columnsFor(columns: readonly Column[] | undefined): readonly Column[] {
  if (columns === undefined) return [name, ageColumn]
  return columns.some((one) => one.name === 'Last Seen') ? columns : [name, ...columns]
}
