// A root as the authority works with it: read from the PEM of a Secret and checked, whoever made it. The one that signs
// may be an intermediate whose root is kept elsewhere; then the chain goes out with each certificate.

import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { formatBundle, splitPem } from '../contract/pem.ts'

/** Content of a Secret of type kubernetes.io/tls, as cert-manager writes it too. */
export interface RootSecret {
  'tls.crt': string
  'tls.key': string
  /** The root that `tls.crt` chains to; absent where `tls.crt` itself holds it. */
  'ca.crt'?: string
}

export interface Root {
  /** SHA-256 of the certificate that signs, in hex. */
  readonly id: string
  /** The one that signs. */
  readonly certificate: X509Certificate
  readonly key: KeyObject
  /** PEM of the intermediates that go out after each certificate. */
  readonly chain: readonly string[]
  /** PEM of what agents must trust. */
  readonly anchors: readonly string[]
  /** When the first certificate of the chain ends, in ms since the epoch. */
  readonly expires: number
  readonly since: number
}

/** A root that can't be used; the message names the Secret's key and what to put there. */
export class RootError extends Error {
  override name = 'RootError'
  readonly code = 'WEFT_ROOT'
}

function certificates(pem: string, field: string): X509Certificate[] {
  const found = splitPem(pem)
  if (found.length === 0) throw new RootError(`${field} holds no PEM certificate`)
  return found.map((each, index) => {
    try {
      return new X509Certificate(each)
    } catch (thrown) {
      throw new RootError(`certificate ${index + 1} of ${field} can't be read: ${(thrown as Error).message}`)
    }
  })
}

function privateKey(pem: string): KeyObject {
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch (thrown) {
    throw new RootError(`tls.key can't be read: ${(thrown as Error).message}; put an unencrypted PEM key there`)
  }
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  const isFit =
    (key.asymmetricKeyType === 'ec' && (namedCurve === 'prime256v1' || namedCurve === 'secp384r1')) ||
    (key.asymmetricKeyType === 'rsa' && modulusLength >= 2048)
  if (!isFit) throw new RootError('tls.key must be P-256, P-384, or RSA of 2048 bits at least')
  return key
}

const isSelfSigned = (certificate: X509Certificate): boolean =>
  certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey)

function checkChain(chain: X509Certificate[], anchors: X509Certificate[], now: number | null): void {
  for (const [index, certificate] of [...chain, ...anchors].entries()) {
    const where = index < chain.length ? `certificate ${index + 1} of tls.crt` : 'a certificate of ca.crt'
    if (!certificate.ca) throw new RootError(`${where} may not sign others: it is not marked CA:true`)
    if (now !== null && certificate.validToDate.getTime() <= now)
      throw new RootError(`${where} has expired on ${certificate.validTo}`)
  }
  for (const [index, certificate] of chain.entries()) {
    const issuers = index + 1 < chain.length ? [chain[index + 1]!] : anchors
    // The same certificate may stand in both fields: it is its own anchor.
    const isVouched = issuers.some(
      (issuer) =>
        issuer.fingerprint256 === certificate.fingerprint256 ||
        (certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)),
    )
    if (!isVouched) {
      const field = index + 1 < chain.length ? `certificate ${index + 2} of tls.crt` : 'a certificate of ca.crt'
      throw new RootError(
        `certificate ${index + 1} of tls.crt was not issued by ${field}; put the whole chain in order`,
      )
    }
  }
}

/**
 * Reads and checks a root.
 * @param now milliseconds since the epoch, for the check of its dates; null: an expired one will do
 * @throws RootError
 */
export function readRoot(secret: RootSecret, now: number | null = null): Root {
  const given = certificates(secret['tls.crt'], 'tls.crt')
  const key = privateKey(secret['tls.key'])
  const signing = given[0]!
  if (!signing.checkPrivateKey(key)) throw new RootError('tls.key is not the key of the first certificate of tls.crt')
  const last = given.at(-1)!
  if (secret['ca.crt'] === undefined && !isSelfSigned(last))
    throw new RootError('tls.crt ends before its root, and there is no ca.crt; add the root as ca.crt')
  const anchors = secret['ca.crt'] === undefined ? [last] : certificates(secret['ca.crt'], 'ca.crt')
  checkChain(given, anchors, now)
  const trusted = new Set(anchors.map((each) => each.fingerprint256))
  return {
    id: createHash('sha256').update(signing.raw).digest('hex'),
    certificate: signing,
    key,
    chain: given.filter((each) => !trusted.has(each.fingerprint256) && !isSelfSigned(each)).map(String),
    anchors: anchors.map(String),
    expires: Math.min(...[...given, ...anchors].map((each) => each.validToDate.getTime())),
    since: signing.validFromDate.getTime(),
  }
}

/** The trust bundle: the anchors of all roots given, in their order, each once. */
export function bundleOf(roots: readonly Root[]): string {
  return formatBundle(roots.flatMap((root) => root.anchors))
}
