// Versions of the contract. An agent states the range it understands, the controller picks the newest that both know. This
// release and the one before always have one in common, so that either may be upgraded first.
//
// 1: IPv4 alone.
// 2: Addresses may be IPv6; mesh, services and workloads may have a `secondAddress`; policies may say `nodeLocal`; `hello` says
//    where the replica takes reports.
//
// A change of messages.ts or resources.ts is a change of the newest version. Once that was released it takes a new version,
// a step down in controller/transmit/older.ts and a recording in test/controller/contract; the oldest may go then.

/** The versions that this code speaks. */
export const contract = { oldest: 1, newest: 2 } as const

/**
 * Picks the version for a conversation.
 * @returns the newest version in both ranges, or null if there is none
 */
export function agreeContract(oldest: number, newest: number): number | null {
  const agreed = Math.min(newest, contract.newest)
  return agreed >= Math.max(oldest, contract.oldest) ? agreed : null
}
