// Makes certificates: node-forge's ASN.1 writes them down, node:crypto signs. The same few fields for every identity,
// taken from what the authority knows, never from a request.

import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto'
import forge from 'node-forge'
import { issuerParts } from '../contract/certificate.ts'
import { children, outermost, tags, wholeBits } from '../contract/der.ts'

type Asn1 = forge.asn1.Asn1
const { asn1 } = forge
const { Class, Type } = asn1

/** Accepted by clocks that are this much behind ours. */
const backdateMs = 60_000

/** What signs: the certificate of a root or of an intermediate, and its private key. */
export interface Issuer {
  readonly certificate: X509Certificate
  readonly key: KeyObject
}

/** A certificate just made. */
export interface Issued {
  pem: string
  /** Milliseconds since the epoch. */
  expires: number
}

const binary = (bytes: Buffer): string => bytes.toString('latin1')
const make = (type: number, value: string): Asn1 => asn1.create(Class.UNIVERSAL, type as forge.asn1.Type, false, value)
const sequence = (...items: Asn1[]): Asn1 => asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, items)
const set = (...items: Asn1[]): Asn1 => asn1.create(Class.UNIVERSAL, Type.SET, true, items)
const oid = (dotted: string): Asn1 => make(Type.OID, asn1.oidToDer(dotted).getBytes())
const tagged = (number: number, constructed: boolean, value: string | Asn1[]): Asn1 =>
  asn1.create(Class.CONTEXT_SPECIFIC, number as forge.asn1.Type, constructed, value)
const encode = (item: Asn1): Buffer => Buffer.from(asn1.toDer(item).getBytes(), 'latin1')
/** DER that we or OpenSSL wrote, or that `der.ts` has read strictly; never bytes straight from a peer. */
const embed = (der: Buffer): Asn1 => asn1.fromDer(binary(der))

function time(ms: number): Asn1 {
  const date = new Date(ms)
  // RFC 5280 section 4.1.2.5: UTCTime through 2049.
  return date.getUTCFullYear() < 2050
    ? make(Type.UTCTIME, asn1.dateToUtcTime(date))
    : make(Type.GENERALIZEDTIME, asn1.dateToGeneralizedTime(date))
}

function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  const flag = critical ? [make(Type.BOOLEAN, '\xff')] : []
  return sequence(oid(id), ...flag, make(Type.OCTETSTRING, binary(encode(value))))
}

/** RFC 7093 section 2, method 1: 160 bits of the SHA-256 of the key's bits. */
function keyId(spki: Buffer): Buffer {
  const [, bits] = children(spki, outermost(spki, tags.sequence))
  return createHash('sha256').update(wholeBits(spki, bits!)).digest().subarray(0, 20)
}

/** The signature algorithm that goes with a key, and its digest. */
function algorithm(key: KeyObject): { id: Asn1; digest: string } {
  if (key.asymmetricKeyType === 'rsa')
    return { id: sequence(oid('1.2.840.113549.1.1.11'), make(Type.NULL, '')), digest: 'sha256' }
  return key.asymmetricKeyDetails?.namedCurve === 'secp384r1'
    ? { id: sequence(oid('1.2.840.10045.4.3.3')), digest: 'sha384' }
    : { id: sequence(oid('1.2.840.10045.4.3.2')), digest: 'sha256' }
}

interface Fields {
  issuer: Asn1
  subject: Asn1
  spki: Buffer
  from: number
  to: number
  extensions: Asn1[]
  key: KeyObject
}

function certificate(fields: Fields): string {
  const serial = randomBytes(16)
  // Positive, and never with a leading zero that DER would forbid.
  serial[0] = (serial[0]! & 0x3f) | 0x40
  const { id, digest } = algorithm(fields.key)
  const tbs = sequence(
    tagged(0, true, [make(Type.INTEGER, '\x02')]),
    make(Type.INTEGER, binary(serial)),
    id,
    fields.issuer,
    sequence(time(fields.from), time(fields.to)),
    fields.subject,
    embed(fields.spki),
    tagged(3, true, [sequence(...fields.extensions)]),
  )
  const signature = sign(digest, encode(tbs), fields.key)
  const der = encode(sequence(tbs, id, make(Type.BITSTRING, `\0${binary(signature)}`)))
  return new X509Certificate(der).toString()
}

