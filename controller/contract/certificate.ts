// What a certificate of the mesh looks like, and the check that both sides of every connection make after the handshake.
// OpenSSL has then verified chain and dates; this adds what it leaves open: version, usages, key, and exactly one name.

import {
  children,
  content,
  DerError,
  type Element,
  element,
  encoded,
  expectTag,
  outermost,
  tags,
  wholeBits,
} from './der.ts'
import { type Identity, parseIdentity } from './identity.ts'

/** A certificate that is not one of the mesh; the message says which rule it breaks. */
export class CertificateError extends Error {
  override name = 'CertificateError'
}

// Content of the OBJECT IDENTIFIERs, in hex (RFC 5280 section 4.2, RFC 5480, RFC 8017).
const oids = {
  subjectKeyId: '551d0e',
  keyUsage: '551d0f',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
  extendedKeyUsage: '551d25',
  serverAuth: '2b06010505070301',
  clientAuth: '2b06010505070302',
  ecPublicKey: '2a8648ce3d0201',
  prime256v1: '2a8648ce3d030107',
  rsaEncryption: '2a864886f70d010101',
} as const

const uriName = 0x86
const minRsaBits = 2048

/** The parts of a certificate that its issuer or its peer looks at. */
interface Parts {
  version: number
  subject: Buffer
  spki: Element
  /** Content of each extension's OCTET STRING by the hex of its OID. */
  extensions: Map<string, Buffer>
}

function parts(der: Buffer): Parts {
  const [tbs] = children(der, outermost(der, tags.sequence))
  const fields = children(der, expectTag(tbs, tags.sequence))
  // The version is absent in version 1 certificates: then the serial number comes first.
  const hasVersion = fields[0]?.tag === 0xa0
  const version = hasVersion ? (der[expectTag(children(der, fields[0]!)[0], tags.integer).start] ?? 0) + 1 : 1
  const base = hasVersion ? 1 : 0
  const subject = expectTag(fields[base + 4], tags.sequence)
  const spki = expectTag(fields[base + 5], tags.sequence)
  const extensions = new Map<string, Buffer>()
  const wrapped = fields.slice(base + 6).find((field) => field.tag === 0xa3)
  if (wrapped !== undefined) {
    for (const extension of children(der, expectTag(children(der, wrapped)[0], tags.sequence))) {
      const inner = children(der, expectTag(extension, tags.sequence))
      const oid = content(der, expectTag(inner[0], tags.oid)).toString('hex')
      if (extensions.has(oid)) throw new DerError('an extension twice')
      extensions.set(oid, content(der, expectTag(inner.at(-1), tags.octetString)))
    }
  }
  return { version, subject: encoded(der, subject), spki, extensions }
}

function refuse(message: string): never {
  throw new CertificateError(message)
}

function isAuthority(value: Buffer): boolean {
  const [first] = children(value, outermost(value, tags.sequence))
  return first !== undefined && first.tag === tags.boolean && value[first.start] !== 0
}

function checkUsages(extensions: Map<string, Buffer>): void {
  const usage = extensions.get(oids.keyUsage)
  if (usage === undefined) refuse('it has no key usage')
  const bits = expectTag(element(usage, 0, usage.length), tags.bitString)
  const first = usage[bits.start + 1] ?? 0
  // Named bits count from the top: digitalSignature 0, keyCertSign 5, cRLSign 6 (RFC 5280 section 4.2.1.3).
  if ((first & 0x80) === 0) refuse('its key usage lacks digitalSignature')
  if ((first & 0x06) !== 0) refuse('its key usage allows to sign certificates')
  const extended = extensions.get(oids.extendedKeyUsage)
  if (extended === undefined) refuse('it has no extended key usage')
  const purposes = children(extended, outermost(extended, tags.sequence)).map((purpose) =>
    content(extended, purpose).toString('hex'),
  )
  if (!purposes.includes(oids.serverAuth) || !purposes.includes(oids.clientAuth))
    refuse('its extended key usage is not serverAuth and clientAuth')
}

function checkKey(der: Buffer, spki: Element): void {
  const [algorithm, bits] = children(der, spki)
  const [kind, curve] = children(der, expectTag(algorithm, tags.sequence))
  const key = wholeBits(der, expectTag(bits, tags.bitString))
  const oid = content(der, expectTag(kind, tags.oid)).toString('hex')
  if (oid === oids.ecPublicKey) {
    if (curve === undefined || content(der, curve).toString('hex') !== oids.prime256v1) refuse('its curve is not P-256')
    return
  }
  if (oid !== oids.rsaEncryption) refuse('its key is neither P-256 nor RSA')
  const modulus = content(key, expectTag(children(key, outermost(key, tags.sequence))[0], tags.integer))
  const leading = modulus[0] === 0 ? 1 : 0
  const bitLength = (modulus.length - leading) * 8 - Math.clz32(modulus[leading] ?? 0) + 24
  if (bitLength < minRsaBits) refuse(`its RSA key has ${bitLength} bits`)
}

/** The one URI among the alternative names; no other name may stand beside it. */
function onlyUri(extensions: Map<string, Buffer>): string {
  const names = extensions.get(oids.subjectAltName)
  // Never the common name instead: it was never meant as an identity.
  if (names === undefined) refuse('it has no subject alternative name')
  const all = children(names, outermost(names, tags.sequence))
  if (all.length !== 1 || all[0]!.tag !== uriName) refuse(`it has ${all.length} names, not exactly one URI`)
  return content(names, all[0]!).toString('latin1')
}

/**
 * The identity that a certificate proves, if it is one of the mesh: version 3, CA:false, digitalSignature without
 * certificate signing, serverAuth and clientAuth, P-256 or RSA of 2048 bits at least, and exactly one name, a URI that is
 * a SPIFFE ID of the trust domain. Its chain and dates must have been verified before.
 * @throws CertificateError
 */
export function certificateIdentity(der: Buffer, trustDomain: string): Identity {
  try {
    const { version, spki, extensions } = parts(der)
    if (version !== 3) refuse(`it is of version ${version}`)
    const constraints = extensions.get(oids.basicConstraints)
    if (constraints === undefined || isAuthority(constraints)) refuse('it is not marked CA:false')
    checkUsages(extensions)
    checkKey(der, spki)
    const uri = onlyUri(extensions)
    const identity = parseIdentity(uri)
    if (identity === null) refuse(`its name is not a SPIFFE ID of a mesh: ${JSON.stringify(uri.slice(0, 300))}`)
    if (identity.trustDomain !== trustDomain) refuse(`its trust domain is ${identity.trustDomain}, not ${trustDomain}`)
    return identity
  } catch (thrown) {
    if (thrown instanceof DerError) throw new CertificateError(`it is not proper DER: ${thrown.message}`)
    throw thrown
  }
}

/** The subject of an issuer's certificate (DER of the Name) and its subject key identifier, null if it has none. */
export function issuerParts(der: Buffer): { subject: Buffer; keyId: Buffer | null } {
  const { subject, extensions } = parts(der)
  const value = extensions.get(oids.subjectKeyId)
  return { subject, keyId: value === undefined ? null : content(value, outermost(value, tags.octetString)) }
}
