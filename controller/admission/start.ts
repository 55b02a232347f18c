// The validating webhook as a part of the controller's process: its server, with a certificate of the mesh's own root, and
// on the leader the root in the ValidatingWebhookConfiguration. Every replica answers; API servers reach them by the
// Service.

import type { Logger } from 'pino'
import type { RunningAuthority } from '../authority/start.ts'
import type { Clock } from '../clock.ts'
import type { Api } from '../observe/api.ts'
import type { Settings } from '../resolve/settings.ts'
import { startServer } from '../serve.ts'
import { keepBundle } from './bundle.ts'
import { openAdmission, type ReviewCounts } from './handle.ts'

/** The Service in manifests/base by which API servers reach the webhook: its names are in the certificate. */
const serviceName = 'weft-controller'

export interface AdmissionParts {
  api: Pick<Api, 'request'>
  clock: Clock
  log: Logger
  settings: Settings
  authority: Pick<RunningAuthority, 'opened' | 'open' | 'serverTls'>
  isLeader(): boolean
}

export interface RunningAdmission {
  readonly port: number
  readonly counts: Readonly<ReviewCounts>
  /** This replica leads now. */
  lead(): void
  stop(): Promise<void>
}

/**
 * Starts the webhook's server; until there is a root, every handshake fails, and API servers go on without it.
 * @throws ConfigError if the address can't be used
 */
export async function startAdmission(address: string, port: number, parts: AdmissionParts): Promise<RunningAdmission> {
  const { api, clock, log, settings, authority, isLeader } = parts
  const name = `${serviceName}.${settings.namespace}.svc`
  const admission = openAdmission({ settings, clock, log })
  const tls = authority.serverTls([name, `${name}.${settings.clusterDomain}`])
  const server = await startServer(address, port, [admission.handle], tls)
  const trust = () => authority.open?.authority.trust() ?? null
  const bundle = keepBundle({ api, clock, log, isLeader, trust })
  const opened = authority.opened.then((open) => {
    open.authority.onChange(bundle.poke)
    bundle.poke()
  })
  // Who never gets a root says so elsewhere.
  opened.catch(() => {})
  return {
    port: server.port,
    counts: admission.counts,
    lead: bundle.poke,
    async stop() {
      await bundle.stop()
      await server.close(500)
    },
  }
}
