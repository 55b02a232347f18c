// What the admin port shows of the authority: where the root stands, and nothing of any key.

import type { Counter, Gauge } from 'prom-client'
import type { RunningAuthority } from '../authority/start.ts'

/** The page `/debug/authority`; null before there is a root. */
export function authorityFacts({ open, counts }: RunningAuthority): object | null {
  if (open === null) return null
  const { authority, tls } = open
  return {
    identity: authority.identity,
    rotation: authority.status(),
    certificate: { expires: new Date(tls.expires).toISOString() },
    ...counts,
  }
}

type Define<M> = (name: string, help: string, labelNames: string[], read: (set: M) => void) => void

/** Defines the authority's metrics. @param authority gives null until it has started */
export function authorityMetrics(
  gauge: Define<Gauge>,
  counter: Define<Counter>,
  authority: () => RunningAuthority | null,
): void {
  const status = () => authority()?.open?.authority.status()
  gauge('weft_controller_root_expiry_timestamp_seconds', 'When a root ends', ['root'], (set) => {
    const { signing = null, incoming = null } = status() ?? {}
    for (const [root, facts] of Object.entries({ signing, incoming })) {
      if (facts !== null) set.set({ root }, Date.parse(facts.expires) / 1000)
    }
  })
  gauge(
    'weft_controller_certificate_expiry_timestamp_seconds',
    "When the controller's own certificate ends",
    [],
    (set) => {
      const open = authority()?.open
      if (open) set.set(open.tls.expires / 1000)
    },
  )
  gauge('weft_controller_rotation', "1 for the phase in which the root's rotation is", ['phase'], (set) => {
    const phase = status()?.phase
    if (phase === undefined) return
    for (const each of ['steady', 'trusting', 'retiring']) set.set({ phase: each }, each === phase ? 1 : 0)
  })
  gauge('weft_controller_rotation_waiting', 'Agents that the rotation waits for', [], (set) => {
    set.set(status()?.waiting.length ?? 0)
  })
  gauge('weft_controller_root_problem', '1 while the wanted root can not be used', [], (set) => {
    set.set((status()?.problem ?? '') === '' ? 0 : 1)
  })
  counter('weft_controller_certificates_total', 'Certificates signed for agents', [], (set) => {
    set.inc(authority()?.counts.signed ?? 0)
  })
  counter('weft_controller_refusals_total', 'Requests of agents that were refused', ['reason'], (set) => {
    for (const [reason, number] of Object.entries(authority()?.counts.refused ?? {})) set.inc({ reason }, number)
  })
}
