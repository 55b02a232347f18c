// TLS of the agents' link: the controller's own certificate, signed by itself and renewed in time, and the check of the
// certificates that agents show once they have one. The first one they get by their token alone.

import { constants, generateKeyPairSync } from 'node:crypto'
import type { Server, TLSSocket, TlsOptions } from 'node:tls'
import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import { CertificateError, certificateIdentity } from '../contract/certificate.ts'
import { agentAccount } from '../contract/identity.ts'
import { messageOf } from '../errors.ts'
import type { Authority } from './authority.ts'

/** Own certificates are renewed when half of their lifetime is over; looked at this often. */
const checkMs = 60_000

/** What a server of the link is made with; without a certificate it answers every handshake with an alert. */
export const linkRules: TlsOptions = {
  minVersion: 'TLSv1.3',
  // A resumed session would bring no proof of its own.
  secureOptions: constants.SSL_OP_NO_TICKET,
  requestCert: true,
  // An agent without a certificate yet is let in; `check` turns away one whose certificate is bad.
  rejectUnauthorized: false,
  handshakeTimeout: 5_000,
}

export interface LinkTls {
  /** When the controller's own certificate ends, in ms since the epoch. */
  readonly expires: number
  /** For https.createServer: the rules, certificate and bundle. */
  options(): TlsOptions
  /** Keeps a server's certificate and bundle up to date, and closes connections with a certificate that isn't an agent's. */
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
 * The TLS side of the agents' link.
 * @param facts.namespace the mesh's own
 */
export function linkTls(
  authority: Authority,
  facts: { namespace: string; trustDomain: string; clock: Clock; log: Pick<Logger, 'warn' | 'info'> },
): LinkTls {
  const { clock, log } = facts
  const servers = new Set<Server>()
  let current = make()

  function make(): Current {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { chain, expires } = authority.signOwn(publicKey)
    const now = clock.wall()
    return {
      signer: authority.signer(),
      renewAt: now + (expires - now) / 2,
      expires,
      options: {
        ...linkRules,
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

  function check(socket: TLSSocket): void {
    const peer = socket.getPeerX509Certificate()
    if (peer === undefined && !socket.isSessionReused()) return
    try {
      if (peer === undefined || socket.isSessionReused()) throw new CertificateError('the session was resumed')
      if (!socket.authorized) throw new CertificateError(`its chain is not trusted: ${socket.authorizationError}`)
      const { account } = certificateIdentity(peer.raw, facts.trustDomain)
      if (account !== `${facts.namespace}/${agentAccount}`) throw new CertificateError(`it is of ${account}`)
    } catch (thrown) {
      log.warn({ error: messageOf(thrown), remoteAddress: socket.remoteAddress }, "not an agent's certificate")
      socket.destroy()
    }
  }

  authority.onChange(refresh)
  return {
    get expires() {
      return current.expires
    },
    options: () => current.options,
    attach(server) {
      servers.add(server)
      // Before the HTTP server's own listener, which would begin to read.
      server.prependListener('secureConnection', check)
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