const publicDer = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' })

/** What a certificate is to say beside its names. */
interface Leaf {
  publicKey: KeyObject
  /** Milliseconds since the epoch; the certificate is valid from a minute before. */
  now: number
  lifetimeMs: number
}

const serverAuth = '1.3.6.1.5.5.7.3.1'
const clientAuth = '1.3.6.1.5.5.7.3.2'

/**
 * Signs a certificate for an identity: one URI name, CA:false, digitalSignature, serverAuth and clientAuth.
 * @returns it never outlives its issuer, however long `lifetimeMs` is
 */
export function issueCertificate(issuer: Issuer, wanted: Leaf & { identity: string }): Issued {
  return issueLeaf(issuer, wanted, [tagged(6, false, wanted.identity)], [serverAuth, clientAuth])
}

/**
 * Signs a certificate for a server that is known by DNS names: it is nobody's identity, and nothing in the mesh takes it
 * for one.
 * @returns as `issueCertificate`
 */
export function issueServerCertificate(issuer: Issuer, wanted: Leaf & { names: readonly string[] }): Issued {
  const names = wanted.names.map((name) => tagged(2, false, name))
  return issueLeaf(issuer, wanted, names, [serverAuth])
}

function issueLeaf(issuer: Issuer, wanted: Leaf, names: Asn1[], usages: string[]): Issued {
  const { subject, keyId: issuerKeyId } = issuerParts(issuer.certificate.raw)
  const spki = publicDer(wanted.publicKey)
  const to = Math.min(wanted.now + wanted.lifetimeMs, issuer.certificate.validToDate.getTime())
  const authorityKey =
    issuerKeyId === null ? [] : [extension('2.5.29.35', false, sequence(tagged(0, false, binary(issuerKeyId))))]
  const pem = certificate({
    issuer: embed(subject),
    subject: sequence(),
    spki,
    from: wanted.now - backdateMs,
    to,
    key: issuer.key,
    extensions: [
      extension('2.5.29.19', true, sequence()),
      // digitalSignature: one bit of a byte, seven unused.
      extension('2.5.29.15', true, make(Type.BITSTRING, '\x07\x80')),
      extension('2.5.29.37', false, sequence(...usages.map(oid))),
      // Critical because the subject is empty (RFC 5280 section 4.2.1.6).
      extension('2.5.29.17', true, sequence(...names)),
      extension('2.5.29.14', false, make(Type.OCTETSTRING, binary(keyId(spki)))),
      ...authorityKey,
    ],
  })
  return { pem, expires: Math.floor(to / 1000) * 1000 }
}

/**
 * Makes a self-signed P-256 root, which may sign certificates but no further authorities.
 * @returns both as PEM; the key as PKCS #8
 */
export function makeRoot(now: number, lifetimeMs: number): { certificate: string; key: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicDer(publicKey)
  const id = keyId(spki)
  const attribute = (type: string, value: string) => set(sequence(oid(type), make(Type.UTF8, value)))
  // The name carries the key's number, so that two roots that are trusted at once are never mistaken for each other.
  const name = sequence(attribute('2.5.4.10', 'weft'), attribute('2.5.4.3', `weft root ${id.toString('hex', 0, 4)}`))
  const pem = certificate({
    issuer: name,
    subject: name,
    spki,
    from: now - backdateMs,
    to: now + lifetimeMs,
    key: privateKey,
    extensions: [
      extension('2.5.29.19', true, sequence(make(Type.BOOLEAN, '\xff'), make(Type.INTEGER, '\0'))),
      // keyCertSign and cRLSign.
      extension('2.5.29.15', true, make(Type.BITSTRING, '\x01\x06')),
      extension('2.5.29.14', false, make(Type.OCTETSTRING, binary(id))),
      extension('2.5.29.35', false, sequence(tagged(0, false, binary(id)))),
    ],
  })
  return { certificate: pem, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) }
}
