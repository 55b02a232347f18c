// The request for a certificate (PKCS #10, RFC 2986): a public key and the proof that we have its private half. It names
// nobody, since the authority decides about names.

import { type KeyObject, sign } from 'node:crypto'
import forge from 'node-forge'

const { asn1 } = forge
const { Class, Type } = asn1

/** Makes a request for a P-256 key pair; DER. */
export function makeRequest(keys: { privateKey: KeyObject; publicKey: KeyObject }): Buffer {
  const sequence = (...items: forge.asn1.Asn1[]) => asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, items)
  const value = (type: forge.asn1.Type, bytes: string) => asn1.create(Class.UNIVERSAL, type, false, bytes)
  const encode = (item: forge.asn1.Asn1) => Buffer.from(asn1.toDer(item).getBytes(), 'latin1')

  const spki = keys.publicKey.export({ type: 'spki', format: 'der' })
  const info = sequence(
    value(Type.INTEGER, '\0'),
    sequence(),
    asn1.fromDer(spki.toString('latin1')),
    asn1.create(Class.CONTEXT_SPECIFIC, 0 as forge.asn1.Type, true, []),
  )
  const signature = sign('sha256', encode(info), keys.privateKey)
  const ecdsaWithSha256 = sequence(value(Type.OID, asn1.oidToDer('1.2.840.10045.4.3.2').getBytes()))
  return encode(sequence(info, ecdsaWithSha256, value(Type.BITSTRING, `\0${signature.toString('latin1')}`)))
}
