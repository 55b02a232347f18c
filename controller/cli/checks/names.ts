// Names under the mesh domain, where they have been set up: whether CoreDNS still has our block and answers by it.

import type { DnsState } from '../dns/block.ts'
import type { Verdict } from '../dns/verify.ts'
import { type Check, check } from './check.ts'

const category = 'names'

const faults: Record<DnsState['block'], string> = {
  present: '',
  missing: '',
  overwritten: 'it was put in and is gone; somebody has put the old configuration back',
  stale: 'it is for another domain or address',
}

/**
 * @param verdict whether names resolve; null: nobody was asked
 * @param isBypassed whether something before CoreDNS keeps it from being asked
 */
export function checkNames(state: DnsState, verdict: Verdict | null, isBypassed: boolean): Check[] {
  const { domain, block, place } = state
  if (block === 'missing' && verdict?.result !== 'resolves') {
    return [check(category, `names under ${domain} are not set up, which is optional: clients can use aliases`, '')]
  }
  const checks = [
    check(
      category,
      `CoreDNS has the block for ${domain}`,
      faults[block],
      `weft dns install; if it goes again, see who keeps ${place.namespace}/${place.name}`,
    ),
  ]
  if (verdict !== null && faults[block] === '') {
    const severity = verdict.result === 'unknown' ? 'warning' : 'error'
    const found = verdict.result === 'resolves' ? '' : verdict.text
    checks.push(check(category, `names under ${domain} resolve`, found, 'weft dns status', severity))
  }
  const found = isBypassed ? `NodeLocal DNSCache does not forward ${domain}` : ''
  checks.push(
    check(category, 'nothing before CoreDNS answers in its place', found, 'weft dns status says what to set there'),
  )
  return checks
}
