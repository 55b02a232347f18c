// The controller: installed, ready, with valid settings, and one of its replicas leading.

import type { Installed } from '../installed.ts'
import { shortDuration } from '../table.ts'
import { type Check, check } from './check.ts'

const category = 'controller'

/** The Lease `weft-controller`; times in milliseconds since the epoch. */
export interface Leadership {
  holder: string
  renewedMs: number
  leaseMs: number
}

/**
 * Replicas and settings.
 * @param namespace the mesh's own
 */
export function checkController({ controller, trouble }: Installed, namespace: string): Check[] {
  const checks = [check(category, 'the controller is installed', controller ? '' : 'not found', 'weft install --apply')]
  if (controller === null) return checks
  const { ready, wanted } = controller
  const found = `${ready} of ${wanted} replicas`
  const hint = `kubectl -n ${namespace} describe pods -l app.kubernetes.io/name=weft-controller`
  checks.push(check(category, 'the controller is ready', ready > 0 ? '' : found, hint))
  if (ready > 0) checks.push(check(category, 'all replicas are ready', ready >= wanted ? '' : found, hint, 'warning'))
  checks.push(check(category, "the controller's settings are valid", trouble, 'correct its flags or variables'))
  return checks
}

/**
 * Whether a replica leads: without one, agents are served, but no alias, address or Event is written.
 * @param nowMs by the API server's clock
 */
export function checkLeader(lease: Leadership | null, nowMs: number, namespace: string): Check[] {
  const hint = `kubectl -n ${namespace} logs deployment/weft-controller, and look for the lease`
  const found = () => {
    if (lease === null || lease.holder === '') return 'nobody holds the Lease weft-controller'
    const age = nowMs - lease.renewedMs
    // One that has just ended is taken within seconds.
    return age > 2 * lease.leaseMs ? `${lease.holder} has not renewed its Lease for ${Math.round(age / 1000)} s` : ''
  }
  return [check(category, 'one replica leads', found(), hint)]
}

/** Certificates of the mesh as the cluster shows them; null: not known. */
export interface TrustFacts {
  /** When the last root of the bundle ends, milliseconds since the epoch. */
  rootEnds: number | null
  /** Whether the API server can know the controller's webhook by its certificate. */
  isWebhookTrusted: boolean | null
}

/** Agents and pods must be able to follow a new root before the old one ends. */
const leastRootMs = 30 * 24 * 3_600_000

/** The root, and the webhook. @param nowMs by the API server's clock */
export function checkTrust({ rootEnds, isWebhookTrusted }: TrustFacts, nowMs: number): Check[] {
  const left = (rootEnds ?? 0) - nowMs
  const ends = left <= 0 ? 'it has ended' : `it ends in ${shortDuration(left)}`
  const root = check(
    category,
    'the root certificate lasts',
    left > leastRootMs ? '' : ends,
    'weft ca rotate, or give a new one',
  )
  const hint = 'the leader writes caBundle: see its log; until then SMI objects are stored without being asked about'
  const webhook = check(
    category,
    'the API server knows the webhook for SMI objects',
    isWebhookTrusted ? '' : 'ValidatingWebhookConfiguration weft-smi has no caBundle',
    hint,
    'warning',
  )
  return [...(rootEnds === null ? [] : [root]), ...(isWebhookTrusted === null ? [] : [webhook])]
}
