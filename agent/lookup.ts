// Where names lead that stand for endpoints: hosts outside of the cluster, of ExternalName Services that a flag of the
// controller allows. Whoever owns such a name decides on its addresses, so this machine, its link and what answers there
// (metadata services) are never among them, nor are the agent's own.

import dns from 'node:dns'
import { BlockList, isIPv6, type LookupFunction } from 'node:net'

/** What is never outside: unspecified, loopback, link-local, multicast, reserved, and IPv6 prefixes with an IPv4 address inside. */
const inside = new BlockList()
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['192.0.0.0', 24],
  ['224.0.0.0', 3],
] as const) {
  inside.addSubnet(network, bits, 'ipv4')
}
for (const [network, bits] of [
  ['::', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2002::', 16],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  inside.addSubnet(network, bits, 'ipv6')
}

/** Whether an address can be that of a host outside; IPv4 in IPv6 counts as what it is. */
export function isOutside(address: string): boolean {
  const family = isIPv6(address) ? 'ipv6' : 'ipv4'
  return !address.includes('%') && !inside.check(address, family)
}

/**
 * Makes a lookup for connections to hosts outside.
 * @param own the agent's addresses
 * @param lookup how names are looked up
 */
export function lookupOutside(own: readonly string[], lookup: typeof dns.lookup = dns.lookup): LookupFunction {
  return (hostname, options, done) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        done(error, [])
        return
      }
      const open = addresses.filter(({ address }) => isOutside(address) && !own.includes(address))
      const [first] = open
      if (first === undefined)
        done(new Error(`${hostname} leads to this machine or its link, which is not outside`), [])
      else if (options.all === true) done(null, open)
      else done(null, first.address, first.family)
    })
  }
}
