// How a client says whom it wants to reach: identities are longer than DNS labels may be, so the server name is a hash.

import { createHash } from 'node:crypto'

/** The server name for an identity: one lower-case DNS label, `w` and 160 bits of the SPIFFE ID's SHA-256 in hex. */
export function sniLabel(identity: string): string {
  return `w${createHash('sha256').update(identity).digest('hex').slice(0, 40)}`
}
