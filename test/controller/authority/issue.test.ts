// What the authority signs, looked at by OpenSSL's command line, by node:crypto, and by our own check.

import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { issueCertificate, issueServerCertificate, makeRoot } from '../../../controller/authority/issue.ts'
import { CertificateError, certificateIdentity } from '../../../controller/contract/certificate.ts'
import {
  goodExtensions,
  openssl,
  opensslLeaf,
  type Pair,
  testLeaf,
  testRoot,
  withFolder,
} from '../../support/certificates.ts'

const reviews = 'spiffe://cluster.local/ns/shop/sa/reviews'
const der = (pair: Pair): Buffer => new X509Certificate(pair.pem).raw

describe('authority: certificates', () => {
  const root = testRoot()

  it('verify with OpenSSL against the root, strictly, for both purposes', () => {
    const leaf = testLeaf(root, reviews)
    withFolder((folder) => {
      writeFileSync(join(folder, 'ca.crt'), root.pem)
      writeFileSync(join(folder, 'leaf.crt'), leaf.pem)
      for (const purpose of ['sslserver', 'sslclient']) {
        const verdict = openssl(folder, 'verify', '-x509_strict', '-purpose', purpose, '-CAfile', 'ca.crt', 'leaf.crt')
        expect(verdict).to.equal('leaf.crt: OK\n')
      }
      const text = openssl(folder, 'x509', '-in', 'leaf.crt', '-noout', '-text')
      expect(text).to.include('Version: 3 (0x2)')
      expect(text).to.include('Signature Algorithm: ecdsa-with-SHA256')
      expect(text).to.match(/Subject: ?\n/)
      expect(text).to.match(/X509v3 Basic Constraints: critical\n +CA:FALSE/)
      expect(text).to.match(/X509v3 Key Usage: critical\n +Digital Signature\n/)
      expect(text).to.match(
        /X509v3 Extended Key Usage: \n +TLS Web Server Authentication, TLS Web Client Authentication\n/,
      )
      expect(text).to.match(new RegExp(`X509v3 Subject Alternative Name: critical\\n +URI:${reviews}\\n`))
      const root509 = openssl(folder, 'x509', '-in', 'ca.crt', '-noout', '-text')
      const keyId = /Subject Key Identifier: \n +([0-9A-F:]+)/.exec(root509)?.[1]
      expect(text).to.include(`X509v3 Authority Key Identifier: \n                ${keyId}`)
      expect(root509).to.match(/X509v3 Basic Constraints: critical\n +CA:TRUE, pathlen:0/)
      expect(root509).to.match(/X509v3 Key Usage: critical\n +Certificate Sign, CRL Sign\n/)
    })
  })

  it('of servers verify for their names with OpenSSL, and are nobody’s identity', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const names = ['weft-controller.weft-system.svc', 'weft-controller.weft-system.svc.cluster.local']
    const { pem } = issueServerCertificate(root, { names, publicKey, now: Date.now(), lifetimeMs: 3_600_000 })
    withFolder((folder) => {
      writeFileSync(join(folder, 'ca.crt'), root.pem)
      writeFileSync(join(folder, 'leaf.crt'), pem)
      const verify = ['verify', '-x509_strict', '-CAfile', 'ca.crt', '-purpose', 'sslserver', '-verify_hostname']
      for (const name of names) expect(openssl(folder, ...verify, name, 'leaf.crt')).to.equal('leaf.crt: OK\n')
      const text = openssl(folder, 'x509', '-in', 'leaf.crt', '-noout', '-text')
      expect(text).to.match(/X509v3 Extended Key Usage: \n +TLS Web Server Authentication\n/)
    })
    expect(() => certificateIdentity(new X509Certificate(pem).raw, 'cluster.local')).to.throw(CertificateError)
  })

  it('are valid from a minute before, with serials of 16 bytes, none twice', () => {
    const now = Date.parse('2026-06-01T12:00:00Z')
    const serials = new Set<string>()
    for (let count = 0; count < 50; count++) {
      const leaf = new X509Certificate(testLeaf(testRoot(now), reviews, now, 86_400_000 / 2).pem)
      expect(leaf.validFromDate.toISOString()).to.equal('2026-06-01T11:59:00.000Z')
      expect(leaf.validToDate.toISOString()).to.equal('2026-06-02T00:00:00.000Z')
      expect(leaf.serialNumber).to.have.length(32)
      serials.add(leaf.serialNumber)
    }
    expect(serials.size).to.equal(50)
  })

  it('never outlive the root', () => {
    const now = Date.now()
    const leaf = new X509Certificate(testLeaf(testRoot(now, 60_000), reviews, now, 86_400_000).pem)
    expect(leaf.validToDate.getTime()).to.be.at.most(now + 60_000)
  })

  it('carry dates beyond 2049 as OpenSSL reads them', () => {
    const now = Date.parse('2045-01-01T00:00:00Z')
    const { certificate } = makeRoot(now, 10 * 365 * 86_400_000)
    expect(new X509Certificate(certificate).validToDate.toISOString()).to.equal('2054-12-30T00:00:00.000Z')
  })

  it('are signed by RSA and P-384 roots too', () => {
    for (const [kind, options, algorithm] of [
      ['rsa', { modulusLength: 2048 }, 'sha256WithRSAEncryption'],
      ['ec', { namedCurve: 'P-384' }, 'ecdsa-with-SHA384'],
    ] as const) {
      withFolder((folder) => {
        const { privateKey, publicKey } =
          kind === 'rsa' ? generateKeyPairSync('rsa', options) : generateKeyPairSync('ec', options)
        writeFileSync(join(folder, 'ca.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
        openssl(folder, 'req', '-x509', '-new', '-key', 'ca.key', '-subj', '/CN=ours', '-days', '3', '-out', 'ca.crt')
        const certificate = new X509Certificate(openssl(folder, 'x509', '-in', 'ca.crt'))
        expect(certificate.publicKey.equals(publicKey)).to.equal(true)
        const subject = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey
        const wanted = { identity: reviews, publicKey: subject, now: Date.now(), lifetimeMs: 3_600_000 }
        const { pem } = issueCertificate({ certificate, key: privateKey }, wanted)
        writeFileSync(join(folder, 'leaf.crt'), pem)
        expect(openssl(folder, 'verify', '-CAfile', 'ca.crt', 'leaf.crt')).to.equal('leaf.crt: OK\n')
        expect(openssl(folder, 'x509', '-in', 'leaf.crt', '-noout', '-text')).to.include(algorithm)
      })
    }
  })

  it('have the hash of their key as subject key identifier', () => {
    const leaf = testLeaf(root, reviews)
    const spki = new X509Certificate(leaf.pem).publicKey.export({ type: 'spki', format: 'der' })
    const id = createHash('sha256').update(spki.subarray(26)).digest().subarray(0, 20)
    expect(der(leaf).includes(id)).to.equal(true)
  })
})

describe('certificate check', () => {
  const root = testRoot()
  const refused = (pair: Pair, message: RegExp, trustDomain = 'cluster.local') =>
    expect(() => certificateIdentity(der(pair), trustDomain)).to.throw(CertificateError, message)
  const changed = (change: Record<string, string>, remove: string[] = []) =>
    opensslLeaf(
      root,
      Object.fromEntries(Object.entries({ ...goodExtensions, ...change }).filter(([name]) => !remove.includes(name))),
    )

  it('accepts what the authority signs, and what OpenSSL signs alike', () => {
    expect(certificateIdentity(der(testLeaf(root, reviews)), 'cluster.local')).to.deep.equal({
      trustDomain: 'cluster.local',
      namespace: 'shop',
      name: 'reviews',
      account: 'shop/reviews',
    })
    expect(certificateIdentity(der(changed({})), 'cluster.local').account).to.equal('shop/reviews')
  })

  it('accepts RSA of 2048 bits, refuses 1024', () => {
    expect(
      certificateIdentity(der(opensslLeaf(root, goodExtensions, ['-newkey', 'rsa:2048'])), 'cluster.local').name,
    ).to.equal('reviews')
    refused(opensslLeaf(root, goodExtensions, ['-newkey', 'rsa:1024']), /RSA key has 1024 bits/)
  })

  it('refuses other curves and kinds of keys', () => {
    refused(
      opensslLeaf(root, goodExtensions, ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384']),
      /curve is not P-256/,
    )
    refused(opensslLeaf(root, goodExtensions, ['-newkey', 'ed25519']), /neither P-256 nor RSA/)
  })

  it('refuses version 1', () => refused(opensslLeaf(root, null), /version 1/))
  it('refuses CA:true', () => refused(changed({ basicConstraints: 'critical,CA:TRUE' }), /CA:false/))
  it('refuses one without basic constraints', () => refused(changed({}, ['basicConstraints']), /CA:false/))
  it('refuses one without key usage', () => refused(changed({}, ['keyUsage']), /no key usage/))
  it('refuses one that may not sign handshakes', () =>
    refused(changed({ keyUsage: 'critical,keyAgreement' }), /lacks digitalSignature/))
  it('refuses one that may sign certificates', () =>
    refused(changed({ keyUsage: 'critical,digitalSignature,keyCertSign' }), /sign certificates/))
  it('refuses one without extended key usage', () =>
    refused(changed({}, ['extendedKeyUsage']), /no extended key usage/))
  it('refuses one for servers only, or for anything', () => {
    refused(changed({ extendedKeyUsage: 'serverAuth' }), /serverAuth and clientAuth/)
    refused(changed({ extendedKeyUsage: 'anyExtendedKeyUsage' }), /serverAuth and clientAuth/)
  })
  it('refuses one without a name, even with a common name that is one', () => {
    const { subjectAltName, ...rest } = goodExtensions
    expect(subjectAltName).to.be.a('string')
    refused(
      opensslLeaf(root, rest, undefined, '/CN=spiffe:\\/\\/cluster.local\\/ns\\/shop\\/sa\\/reviews'),
      /no subject alternative name/,
    )
  })
  it('refuses two URIs', () => refused(changed({ subjectAltName: `URI:${reviews},URI:${reviews}2` }), /2 names/))
  it('refuses a DNS name beside the URI, or instead', () => {
    refused(changed({ subjectAltName: `URI:${reviews},DNS:reviews` }), /2 names/)
    refused(changed({ subjectAltName: 'DNS:reviews' }), /1 names/)
  })
  it('refuses a comma that reads like a second name', () =>
    refused(testLeaf(root, `${reviews}, URI:spiffe://cluster.local/ns/shop/sa/admin`), /not a SPIFFE ID/))
  it('refuses a NUL in the name', () => refused(testLeaf(root, `${reviews}\0.evil`), /not a SPIFFE ID/))
  it('refuses another trust domain', () => {
    refused(testLeaf(root, 'spiffe://other.example/ns/shop/sa/reviews'), /trust domain is other.example/)
    refused(testLeaf(root, reviews), /trust domain is cluster.local/, 'cluster.loca')
  })

  it('refuses identities that are almost ones', () => {
    for (const name of [
      'spiffe://cluster.local/ns/shop/sa/Reviews',
      'spiffe://cluster.local/ns/shop/sa/reviews/',
      'spiffe://cluster.local/ns/shop/sa/reviews?x',
      'spiffe://cluster.local/ns/shop/sa/reviews#x',
      'spiffe://cluster.local/ns/shop/sa/',
      'spiffe://cluster.local/ns//sa/reviews',
      'spiffe://cluster.local/ns/shop/sa/..',
      'spiffe://cluster.local/ns/shop/sa/%72eviews',
      'spiffe://cluster.local:443/ns/shop/sa/reviews',
      'spiffe://user@cluster.local/ns/shop/sa/reviews',
      'SPIFFE://cluster.local/ns/shop/sa/reviews',
      'https://cluster.local/ns/shop/sa/reviews',
      'spiffe://cluster.local/ns/shop/sa/reviews\n',
      'spiffe://cluster.local/sa/reviews/ns/shop',
      'spiffe://cluster.local/ns/sh.op/sa/reviews',
    ]) {
      refused(testLeaf(root, name), /not a SPIFFE ID/)
    }
  })

  it('survives every truncation and every flipped byte without another error', () => {
    const good = der(testLeaf(root, reviews))
    for (let at = 0; at < good.length; at++) {
      expect(() => certificateIdentity(good.subarray(0, at), 'cluster.local')).to.throw(CertificateError)
      const bad = Buffer.from(good)
      bad[at] = bad[at]! ^ 0xff
      try {
        certificateIdentity(bad, 'cluster.local')
      } catch (thrown) {
        expect(thrown).to.be.instanceOf(CertificateError)
      }
    }
  })
})
