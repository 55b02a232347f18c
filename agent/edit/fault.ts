// Faults that a service's policy injects, to see how callers bear them: a delay, an error, for a percentage of requests,
// of all or of those that carry a certain header.

import type { ServicePolicy } from '../../controller/contract/resources.ts'
import { MeshError } from '../errors.ts'
import type { MatchInput } from '../mesh/match.ts'

/** No delay is longer: a typing error must not hold requests for a day. */
const maxDelayMs = 60_000

/**
 * How long a request is held back before it goes on.
 * @param random a number in [0, 1)
 * @returns ms; 0: not at all
 */
export function faultDelayMs(policy: ServicePolicy, input: MatchInput, random: number): number {
  const { fault } = policy
  if (fault?.delay === undefined || !isSubject(fault, input) || random * 100 >= fault.delay.percent) return 0
  return Math.min(Math.max(0, fault.delay.ms), maxDelayMs)
}

/**
 * Whether a request is refused although nothing is wrong with it.
 * @param random a number in [0, 1), another than the delay's
 * @returns `fault_abort` with the policy's status, or null
 */
export function faultAbort(policy: ServicePolicy, input: MatchInput, random: number): MeshError | null {
  const { fault } = policy
  if (fault?.abort === undefined || !isSubject(fault, input) || random * 100 >= fault.abort.percent) return null
  const { status } = fault.abort
  const isError = Number.isInteger(status) && status >= 400 && status <= 599
  return new MeshError('fault_abort', '', isError ? { status, retryable: false } : { retryable: false })
}

function isSubject(fault: NonNullable<ServicePolicy['fault']>, input: MatchInput): boolean {
  return fault.header === undefined || input.header(fault.header.toLowerCase()) !== null
}
