// Addresses with a port, as text: how endpoints are known, what the tunnel's CONNECT names, what messages show. IPv6 stands
// in brackets (RFC 3986 section 3.2.2), so that its colons and the port's can be told apart.

import { isIPv4, isIPv6 } from 'node:net'

/** `address:port`, or `[address]:port` for IPv6. */
export function joinPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

const form = /^(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9a-f:.]{2,45})\]):(\d{1,5})$/

/**
 * Reads what `joinPort` writes for an IP address.
 * @returns null if it is anything else: a name, an address that is none, a port out of range, IPv6 without brackets
 */
export function splitPort(text: string): { address: string; port: number } | null {
  const found = form.exec(text)
  if (found === null) return null
  const [, four, six = ''] = found
  const port = Number(found[3])
  if (port === 0 || port > 65_535 || !(four === undefined ? isIPv6(six) : isIPv4(four))) return null
  return { address: four ?? six, port }
}

/** What a server is told to listen on: an IPv6 address means IPv6 alone, so that the same port of IPv4 stays free. */
export function listenOn(address: string, port: number): { host: string; port: number; ipv6Only: boolean } {
  return { host: address, port, ipv6Only: isIPv6(address) }
}
