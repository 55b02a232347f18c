// TLS of the agents' link: the controller's own certificate, and the check of the certificates that agents show once they
// have one. The first one they get by their token alone.

import { constants } from 'node:crypto'
import type { TLSSocket, TlsOptions } from 'node:tls'
import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import { CertificateError, certificateIdentity } from '../contract/certificate.ts'
import { agentAccount } from '../contract/identity.ts'
import { messageOf } from '../errors.ts'
import type { Authority } from './authority.ts'
import { type ServingTls, servingTls } from './serving.ts'

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

/** Its `attach` also closes connections with a certificate that isn't an agent's. */
export type LinkTls = ServingTls

/**
 * The TLS side of the agents' link.
 * @param facts.namespace the mesh's own
 */
export function linkTls(
  authority: Authority,
  facts: { namespace: string; trustDomain: string; clock: Clock; log: Pick<Logger, 'warn' | 'info'> },
): LinkTls {
  const { clock, log } = facts
  const serving = servingTls(authority, clock, linkRules, authority.signOwn)

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

  return {
    get expires() {
      return serving.expires
    },
    options: serving.options,
    attach(server) {
      // Before the HTTP server's own listener, which would begin to read.
      server.prependListener('secureConnection', check)
      serving.attach(server)
    },
    run: serving.run,
  }
}
