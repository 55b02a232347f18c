// What the mesh does not do for a Service, said on the Service: by which field, and what to do instead.

import type { Problems } from './problem.ts'
import type { Spoken } from './protocol.ts'

/** Affinity to a client's address, which the mesh does not have. */
export function reportAffinity(problems: Problems): void {
  problems.warn(
    'AffinityIgnored',
    'spec.sessionAffinity',
    'ClientIP does not apply to calls through the mesh; weft.dev/balance: hash with weft.dev/balance-header or weft.dev/balance-cookie keeps requests together',
  )
}

/** A port that speaks no TCP. */
export function reportProtocol(index: number, protocol: string, problems: Problems): void {
  problems.warn(
    'ProtocolUnsupported',
    `spec.ports[${index}].protocol`,
    `${protocol} is not carried by the mesh; clients must use the plain Service for this port`,
  )
}

/** A port whose requests are not told apart. */
export function reportPerRequest(index: number, spoken: Spoken, problems: Problems): void {
  problems.warn(
    'PerRequestFeaturesUnavailable',
    `spec.ports[${index}]`,
    `${spoken} is carried as opaque TCP for now: splits and balancing work per connection; retries, matches, time-outs per request, header edits, mirroring and HTTP rules of TrafficTargets do not apply`,
  )
}
