// Certificates for the pairs of other proxies that encrypt the way between them: from the OpenSSL command line.

import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { which } from './process.ts'

export interface PairFiles {
  readonly ca: string
  readonly certificate: string
  readonly key: string
}

/**
 * Makes a root and one certificate for the name `localhost`, which both sides use.
 * @throws Error if there is no openssl, or it fails
 */
export function pairFiles(directory: string): PairFiles {
  if (which('openssl') === null) throw new Error('openssl is not installed, so there are no certificates')
  const path = (name: string) => join(directory, name)
  const run = (...args: string[]) => {
    const done = spawnSync('openssl', args, { cwd: directory, encoding: 'utf8' })
    if (done.status !== 0) throw new Error(`openssl: ${done.stderr}`)
  }
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  writeFileSync(path('extensions'), 'subjectAltName=DNS:localhost\n')
  run('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=root')
  run('req', ...newKey, '-keyout', 'n.key', '-out', 'n.csr', '-subj', '/CN=n')
  const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'extensions']
  run('x509', '-req', '-in', 'n.csr', ...signing, '-out', 'n.crt')
  return { ca: path('ca.crt'), certificate: path('n.crt'), key: path('n.key') }
}
