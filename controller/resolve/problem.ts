// A problem: what is wrong with one object, where, and what to do about it. Problems hang on the topology's nodes; update/
// makes Events and status of them, the CLI prints them.

import type { ObjectRef } from '../observe/objects.ts'

export interface Problem {
  /** The object that causes it. */
  object: ObjectRef
  /** CamelCase, from a closed set: the reason of the Event. */
  reason: ProblemReason
  /** `error`: something that was asked for is not in force. `warning`: it is, but hardly as meant. */
  severity: 'error' | 'warning'
  /** JSON path of the field, e.g. `spec.backends[1].service`. */
  field: string
  /** Names the field, what is wrong and the fix, in one line. */
  message: string
}

export type ProblemReason =
  | 'AccountNotFound'
  | 'AddressRefused'
  | 'AffinityIgnored'
  | 'AliasNameTaken'
  | 'AliasNameTooLong'
  | 'AnnotationInvalid'
  | 'AnnotationUnknown'
  | 'BackendDuplicated'
  | 'BackendInvalid'
  | 'BackendNotFound'
  | 'BackendPortMissing'
  | 'BreakerExpressionUnsupported'
  | 'DestinationInvalid'
  | 'EndpointRefused'
  | 'FieldIgnored'
  | 'HostRefused'
  | 'LabelInvalid'
  | 'LockImpossible'
  | 'LockNameTaken'
  | 'MatchInvalid'
  | 'MatchNotFound'
  | 'MatchesNeedHttp'
  | 'MeshPortClash'
  | 'MeshPortsExhausted'
  | 'MirrorInvalid'
  | 'NoBackendLeft'
  | 'NotEnrolled'
  | 'NotProcessed'
  | 'PerRequestFeaturesUnavailable'
  | 'PortInvalid'
  | 'ProtocolUnsupported'
  | 'RegexInvalid'
  | 'RouteNotFound'
  | 'RootInvalid'
  | 'RootNotFound'
  | 'RuleInvalid'
  | 'ShadowNameTaken'
  | 'SourceInvalid'
  | 'SpecInvalid'
  | 'SplitSuperseded'
  | 'UdpNotEnforced'
  | 'WeightInvalid'
  | 'WeightMissing'

/** Reasons that say only that another object is not there: nothing that a manifest alone can be blamed for. */
export const referenceReasons: ReadonlySet<ProblemReason> = new Set([
  'AccountNotFound',
  'BackendNotFound',
  'NotEnrolled',
  'RouteNotFound',
  'RootNotFound',
])

/** Collects the problems of one object. */
export class Problems {
  readonly object: ObjectRef
  readonly list: Problem[] = []

  constructor(object: ObjectRef) {
    this.object = object
  }

  /** What was asked for is not in force. */
  error(reason: ProblemReason, field: string, text: string): void {
    this.list.push({ object: this.object, reason, severity: 'error', field, message: `${field}: ${text}` })
  }

  /** It is in force, but hardly as it was meant. */
  warn(reason: ProblemReason, field: string, text: string): void {
    this.list.push({ object: this.object, reason, severity: 'warning', field, message: `${field}: ${text}` })
  }
}

const maxQuotedLength = 80

/** Puts foreign text into a message: one line, quoted, of bounded length. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length <= maxQuotedLength ? text : `${text.slice(0, maxQuotedLength - 1)}…`
}
