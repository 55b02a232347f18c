// Second step of the inbound path: who is calling, by the certificate that the other agent showed and by nothing else. No
// header and no address says anything about it.

import type { Identity } from '../../controller/contract/identity.ts'
import type { Key } from '../../controller/contract/resources.ts'
import type { Caller } from '../exchange.ts'

/**
 * The caller behind a connection from another agent.
 * @param address the connection's source address: the other agent's
 * @param identity from the peer's certificate, after the handshake was checked
 * @param agent the agents' own account: what travels under it comes from a caller without identity
 */
export function inboundCaller(address: string, identity: Identity, agent: Key): Caller {
  const { account } = identity
  if (account === agent) return { address, workload: null }
  const slash = account.indexOf('/')
  // Which of the account's pods it is, the certificate doesn't say.
  const workload = {
    kind: 'workload',
    name: '',
    pod: account.slice(0, slash + 1),
    address: '',
    account,
    workload: '',
    live: true,
    startedAt: 0,
  } as const
  return { address, workload }
}

/** The account that rules are asked about; null for a caller without identity. */
export function sourceAccount(caller: Caller): Key | null {
  return caller.workload?.account ?? null
}
