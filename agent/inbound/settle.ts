// Last step of the inbound path. An exchange ends as on the outbound path (outbound/settle.ts); here end the streams that
// never carried one, because they were refused.

import type { Key } from '../../controller/contract/resources.ts'
import type { MeshError } from '../errors.ts'
import { localBackend } from '../mesh/local.ts'
import type { Snapshot } from '../mesh/snapshot.ts'
import type { Denials } from '../observe/denials.ts'
import type { Sparing } from '../observe/sparing.ts'
import type { TunnelAsk } from '../tunnel/serve.ts'
import type { Verdict } from './permit.ts'

/** An IPv6 address, its brackets and a port: what is longer is no address. */
const authorityShown = 47

/** Who is told of refused streams. */
export interface Refusals {
  readonly denials: Denials
  readonly log: Sparing
}

/**
 * Says who was refused a stream, and why.
 * @param source the caller's account; null: it has no identity
 * @param verdict of the access rules, if they were asked
 */
export function settleRefused(
  { denials, log }: Refusals,
  snapshot: Snapshot,
  { reason, message }: MeshError,
  { remoteAddress: peer, authority, account: destination }: TunnelAsk,
  source: Key | null,
  verdict: Verdict | null,
): void {
  const fields = { source: source ?? '', destination, peer, authority: authority.slice(0, authorityShown) }
  if (verdict !== null && !verdict.isAllowed) {
    const service = localBackend(snapshot, authority)?.port.service.key ?? ''
    denials.tell({ source: fields.source, destination, verdict, service }, fields)
  } else {
    const kind = `${reason} ${peer} ${fields.source} ${destination}`
    log.warn(kind, { ...fields, reason, why: message }, 'stream refused')
  }
}
