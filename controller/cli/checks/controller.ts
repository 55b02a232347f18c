// The controller: installed, ready, with valid settings, and one of its replicas leading.

import type { Installed } from '../installed.ts'
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
