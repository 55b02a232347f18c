// Requests for certificates: ours, OpenSSL's, and what nobody should sign.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { makeKey } from '../../../agent/identity/key.ts'
import { makeRequest } from '../../../agent/identity/request.ts'
import { maxRequestBytes, RequestError, readRequest } from '../../../controller/authority/csr.ts'
import { openssl, withFolder } from '../../support/certificates.ts'

function opensslRequest(newkey: string[], ...more: string[]): Buffer {
  return withFolder((folder) => {
    const fixed = ['req', '-new', '-nodes', '-keyout', 'key', '-out', 'csr', '-outform', 'DER']
    openssl(folder, ...fixed, ...newkey, ...more)
    return readFileSync(join(folder, 'csr'))
  })
}

describe('authority: requests', () => {
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']

  it('takes the key of an agent', () => {
    const keys = makeKey()
    expect(readRequest(makeRequest(keys)).equals(keys.publicKey)).to.equal(true)
  })

  it('of the agent verify with OpenSSL', () => {
    withFolder((folder) => {
      const text = `-----BEGIN CERTIFICATE REQUEST-----\n${makeRequest(makeKey()).toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
      const verdict = openssl(folder, 'req', '-verify', '-noout', '-text', '-in', fileOf(folder, text))
      expect(verdict).to.match(/Subject: ?\n/)
    })
  })

  it("takes OpenSSL's, whatever names they carry", () => {
    const names = ['-subj', '/CN=admin', '-addext', 'subjectAltName=URI:spiffe://cluster.local/ns/x/sa/admin']
    expect(readRequest(opensslRequest(ec, ...names)).asymmetricKeyType).to.equal('ec')
    expect(readRequest(opensslRequest(['-newkey', 'rsa:2048'], '-subj', '/')).asymmetricKeyType).to.equal('rsa')
  })

  it('refuses weak and other keys', () => {
    const refuse = (newkey: string[], message: RegExp) =>
      expect(() => readRequest(opensslRequest(newkey, '-subj', '/'))).to.throw(RequestError, message)
    refuse(['-newkey', 'rsa:1024'], /RSA of 2048/)
    refuse(['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-sha256'], /neither P-256 nor RSA/)
    refuse(['-newkey', 'ed25519'], /neither ECDSA nor RSA/)
    refuse([...ec, '-sha512'], /neither ECDSA nor RSA with SHA-256/)
  })

  it('refuses a request whose key was exchanged', () => {
    const request = makeRequest(makeKey())
    const spki = makeKey().publicKey.export({ type: 'spki', format: 'der' })
    const at = request.indexOf(spki.subarray(0, 26))
    const forged = Buffer.concat([request.subarray(0, at), spki, request.subarray(at + spki.length)])
    expect(() => readRequest(forged)).to.throw(RequestError, /does not fit the key/)
  })

  it('refuses what is too long, before it looks at it', () => {
    expect(() => readRequest(Buffer.alloc(maxRequestBytes + 1, 0x30))).to.throw(RequestError, /more than/)
  })

  it('refuses deep nesting without recursion', () => {
    const deep = Buffer.alloc(maxRequestBytes)
    for (let at = 0; at + 4 <= deep.length; at += 4) {
      deep.writeUInt8(0x30, at)
      deep.writeUInt8(0x82, at + 1)
      deep.writeUInt16BE(deep.length - at - 4, at + 2)
    }
    expect(() => readRequest(deep)).to.throw(RequestError)
  })

  it('refuses every truncation and survives every flipped byte', () => {
    const good = makeRequest(makeKey())
    for (let at = 0; at < good.length; at++) {
      expect(() => readRequest(good.subarray(0, at))).to.throw(RequestError)
      const bad = Buffer.from(good)
      bad[at] = bad[at]! ^ 0x55
      expect(() => readRequest(bad)).to.throw(RequestError)
    }
  })
})

function fileOf(folder: string, text: string): string {
  const path = join(folder, 'request.pem')
  writeFileSync(path, text)
  return path
}
