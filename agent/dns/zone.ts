// What the names under the mesh domain stand for, as a snapshot has it: addresses of Services, their ports, and back from
// an address to a name.

import { isIPv6, SocketAddress } from 'node:net'
import type { ServiceResource } from '../../controller/contract/resources.ts'
import { resourceIn, type Wanted } from '../mesh/store.ts'

/** What can be asked for. */
export interface Zone {
  /** Lower case, without a trailing dot; '' while there is no snapshot. */
  readonly domain: string
  /** The addresses of the mesh Service, at most one of each IP family; none if not known yet. */
  readonly shared: readonly string[]
  /** The addresses of a Service, likewise; null if no such Service is in the mesh. */
  addresses(service: string, namespace: string): readonly string[] | null
  /** Its ports that have names, by name in lower case; none if it isn't in the mesh. */
  ports(service: string, namespace: string): ReadonlyMap<string, number>
  /** Whether a namespace has Services in the mesh: an empty non-terminal (RFC 8020). */
  hasNamespace(namespace: string): boolean
  /** The name that an address has to itself, or the domain for the one that most Services share; null: not ours. */
  nameOf(address: string): string | null
}

/** The zone that a snapshot describes. */
export function zoneOf(wanted: Wanted): Zone {
  const mesh = resourceIn(wanted, 'mesh', 'mesh')
  const domain = mesh?.meshDomain.toLowerCase() ?? ''
  const shared = mesh === null ? [] : addressesOf(mesh)
  let index: Index | null = null
  const indexed = () => {
    index ??= makeIndex(wanted, domain)
    return index
  }
  const find = (service: string, namespace: string) => {
    const found = resourceIn(wanted, 'service', `${namespace}/${service}`)
    return found?.enrolled ? found : null
  }
  return {
    domain,
    shared,
    addresses(service, namespace) {
      const found = find(service, namespace)
      if (found === null) return null
      return found.address === '' ? shared : addressesOf(found)
    },
    ports(service, namespace) {
      const named = find(service, namespace)?.ports.filter(({ name }) => name !== '') ?? []
      return new Map(named.map(({ name, number }) => [name.toLowerCase(), number]))
    },
    hasNamespace: (namespace) => indexed().namespaces.has(namespace),
    nameOf: (address) => (shared.includes(address) ? domain : (indexed().names.get(address) ?? null)),
  }
}

function addressesOf({ address, secondAddress }: { address: string; secondAddress?: string }): string[] {
  return [address, secondAddress].filter((each) => each !== undefined && each !== '') as string[]
}

interface Index {
  namespaces: ReadonlySet<string>
  /** Names by dedicated address. */
  names: ReadonlyMap<string, string>
}

/** Made when it is first asked for: most questions need no more than one Service. */
function makeIndex(wanted: Wanted, domain: string): Index {
  const namespaces = new Set<string>()
  const names = new Map<string, string>()
  for (const service of enrolledIn(wanted)) {
    const [namespace = '', name = ''] = service.name.split('/')
    namespaces.add(namespace)
    for (const address of addressesOf(service)) names.set(address, `${name}.${namespace}.${domain}`)
  }
  return { namespaces, names }
}

function* enrolledIn(wanted: Wanted): Generator<ServiceResource> {
  const prefix = 'service '
  for (const key of wanted.lines.keys()) {
    const service = key.startsWith(prefix) ? resourceIn(wanted, 'service', key.slice(prefix.length)) : null
    if (service?.enrolled) yield service
  }
}

/**
 * The address that a name of the reverse tree stands for (RFC 1035 section 3.5, RFC 3596 section 2.5).
 * @param name in lower case
 * @returns in the spelling that snapshots use; null if it is no such name
 */
export function reversed(name: string): string | null {
  const four = /^((?:\d{1,3}\.){4})in-addr\.arpa$/.exec(name)?.[1]
  if (four !== undefined) return four.split('.').slice(0, 4).reverse().join('.')
  const six = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)?.[1]
  if (six === undefined) return null
  const digits = six.replaceAll('.', '').split('').reverse().join('')
  const address = digits.replace(/(.{4})(?=.)/g, '$1:')
  return isIPv6(address) ? new SocketAddress({ address, family: 'ipv6' }).address : null
}
