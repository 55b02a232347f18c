// The header that tells a service who calls: set by the mesh alone, from what it has verified; what comes in under this
// name is cut by the engine (http1/head.ts). Its form is Envoy's x-forwarded-client-cert.

import { formatIdentity } from '../../controller/contract/identity.ts'
import type { Key } from '../../controller/contract/resources.ts'

/**
 * The header's line with its CRLF.
 * @param source the caller's account; null: it has no identity, and there is no header
 * @param destination the account of the pod that is called; empty for a foreign address
 */
export function clientCertLine(trustDomain: string, source: Key | null, destination: Key): string {
  if (source === null) return ''
  const by = destination === '' ? '' : `By=${formatIdentity(trustDomain, destination)};`
  return `x-forwarded-client-cert: ${by}URI=${formatIdentity(trustDomain, source)}\r\n`
}
