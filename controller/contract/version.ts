// Versions of the contract. An agent states the range it understands, the controller picks the newest that both know.

/** The versions that this code speaks. */
export const contract = { oldest: 1, newest: 1 } as const

/**
 * Picks the version for a conversation.
 * @returns the newest version in both ranges, or null if there is none
 */
export function agreeContract(oldest: number, newest: number): number | null {
  const agreed = Math.min(newest, contract.newest)
  return agreed >= Math.max(oldest, contract.oldest) ? agreed : null
}
