// Whom the agent trusts: the bundle and the controller's identity from the ConfigMap that it mounts, and the check of a
// peer that both sides make after every handshake.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { CertificateError, certificateIdentity } from '../../controller/contract/certificate.ts'
import { type Identity, parseIdentity, trustConfig } from '../../controller/contract/identity.ts'
import { bundleHash, splitPem } from '../../controller/contract/pem.ts'
import type { Clock, Timer } from '../clock.ts'

export interface Trust {
  /** PEM of every trusted root. */
  readonly bundle: string
  /** What reports name the bundle by. */
  readonly hash: string
  /** SPIFFE ID of the controller. */
  readonly controller: string
  readonly trustDomain: string
  /** Which root signs now; empty while that is not known. */
  readonly signer: string
}

/**
 * Puts a Trust together.
 * @throws Error if the bundle is empty or the controller's name isn't a SPIFFE ID
 */
export function makeTrust(bundle: string, controller: string, signer: string): Trust {
  const identity = parseIdentity(controller.trim())
  if (identity === null) throw new Error(`the controller's identity is no SPIFFE ID of a mesh: ${controller.trim()}`)
  if (splitPem(bundle).length === 0) throw new Error('the trust bundle holds no certificate')
  return {
    bundle,
    hash: bundleHash(bundle),
    controller: controller.trim(),
    trustDomain: identity.trustDomain,
    signer: signer.trim(),
  }
}

/**
 * Reads the mounted ConfigMap.
 * @throws Error that names the file
 */
export function readTrust(folder: string): Trust {
  const read = (name: string) => readFileSync(join(folder, name), 'utf8')
  try {
    return makeTrust(read(trustConfig.bundle), read(trustConfig.controller), read(trustConfig.signer))
  } catch (thrown) {
    throw new Error(`the trust bundle in ${folder} can't be used: ${(thrown as Error).message}`, { cause: thrown })
  }
}

const pollMs = 5_000

/**
 * Follows the mounted ConfigMap, which kubelets replace as a whole.
 * @param last what was read at the start
 * @param change called with what is new; never with what can't be used, since the old will do until it can
 * @returns ends it
 */
export function watchTrust(folder: string, clock: Clock, last: Trust, change: (trust: Trust) => void): () => void {
  let timer: Timer
  let known = last
  const poll = () => {
    try {
      const read = readTrust(folder)
      if (read.hash !== known.hash || read.signer !== known.signer || read.controller !== known.controller) {
        known = read
        change(read)
      }
    } catch {
      // Half-way through a replacement; the next look sees the whole.
    }
    arm()
  }
  const arm = () => {
    timer = clock.setTimeout(poll, pollMs)
    timer.unref()
  }
  arm()
  return () => clock.clearTimeout(timer)
}

/**
 * The identity of the other side of a connection whose handshake is complete.
 * @throws CertificateError if it has none that counts, or the handshake was a resumed one, which proves nothing
 */
export function peerIdentity(socket: TLSSocket, trustDomain: string): Identity {
  if (socket.isSessionReused()) throw new CertificateError('the session was resumed')
  if (!socket.authorized) throw new CertificateError(`its chain is not trusted: ${socket.authorizationError}`)
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) throw new CertificateError('the peer has shown none')
  return certificateIdentity(certificate.raw, trustDomain)
}
