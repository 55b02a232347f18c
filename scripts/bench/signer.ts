// An authority for benchmarks: one root, which signs whatever the agents under measurement ask for. The certificates are
// made by the controller's own code.

import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TlsOptions } from 'node:tls'
import { readRequest } from '../../controller/authority/csr.ts'
import { issueCertificate, makeRoot } from '../../controller/authority/issue.ts'
import { linkRules } from '../../controller/authority/link.ts'
import { bundleOf, readRoot } from '../../controller/authority/root.ts'
import {
  controllerAccount,
  formatIdentity,
  type SignRequest,
  type SignResponse,
  trustConfig,
} from '../../controller/contract/identity.ts'

const dayMs = 86_400_000

export interface Signer {
  /** For the agents' flags. */
  readonly trustFolder: string
  readonly tokenFile: string
  /** For the server of the link. */
  readonly tls: TlsOptions
  sign(request: SignRequest): SignResponse
}

/** Makes a root, and writes what agents mount to a folder of its own in `directory`. */
export function makeSigner(directory: string, trustDomain: string): Signer {
  const { certificate, key } = makeRoot(Date.now(), dayMs)
  const root = readRoot({ 'tls.crt': certificate, 'tls.key': key })
  const issuer = { certificate: root.certificate, key: createPrivateKey(key) }
  const bundle = bundleOf([root])
  const controller = formatIdentity(trustDomain, `weft-system/${controllerAccount}`)
  const issue = (identity: string, publicKey: Parameters<typeof issueCertificate>[1]['publicKey']) =>
    issueCertificate(issuer, { identity, publicKey, now: Date.now(), lifetimeMs: dayMs })
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' })

  const trustFolder = join(directory, 'trust')
  mkdirSync(trustFolder, { recursive: true })
  writeFileSync(join(trustFolder, trustConfig.bundle), bundle)
  writeFileSync(join(trustFolder, trustConfig.controller), controller)
  writeFileSync(join(trustFolder, trustConfig.signer), root.id)
  const tokenFile = join(directory, 'token')
  writeFileSync(tokenFile, 'a-token')
  return {
    trustFolder,
    tokenFile,
    tls: {
      ...linkRules,
      key: own.privateKey.export({ type: 'pkcs8', format: 'pem' }),
      cert: issue(controller, own.publicKey).pem,
      ca: bundle,
    },
    sign({ identity, csr }) {
      const { pem, expires } = issue(identity, readRequest(Buffer.from(csr, 'base64')))
      return { chain: [pem], bundle, signer: root.id, expires }
    },
  }
}
