// What each split does on each port of its root: backends that exist and have the port keep their weights, the others get
// nothing. Splits are never followed from a backend to its own splits, so that a cycle can't arise, and a root that names
// itself means its own endpoints.

import type { Key } from '../contract/resources.ts'
import { nameOf } from './names.ts'
import { quote } from './problem.ts'
import type { Settings } from './settings.ts'
import type { ReadSplit } from './splits.ts'
import type { PortNode, ServiceNode, WeightedBackend } from './topology.ts'

/** By key. */
type Services = Pick<ReadonlyMap<Key, ServiceNode>, 'get' | 'has'>

/**
 * Hangs splits on the ports of their roots, in the order in which they are tried.
 * @param splits in that order; those with matches and those without in one list
 * @param services by key, with all Services that the splits name and that exist
 */
export function divide(splits: ReadSplit[], services: Services, settings: Settings): void {
  const matched = splits.filter(({ node }) => node.state === 'active' && node.matches !== null)
  const plain = splits.filter(({ node }) => node.state === 'active' && node.matches === null)
  for (const split of [...matched, ...plain]) {
    const root = services.get(split.node.root)
    if (!root) reportMissingRoot(split, settings)
    else if (!root.isEnrolled) reportRootOutside(split)
    else divideRoot(split, root, services)
    reportMissingBackends(split, services)
  }
}

function divideRoot(split: ReadSplit, root: ServiceNode, services: Services): void {
  const lacking = new Map<Key, number[]>()
  for (const port of root.ports) {
    if (split.node.matches !== null && port.protocol !== 'http') {
      split.problems.warn(
        'MatchesNeedHttp',
        split.paths.matches,
        `port ${port.number} of ${root.key} is not HTTP, so nothing matches there; drop the matches or name the port http-…`,
      )
      continue
    }
    dividePort(split, root, port, services, lacking)
  }
  for (const [service, numbers] of lacking) {
    split.problems.warn(
      'BackendPortMissing',
      split.paths.backends.get(service) ?? '',
      `Service ${quote(nameOf(service))} lacks port ${numbers.join(', ')} of ${quote(nameOf(root.key))} and gets none of that traffic; give it the same port numbers`,
    )
  }
}

function dividePort(
  split: ReadSplit,
  root: ServiceNode,
  port: PortNode,
  services: Services,
  lacking: Map<Key, number[]>,
): void {
  const backends: WeightedBackend[] = []
  for (const backend of split.node.backends) {
    const service = services.get(backend.service)
    if (!service) continue
    if (service.ports.some(({ number }) => number === port.number)) backends.push({ ...backend })
    else lacking.set(backend.service, [...(lacking.get(backend.service) ?? []), port.number])
  }
  port.splits.push({ split: split.node.key, backends })
  if (backends.some(({ weight }) => weight > 0)) return
  split.problems.error(
    'NoBackendLeft',
    'spec.backends',
    `no backend with a weight above 0 exists with port ${port.number} of ${quote(nameOf(root.key))}; requests that the split takes get 503 no_backend`,
  )
}

function reportMissingRoot({ node, problems, paths }: ReadSplit, settings: Settings): void {
  const name = nameOf(node.root)
  const plain = name.endsWith(settings.aliasSuffix) ? name.slice(0, -settings.aliasSuffix.length) : ''
  const hint =
    plain === '' ? 'create it or correct the name' : `did you mean ${quote(plain)}, without the alias suffix?`
  problems.warn('RootNotFound', paths.root, `there is no Service ${node.root}; ${hint}`)
}

function reportRootOutside({ node, problems, paths }: ReadSplit): void {
  problems.warn(
    'NotEnrolled',
    paths.root,
    `Service ${node.root} is not in the mesh, so the split has no effect; label it or its namespace weft.dev/mesh=enabled`,
  )
}

function reportMissingBackends({ node, problems, paths }: ReadSplit, services: Services): void {
  for (const { service } of node.backends) {
    if (services.has(service)) continue
    problems.warn(
      'BackendNotFound',
      paths.backends.get(service) ?? '',
      `there is no Service ${quote(nameOf(service))} in namespace ${quote(node.ref.namespace)}; until it exists it gets no traffic`,
    )
  }
}
