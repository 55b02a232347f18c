// How one root follows another without a failed request: first trusted by everybody, then signing, then the old one goes.
// The state is one Secret, replaced as a whole, so that a crash between any two steps leaves a state to go on from.

import { bundleHash, formatBundle, splitPem } from '../contract/pem.ts'
import { type Root, type RootSecret, readRoot } from './root.ts'
import type { Stored } from './store.ts'
import { managedLabels } from './store.ts'

/** `trusting`: a new root is published, the old one signs. `retiring`: the new one signs, the old one is still trusted. */
export type Phase = 'steady' | 'trusting' | 'retiring'

export interface Working {
  readonly phase: Phase
  /** The root that signs, with what it was read from. */
  readonly signing: Root
  readonly signingSecret: RootSecret
  /** While `trusting`: the root to come. */
  readonly incoming: Root | null
  readonly incomingSecret: RootSecret | null
  /** While `retiring`: PEM of what the old root was trusted by; its key is gone. */
  readonly retired: string
  /** When the phase began, ms since the epoch. */
  readonly since: number
}

/** What one agent last said of itself. */
export interface Acknowledgement {
  /** `namespace/name` of its pod. */
  pod: string
  /** ms since the epoch. */
  at: number
  trust: string
  signers: string[]
}

/** Where a rotation stands, for `weft ca status` and the debug pages. */
export interface RotationStatus {
  phase: Phase
  /** RFC 3339: when the phase began. */
  since: string
  signing: { id: string; subject: string; expires: string }
  incoming: { id: string; subject: string; expires: string } | null
  /** Pods of the agents that the phase waits for. */
  waiting: string[]
  /** Why the wanted root can't be used; empty if it can. */
  problem: string
}

export interface RotationFacts {
  /** ms since the epoch. */
  now: number
  /** What the root's Secret holds; null if it is absent or unusable. */
  wanted: { root: Root; secret: RootSecret } | null
  /** Pods of all ready agents. */
  agents: readonly string[]
  acknowledged: ReadonlyMap<string, Acknowledgement>
  /** Longest lifetime of a certificate. */
  lifetimeMs: number
}

/** A phase lasts this long at least, so that every replica works from it and what agents say was said after that. */
export const settleMs = 60_000
/** Allowed on top of the lifetime of the last certificate that a retired root may have signed. */
const marginMs = 300_000

/** The state of a mesh that has only ever had this root. */
export function firstWorking(root: Root, secret: RootSecret, now: number): Working {
  return {
    phase: 'steady',
    signing: root,
    signingSecret: secret,
    incoming: null,
    incomingSecret: null,
    retired: '',
    since: now,
  }
}

/** The trust bundle that belongs to a state. */
export function trustOf(working: Working): string {
  const { signing, incoming, retired } = working
  return formatBundle([...signing.anchors, ...(incoming?.anchors ?? []), ...splitPem(retired)])
}

/** The agents that the current phase waits for; empty if it waits for nobody. */
export function waitingFor(working: Working, facts: RotationFacts): string[] {
  if (working.phase === 'steady') return []
  const trust = bundleHash(trustOf(working))
  return facts.agents.filter((pod) => {
    const said = facts.acknowledged.get(pod)
    if (said === undefined) return true
    if (working.phase === 'trusting') return said.trust !== trust
    return said.signers.some((signer) => signer !== working.signing.id)
  })
}

/**
 * The next state.
 * @returns null if there is nothing to do now
 */
export function nextWorking(working: Working, facts: RotationFacts): Working | null {
  const { wanted, now } = facts
  const enter = (change: Partial<Working>): Working => ({ ...working, ...change, since: now })
  const isSettled = now - working.since >= settleMs
  const isAcknowledged = isSettled && waitingFor(working, facts).length === 0
  switch (working.phase) {
    case 'steady':
      if (wanted === null || wanted.root.id === working.signing.id) return null
      return enter({ phase: 'trusting', incoming: wanted.root, incomingSecret: wanted.secret })
    case 'trusting':
      // Taken back before it signed anything.
      if (wanted?.root.id === working.signing.id)
        return enter({ phase: 'steady', incoming: null, incomingSecret: null })
      // Under an expired root nobody can connect to say anything: nothing is left to wait for.
      if (!isAcknowledged && working.signing.expires > now) return null
      return enter({
        phase: 'retiring',
        signing: working.incoming!,
        signingSecret: working.incomingSecret!,
        incoming: null,
        incomingSecret: null,
        retired: formatBundle(working.signing.anchors),
      })
    case 'retiring':
      // After the lifetime of the last certificate that it signed nobody can need the old root, whatever agents say.
      if (!isAcknowledged && now - working.since < facts.lifetimeMs + marginMs) return null
      return enter({ phase: 'steady', retired: '' })
  }
}

const prefix = 'weft.dev/'

/** The Secret that holds a state. */
export function storeWorking(working: Working, version?: string): Stored {
  const put = (name: string, secret: RootSecret | null): Record<string, string> =>
    secret === null
      ? {}
      : {
          [`${name}.crt`]: secret['tls.crt'],
          [`${name}.key`]: secret['tls.key'],
          ...(secret['ca.crt'] === undefined ? {} : { [`${name}.ca`]: secret['ca.crt'] }),
        }
  return {
    type: 'Opaque',
    labels: { ...managedLabels },
    annotations: {
      [`${prefix}phase`]: working.phase,
      [`${prefix}since`]: new Date(working.since).toISOString(),
      [`${prefix}signer`]: working.signing.id,
    },
    data: {
      ...put('signing', working.signingSecret),
      ...put('incoming', working.incomingSecret),
      ...(working.retired === '' ? {} : { 'retired.crt': working.retired }),
    },
    ...(version === undefined ? {} : { version }),
  }
}

/**
 * Reads a state back, expired roots included.
 * @throws RootError if a root in it can't be used
 */
export function loadWorking(stored: Stored, now: number): Working {
  const take = (name: string): RootSecret | null => {
    const crt = stored.data[`${name}.crt`]
    const key = stored.data[`${name}.key`]
    const ca = stored.data[`${name}.ca`]
    if (crt === undefined || key === undefined) return null
    return { 'tls.crt': crt, 'tls.key': key, ...(ca === undefined ? {} : { 'ca.crt': ca }) }
  }
  const signingSecret = take('signing') ?? { 'tls.crt': '', 'tls.key': '' }
  const incomingSecret = take('incoming')
  const since = Date.parse(stored.annotations[`${prefix}since`] ?? '')
  const retired = stored.data['retired.crt'] ?? ''
  // What the data say counts; the annotation is there for people to read.
  const phase: Phase = incomingSecret !== null ? 'trusting' : retired !== '' ? 'retiring' : 'steady'
  return {
    phase,
    signing: readRoot(signingSecret),
    signingSecret,
    incoming: incomingSecret === null ? null : readRoot(incomingSecret),
    incomingSecret,
    retired,
    since: Number.isFinite(since) ? since : now,
  }
}
