// The certificate of a server of ours: signed by ourselves, renewed in time, and replaced in the running server whenever
// the root that signs, or the bundle, changes.

import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { Server, TlsOptions } from 'node:tls'
import type { Clock } from '../clock.ts'
import type { Authority, Signed } from './authority.ts'

/** Certificates are renewed when half of their lifetime is over; looked at this often. */
const checkMs = 60_000

export interface ServingTls {
  /** When the certificate ends, in ms since the epoch. */
  readonly expires: number
  /** For https.createServer: the rules, certificate and bundle. */
  options(): TlsOptions
  /** Keeps a server's certificate and bundle up to date. */
  attach(server: Server): void
  /** Renews in time; ends with the signal. */
  run(signal: AbortSignal): Promise<void>
}

interface Current {
  options: TlsOptions
  signer: string
  renewAt: number
  expires: number
}

/**
 * Makes the certificate of a server, and goes on making it.
 * @param rules what the server is made with beside its certificate
 * @param sign signs a key that is made here
 */
export function servingTls(
  authority: Pick<Authority, 'signer' | 'trust' | 'onChange'>,
  clock: Clock,
  rules: TlsOptions,
  sign: (publicKey: KeyObject) => Signed,
): ServingTls {
  const servers = new Set<Server>()
  let current = make()

  function make(): Current {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { chain, expires } = sign(publicKey)
    const now = clock.wall()
    return {
      signer: authority.signer(),
      renewAt: now + (expires - now) / 2,
      expires,
      options: {
        ...rules,
        key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
        cert: chain.join(''),
        ca: authority.trust(),
      },
    }
  }

  function refresh(): void {
    const isDue = clock.wall() >= current.renewAt || authority.signer() !== current.signer
    current = isDue ? make() : { ...current, options: { ...current.options, ca: authority.trust() } }
    for (const server of servers) server.setSecureContext(current.options)
  }

  authority.onChange(refresh)
  return {
    get expires() {
      return current.expires
    },
    options: () => current.options,
    attach(server) {
      servers.add(server)
      server.on('close', () => servers.delete(server))
      server.setSecureContext(current.options)
    },
    async run(signal) {
      while (!signal.aborted) {
        await clock.sleep(checkMs, signal)
        if (!signal.aborted && clock.wall() >= current.renewAt) refresh()
      }
    },
  }
}
