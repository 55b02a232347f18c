// PEM texts with several certificates, as bundles and chains travel.

import { createHash } from 'node:crypto'

const certificate = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

/** The certificates of a PEM text, one string each; anything else in it is passed over. */
export function splitPem(text: string): string[] {
  return text.match(certificate) ?? []
}

/** Joins certificates to a bundle, each once, in the order of their first appearance. */
export function formatBundle(certificates: readonly string[]): string {
  return [...new Set(certificates.map((each) => `${each.trim()}\n`))].join('')
}

/** What an agent reports of the bundle in force, and the authority compares: SHA-256 of its certificates, in hex. */
export function bundleHash(text: string): string {
  return createHash('sha256')
    .update(formatBundle(splitPem(text)))
    .digest('hex')
}
