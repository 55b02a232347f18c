// Who has which loopback address in local mode: node i has 127.<pods>.i.0/24, its own address is the first, its pods have the
// rest; ClusterIPs come from 127.<services>.0.0/16.

export interface AddressPlan {
  /** The node's name by number, from 1. */
  nodes: string[]
  /** The node's own address, which its probes come from. */
  nodeAddress(node: string): string
  podCidr(node: string): string
  serviceCidr: string
  /** Where the API listens, and the DNS stand-in: in the range of Services, where the API allots no address. */
  dnsAddress: string
  /** The node that an address belongs to. Addresses of no node (the user's own curl) count as the first node's. */
  nodeOf(address: string): string
  /** The next address for a pod; one that was used is not used again until all others were. */
  allot(node: string): string
}

/**
 * Makes a plan.
 * @param count how many nodes, at most 250
 * @param offset added to the second octets 44 (pods) and 96 (Services), so that several meshes fit on one machine
 */
export function planAddresses(count: number, offset = 0): AddressPlan {
  const prefix = `127.${44 + offset}`
  const services = `127.${96 + offset}`
  const nodes = Array.from({ length: count }, (_, index) => `node${index + 1}`)
  const numberOf = (node: string) => nodes.indexOf(node) + 1
  const last = new Map<string, number>()
  return {
    nodes,
    nodeAddress: (node) => `${prefix}.${numberOf(node)}.1`,
    podCidr: (node) => `${prefix}.${numberOf(node)}.0/24`,
    serviceCidr: `${services}.0.0/16`,
    dnsAddress: `${services}.0.10`,
    nodeOf: (address) => {
      const [first, second, third] = address.replace(/^::ffff:/, '').split('.')
      const own = `${first}.${second}` === prefix ? nodes[Number(third) - 1] : undefined
      return own ?? nodes[0]!
    },
    allot: (node) => {
      const next = last.get(node) ?? 2
      last.set(node, next === 254 ? 2 : next + 1)
      return `${prefix}.${numberOf(node)}.${next}`
    },
  }
}
