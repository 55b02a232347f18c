// Keys of identities: made here, kept in memory alone, and turned into what TLS works with, once per account and renewal.

import { constants, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'

/** A new P-256 key pair. */
export function makeKey(): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')
const head = Buffer.from('-----BEGIN PRIVATE KEY-----\n')
const tail = Buffer.from('\n-----END PRIVATE KEY-----\n')
const pad = 0x3d

/**
 * The PKCS #8 PEM of a private key, in a buffer and never in a string: a string can't be wiped, the buffer is to be
 * zeroed by whoever asked for it.
 */
export function keyPem(key: KeyObject): Buffer {
  const der: Buffer = key.export({ type: 'pkcs8', format: 'der' })
  const groups = Math.ceil(der.length / 3)
  const pem = Buffer.alloc(head.length + groups * 4 + Math.floor((groups * 4 - 1) / 64) + tail.length)
  let at = head.copy(pem)
  for (let group = 0; group < groups; group++) {
    if (group > 0 && group % 16 === 0) pem[at++] = 0x0a
    const from = group * 3
    const bits = (der[from]! << 16) | ((der[from + 1] ?? 0) << 8) | (der[from + 2] ?? 0)
    pem[at++] = alphabet[bits >>> 18]!
    pem[at++] = alphabet[(bits >>> 12) & 63]!
    pem[at++] = from + 1 < der.length ? alphabet[(bits >>> 6) & 63]! : pad
    pem[at++] = from + 2 < der.length ? alphabet[bits & 63]! : pad
  }
  tail.copy(pem, at)
  der.fill(0)
  return pem
}

/** Whether this OpenSSL knows a list of groups. */
function knowsGroups(ecdhCurve: string): boolean {
  try {
    createSecureContext({ ecdhCurve })
    return true
  } catch {
    return false
  }
}

// The hybrid group where there is one: what is recorded today stays secret when quantum computers come.
const hybrid = 'X25519MLKEM768:X25519'
const groups = knowsGroups(hybrid) ? hybrid : 'X25519'

/** What every TLS connection of the agent is made with: version 1.3 alone, no resumption, AES-GCM. */
export const tlsRules = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384',
  ecdhCurve: groups,
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const

/**
 * A TLS context for both roles of an identity. It costs half a millisecond and 32 KiB: once per account and renewal.
 * @param chain PEM of the certificate and its intermediates
 * @param bundle PEM of the roots that peers must chain to
 */
export function identityContext(key: KeyObject, chain: string, bundle: string): SecureContext {
  const pem = keyPem(key)
  try {
    return createSecureContext({ ...tlsRules, key: pem, cert: chain, ca: bundle })
  } finally {
    pem.fill(0)
  }
}
