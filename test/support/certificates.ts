// Certificates for tests, good and bad, written by the OpenSSL command line: another hand than the one under test.

import { execFileSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { issueCertificate, makeRoot } from '../../controller/authority/issue.ts'
import { type Root, readRoot } from '../../controller/authority/root.ts'

/** Runs something with a folder of its own, and removes it. */
export function withFolder<T>(run: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'weft-test-'))
  try {
    return run(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The OpenSSL command line; its standard output. */
export function openssl(folder: string, ...args: string[]): string {
  return execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** A root as the authority makes it. */
export function testRoot(now = Date.now(), lifetimeMs = 86_400_000): Root & { pem: string } {
  const { certificate, key } = makeRoot(now, lifetimeMs)
  return { ...readRoot({ 'tls.crt': certificate, 'tls.key': key, 'ca.crt': certificate }), pem: certificate }
}

/** A certificate and its key. */
export interface Pair {
  pem: string
  key: KeyObject
  keyPem: string
}

/** A certificate as the authority signs it. */
export function testLeaf(root: Root, identity: string, now = Date.now(), lifetimeMs = 3_600_000): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { pem } = issueCertificate(root, { identity, publicKey, now, lifetimeMs })
  return { pem, key: privateKey, keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }) }
}

/** What the issued certificates look like, for OpenSSL; single lines can be replaced. */
export const goodExtensions: Record<string, string> = {
  basicConstraints: 'critical,CA:FALSE',
  keyUsage: 'critical,digitalSignature',
  extendedKeyUsage: 'serverAuth,clientAuth',
  subjectAltName: 'URI:spiffe://cluster.local/ns/shop/sa/reviews',
}

/**
 * A certificate signed by OpenSSL.
 * @param extensions its extensions; null: none at all, which makes it version 1
 * @param newkey arguments of `openssl req` that make its key
 */
export function opensslLeaf(
  root: Root,
  extensions: Record<string, string> | null,
  newkey: string[] = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  subject = '/',
): Pair {
  return withFolder((folder) => {
    writeFileSync(join(folder, 'ca.crt'), root.certificate.toString())
    writeFileSync(join(folder, 'ca.key'), root.key.export({ type: 'pkcs8', format: 'pem' }))
    openssl(folder, 'req', '-new', ...newkey, '-nodes', '-keyout', 'leaf.key', '-out', 'leaf.csr', '-subj', subject)
    const lines = Object.entries(extensions ?? {}).map(([name, value]) => `${name}=${value}`)
    writeFileSync(join(folder, 'ext'), `${lines.join('\n')}\n`)
    const signing = [
      'x509',
      '-req',
      '-in',
      'leaf.csr',
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-days',
      '1',
      '-out',
      'leaf.crt',
    ]
    openssl(folder, ...signing, ...(extensions === null ? [] : ['-extfile', 'ext']))
    const keyPem = readFileSync(join(folder, 'leaf.key'), 'utf8')
    const pem = new X509Certificate(readFileSync(join(folder, 'leaf.crt'))).toString()
    return { pem, keyPem, key: createPrivateKey(keyPem) }
  })
}
