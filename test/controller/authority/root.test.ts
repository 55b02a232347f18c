// Roots that are given: taken with their chain, or refused with a message that names the field.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { makeKey } from '../../../agent/identity/key.ts'
import { issueCertificate } from '../../../controller/authority/issue.ts'
import { bundleOf, RootError, type RootSecret, readRoot } from '../../../controller/authority/root.ts'
import { openssl, testLeaf, testRoot, withFolder } from '../../support/certificates.ts'

/** A root of a company, and an intermediate for the mesh, as OpenSSL makes them. */
function company(): { root: string; intermediate: string; key: string } {
  return withFolder((folder) => {
    const file = (name: string) => readFileSync(join(folder, name), 'utf8')
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    openssl(
      folder,
      'req',
      '-x509',
      ...ec,
      '-keyout',
      'root.key',
      '-out',
      'root.crt',
      '-subj',
      '/CN=company',
      '-days',
      '9',
    )
    openssl(folder, 'req', '-new', ...ec, '-keyout', 'mesh.key', '-out', 'mesh.csr', '-subj', '/CN=mesh')
    writeFileSync(join(folder, 'ext'), 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n')
    const sign = ['x509', '-req', '-in', 'mesh.csr', '-CA', 'root.crt', '-CAkey', 'root.key', '-days', '5']
    openssl(folder, ...sign, '-extfile', 'ext', '-out', 'mesh.crt')
    return { root: file('root.crt'), intermediate: file('mesh.crt'), key: file('mesh.key') }
  })
}

describe('authority: roots', () => {
  const given = company()
  const now = Date.now()
  const refuse = (secret: RootSecret, message: RegExp, at = now) =>
    expect(() => readRoot(secret, at)).to.throw(RootError, message)

  it('sign by an intermediate whose root is kept elsewhere; the chain goes out, the root is trusted', () => {
    const root = readRoot({ 'tls.crt': given.intermediate, 'tls.key': given.key, 'ca.crt': given.root }, now)
    expect(root.chain).to.deep.equal([given.intermediate])
    expect(bundleOf([root])).to.equal(given.root)
    const identity = 'spiffe://cluster.local/ns/shop/sa/reviews'
    const { pem } = issueCertificate(root, { identity, publicKey: makeKey().publicKey, now, lifetimeMs: 3_600_000 })
    withFolder((folder) => {
      writeFileSync(join(folder, 'root.crt'), bundleOf([root]))
      writeFileSync(join(folder, 'chain.crt'), root.chain.join(''))
      writeFileSync(join(folder, 'leaf.crt'), pem)
      const verdict = openssl(folder, 'verify', '-CAfile', 'root.crt', '-untrusted', 'chain.crt', 'leaf.crt')
      expect(verdict).to.equal('leaf.crt: OK\n')
    })
  })

  it('take the root from the end of tls.crt where there is no ca.crt', () => {
    const root = readRoot({ 'tls.crt': given.intermediate + given.root, 'tls.key': given.key }, now)
    expect(bundleOf([root])).to.equal(given.root)
    expect(root.chain).to.deep.equal([given.intermediate])
  })

  it('expire with the first certificate of their chain', () => {
    const root = readRoot({ 'tls.crt': given.intermediate, 'tls.key': given.key, 'ca.crt': given.root }, now)
    expect(root.expires).to.equal(root.certificate.validToDate.getTime())
    refuse(
      { 'tls.crt': given.intermediate, 'tls.key': given.key, 'ca.crt': given.root },
      /certificate 1 of tls.crt has expired/,
      now + 6 * 86_400_000,
    )
  })

  it('are refused with what to do', () => {
    const own = testRoot()
    const ownKey = own.key.export({ type: 'pkcs8', format: 'pem' }) as string
    const leaf = testLeaf(own, 'spiffe://cluster.local/ns/shop/sa/reviews')
    refuse({ 'tls.crt': '', 'tls.key': given.key }, /tls.crt holds no PEM certificate/)
    refuse({ 'tls.crt': given.intermediate, 'tls.key': 'x', 'ca.crt': given.root }, /tls.key can't be read/)
    refuse({ 'tls.crt': given.intermediate, 'tls.key': ownKey, 'ca.crt': given.root }, /not the key of the first/)
    refuse({ 'tls.crt': given.intermediate, 'tls.key': given.key }, /there is no ca.crt/)
    refuse(
      { 'tls.crt': given.intermediate, 'tls.key': given.key, 'ca.crt': own.pem },
      /was not issued by a certificate of ca.crt/,
    )
    refuse(
      { 'tls.crt': given.intermediate + own.pem, 'tls.key': given.key },
      /was not issued by certificate 2 of tls.crt/,
    )
    refuse({ 'tls.crt': leaf.pem, 'tls.key': leaf.keyPem, 'ca.crt': own.pem }, /not marked CA:true/)
  })
})
