// Reads the PKCS #10 requests (RFC 2986) that agents send: all that counts in them is a public key and the proof that
// the sender has its private half. Names and attributes are not even looked at.

import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { children, content, DerError, encoded, expectTag, outermost, tags, wholeBits } from '../contract/der.ts'

/** A request that can't be signed; the message says why. */
export class RequestError extends Error {
  override name = 'RequestError'
}

/** Largest request read, in bytes: one with an RSA key of 4096 bits has about 1,200. */
export const maxRequestBytes = 4096

// Signature algorithms by the hex of their OID (RFC 5758, RFC 8017).
const algorithms: Record<string, 'ec' | 'rsa'> = {
  '2a8648ce3d040302': 'ec',
  '2a864886f70d01010b': 'rsa',
}

/**
 * Checks a request.
 * @param der the whole request, at most `maxRequestBytes`
 * @returns its public key: P-256, or RSA of 2048 to 4096 bits
 * @throws RequestError
 */
export function readRequest(der: Buffer): KeyObject {
  if (der.length > maxRequestBytes) throw new RequestError(`the request has more than ${maxRequestBytes} bytes`)
  try {
    const [info, algorithm, signature] = children(der, outermost(der, tags.sequence))
    // Read to a fixed depth, never by recursion: nesting can't exhaust the stack.
    const [, , spki] = children(der, expectTag(info, tags.sequence))
    const [name] = children(der, expectTag(algorithm, tags.sequence))
    const kind = algorithms[content(der, expectTag(name, tags.oid)).toString('hex')]
    if (kind === undefined) throw new RequestError('the signature is neither ECDSA nor RSA with SHA-256')
    const key = publicKey(encoded(der, expectTag(spki, tags.sequence)))
    if (key.asymmetricKeyType !== kind) throw new RequestError('the signature is not of the kind of the key')
    const bits = wholeBits(der, expectTag(signature, tags.bitString))
    if (!verify('sha256', encoded(der, info!), key, bits)) throw new RequestError('the signature does not fit the key')
    return key
  } catch (thrown) {
    if (thrown instanceof DerError) throw new RequestError(`the request is not DER: ${thrown.message}`)
    throw thrown
  }
}

function publicKey(spki: Buffer): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
  } catch (thrown) {
    throw new RequestError(`the public key can't be read: ${(thrown as Error).message}`)
  }
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  const isFit =
    (key.asymmetricKeyType === 'ec' && namedCurve === 'prime256v1') ||
    (key.asymmetricKeyType === 'rsa' && modulusLength >= 2048 && modulusLength <= 4096)
  if (!isFit) throw new RequestError('the public key is neither P-256 nor RSA of 2048 to 4096 bits')
  return key
}
