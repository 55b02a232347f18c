// Claims on mesh ports of dedicated addresses, recorded on the mesh Service before a shadow Service takes the port. The mesh
// Service is one object, so that of two controllers that each believe to lead only one can record a claim: what the other had on
// its way fails, and no port is given twice.

import { labels } from './names.ts'

export interface Claim {
  meshPort: number
  owner: string
}

/** More than these wait for the next pass: Kubernetes takes 256 KiB of annotations. */
export const claimsLimit = 1500

/** How claims are recorded. */
export function writeClaims(claims: readonly Claim[]): string {
  return JSON.stringify(claims.map(({ meshPort, owner }) => [meshPort, owner]))
}

/** The claims that a mesh Service records; what can't be read is as good as nothing. */
export function readClaims(annotations: Readonly<Record<string, string>> | undefined): Claim[] {
  try {
    const list: unknown = JSON.parse(annotations?.[labels.claimed] ?? '[]')
    if (!Array.isArray(list)) return []
    return list.flatMap((entry) => {
      const [meshPort, owner] = Array.isArray(entry) ? entry : []
      return Number.isInteger(meshPort) && typeof owner === 'string' ? [{ meshPort, owner }] : []
    })
  } catch {
    return []
  }
}
