// Third step of the outbound path: which port of which service is meant. On a dedicated mesh port the port alone says
// so; on a shared one and on the entry port the Host does, in the spellings that DESIGN.md section 4 lists and no other.

import { MeshError } from '../errors.ts'
import type { Port, Service, Snapshot } from '../mesh/snapshot.ts'

/** What stands for a Service's port where a request by the entry port names none: http's own. */
const defaultPort = 80

/** Names kept per snapshot; random Hosts that don't resolve are never kept, so that this is a bound, not a tuning knob. */
const maxRemembered = 4_096

/** What Hosts have led to, for each mesh port (or, negative, port named on the entry port) and namespace of callers. */
interface Memory {
  readonly byNamespace: Map<string, Map<number, Map<string, Port>>>
  names: number
}

const memories = new WeakMap<Snapshot, Memory>()

/**
 * Resolves what a caller asked for.
 * @param meshPort the mesh port that the connection came in by, or 0 for the entry port
 * @param host canonical Host: lower-case, without port and trailing dot; '' for opaque TCP
 * @param hostPort the Host's port, 0 if it has none; looked at on the entry port alone
 * @param namespace the caller's namespace, '' if it has none: for names of one label
 * @returns the Port, or why there is none: `no_route` or `not_enrolled`
 */
export function destination(
  snapshot: Snapshot,
  meshPort: number,
  host: string,
  hostPort: number,
  namespace: string,
): Port | MeshError {
  let memory = memories.get(snapshot)
  if (memory === undefined) {
    memory = { byNamespace: new Map(), names: 0 }
    memories.set(snapshot, memory)
  }
  const place = meshPort === 0 ? -hostPort : meshPort
  const known = memory.byNamespace.get(namespace)?.get(place)?.get(host)
  if (known !== undefined) return known
  const found = resolve(snapshot, meshPort, host, hostPort, namespace)
  if (!(found instanceof MeshError)) remember(memory, namespace, place, host, found)
  return found
}

function remember(memory: Memory, namespace: string, place: number, host: string, port: Port): void {
  if (memory.names >= maxRemembered) {
    memory.byNamespace.clear()
    memory.names = 0
  }
  let byPlace = memory.byNamespace.get(namespace)
  if (byPlace === undefined) {
    byPlace = new Map()
    memory.byNamespace.set(namespace, byPlace)
  }
  let byHost = byPlace.get(place)
  if (byHost === undefined) {
    byHost = new Map()
    byPlace.set(place, byHost)
  }
  byHost.set(host, port)
  memory.names++
}

function resolve(
  snapshot: Snapshot,
  meshPort: number,
  host: string,
  hostPort: number,
  namespace: string,
): Port | MeshError {
  if (meshPort === 0) return byHost(snapshot, host, hostPort || defaultPort, namespace, true)
  const port = snapshot.ports.get(meshPort)
  if (port === undefined) return new MeshError('no_route', `mesh port ${meshPort} stands for no port of a service`)
  if (port.service === null) return byHost(snapshot, host, port.port, namespace, false)
  const service = snapshot.services.get(port.service.name)
  if (service === undefined || service.uid !== port.service.uid) {
    return new MeshError('not_enrolled', `mesh port ${meshPort} stood for ${port.service.name}, which is gone`)
  }
  return portOf(service, port.port)
}

function byHost(
  snapshot: Snapshot,
  host: string,
  number: number,
  namespace: string,
  isEntry: boolean,
): Port | MeshError {
  const service = serviceOf(snapshot, host, namespace, isEntry)
  if (service === undefined) return new MeshError('no_route', `Host ${JSON.stringify(host)}`)
  const port = portOf(service, number)
  if (port instanceof MeshError || port.protocol === 'http') return port
  return new MeshError('no_route', `port ${number} of ${service.key} is opaque: only its dedicated address leads there`)
}

function portOf(service: Service, number: number): Port | MeshError {
  if (!service.enrolled) return new MeshError('not_enrolled', service.key)
  return service.ports.get(number) ?? new MeshError('no_route', `${service.key} has no port ${number}`)
}

/** The Service that a Host names, if it names one that the snapshot has. */
function serviceOf(snapshot: Snapshot, host: string, namespace: string, isEntry: boolean): Service | undefined {
  const { meshDomain, clusterDomain, aliasSuffix } = snapshot.mesh
  if (meshDomain !== '' && host.endsWith(`.${meshDomain}`)) {
    const name = qualified(host.slice(0, -meshDomain.length - 1))
    return name === null ? undefined : snapshot.services.get(`${name[1]}/${name[0]}`)
  }
  const name = host.includes('.') ? qualified(withoutCluster(host, clusterDomain)) : nonEmpty(host, namespace)
  if (name === null) return undefined
  const [label, space] = name
  // A Service that really has the name is what the name leads to in the cluster: an alias never takes a taken name.
  const plain = isEntry ? snapshot.services.get(`${space}/${label}`) : undefined
  if (plain !== undefined || !label.endsWith(aliasSuffix)) return plain
  return snapshot.services.get(`${space}/${label.slice(0, -aliasSuffix.length)}`)
}

/** Cuts `.svc` or `.svc.<cluster domain>` off. */
function withoutCluster(host: string, clusterDomain: string): string {
  const long = `.svc.${clusterDomain}`
  if (host.endsWith(long)) return host.slice(0, -long.length)
  return host.endsWith('.svc') ? host.slice(0, -4) : host
}

/** `name.namespace`, two labels exactly. */
function qualified(text: string): readonly [name: string, namespace: string] | null {
  const dot = text.indexOf('.')
  if (dot < 0 || text.includes('.', dot + 1)) return null
  return nonEmpty(text.slice(0, dot), text.slice(dot + 1))
}

function nonEmpty(name: string, namespace: string): readonly [name: string, namespace: string] | null {
  return name === '' || namespace === '' ? null : [name, namespace]
}
