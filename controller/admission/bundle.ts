// Keeps the mesh's root in the ValidatingWebhookConfiguration, so that API servers trust the webhook's certificate: at
// first, when the root rotates, and when somebody applied the manifests anew. The leader does it; nothing else of the
// object is touched, and where there is none the webhook was not wanted.

import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import { hasStatus, messageOf } from '../errors.ts'
import type { Api } from '../observe/api.ts'
import type { KubeObject } from '../observe/objects.ts'

/** Name of the object in manifests/base; the controller's rights are for this one alone. */
export const configurationName = 'weft-smi'

const path = `/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/${configurationName}`
/** Without an occasion it is looked at this often. */
const checkMs = 10_000

interface WebhookConfiguration extends KubeObject {
  webhooks?: { name: string; clientConfig: { service?: object; caBundle?: string } }[]
}

export interface BundleParts {
  api: Pick<Api, 'request'>
  clock: Clock
  log: Pick<Logger, 'info' | 'warn'>
  isLeader(): boolean
  /** PEM of what is to be trusted; null while there is no root. */
  trust(): string | null
}

export interface BundleKeeper {
  /** There may be something to do: this replica leads now, or the root has changed. */
  poke(): void
  stop(): Promise<void>
}

/** Begins to keep it. */
export function keepBundle(parts: BundleParts): BundleKeeper {
  const { clock, log } = parts
  const stopping = new AbortController()
  let poked = new AbortController()
  let trouble = ''

  async function attempt(): Promise<void> {
    const trust = parts.trust()
    if (trust === null || !parts.isLeader()) return
    try {
      if (await writeBundle(parts.api, trust))
        log.info({ object: configurationName }, "the webhook's root is up to date")
      trouble = ''
    } catch (thrown) {
      const found = messageOf(thrown)
      if (found !== trouble) log.warn({ error: found }, "the webhook's root can not be written")
      trouble = found
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      poked = new AbortController()
      await attempt()
      await clock.sleep(checkMs, AbortSignal.any([stopping.signal, poked.signal]))
    }
  }

  const done = run()
  return {
    poke: () => poked.abort(),
    async stop() {
      stopping.abort()
      await done
    },
  }
}

/**
 * Writes the bundle where it differs.
 * @param trust PEM
 * @returns whether something was written
 * @throws ApiError
 */
export async function writeBundle(api: Pick<Api, 'request'>, trust: string): Promise<boolean> {
  const caBundle = Buffer.from(trust).toString('base64')
  let found: WebhookConfiguration
  try {
    found = await api.request<WebhookConfiguration>('GET', path)
  } catch (thrown) {
    if (hasStatus(thrown, 404)) return false
    throw thrown
  }
  const { webhooks = [] } = found
  // One that is reached by a URL has a certificate of somebody else's.
  const isOurs = ({ clientConfig }: (typeof webhooks)[number]) => clientConfig.service !== undefined
  if (webhooks.every((webhook) => !isOurs(webhook) || webhook.clientConfig.caBundle === caBundle)) return false
  const next = webhooks.map((webhook) =>
    isOurs(webhook) ? { ...webhook, clientConfig: { ...webhook.clientConfig, caBundle } } : webhook,
  )
  try {
    await api.request('PUT', path, { body: { ...found, webhooks: next } })
    return true
  } catch (thrown) {
    // Somebody was faster: what they wrote is looked at the next time.
    if (hasStatus(thrown, 409)) return false
    throw thrown
  }
}
