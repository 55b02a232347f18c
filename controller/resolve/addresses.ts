// IP addresses: one spelling for each, and which ones are never an endpoint.

import { BlockList, isIP, isIPv4, SocketAddress } from 'node:net'

/**
 * Brings an address into its one spelling.
 * @returns null if it is not an IP address; IPv4 in IPv6 comes out as IPv4
 */
export function canonicalAddress(text: string): string | null {
  if (isIPv4(text)) return text
  if (isIP(text) === 0 || text.includes('%')) return null
  const { address } = new SocketAddress({ address: text, family: 'ipv6' })
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  return mapped?.[1] ?? address
}

/** An address and, where there are two IP families, the first one of the other family. */
export interface Addresses {
  /** Empty if there is none. */
  address: string
  secondAddress?: string
}

/** Chooses from what Kubernetes lists, the preferred one first; what is no address counts for nothing. */
export function pairAddresses(texts: readonly (string | undefined)[]): Addresses {
  const all = texts.map((text) => (text === undefined ? null : canonicalAddress(text))).filter((each) => each !== null)
  const [address = ''] = all
  const second = all.find((each) => isIPv4(each) !== isIPv4(address))
  return second === undefined ? { address } : { address, secondAddress: second }
}

/** Loopback, link-local, unspecified, multicast, reserved, and prefixes that carry an IPv4 address inside. */
const reserved = makeBlocks([
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '192.0.0.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '2002::/16',
  'fe80::/10',
  'ff00::/8',
])

/** Whether an address (in its one spelling) means this machine, this link, or nothing that can be dialled. */
export function isReserved(address: string): boolean {
  return isWithin(address, reserved)
}

/** Whether an address lies in one of the blocks. */
export function isWithin(address: string, blocks: BlockList): boolean {
  return blocks.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}

/**
 * Makes a list of CIDRs searchable.
 * @throws TypeError or RangeError for what is no CIDR; the flags have been checked by then
 */
export function makeBlocks(cidrs: readonly string[]): BlockList {
  const blocks = new BlockList()
  for (const cidr of cidrs) {
    const [address = '', length] = cidr.split('/')
    const family = isIPv4(address) ? 'ipv4' : 'ipv6'
    blocks.addSubnet(address, Number(length ?? (family === 'ipv4' ? 32 : 128)), family)
  }
  return blocks
}
