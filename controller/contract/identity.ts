// How identities are written, and what an agent and the authority say to each other about them (`POST /v1/sign`).

import type { Key } from './resources.ts'

/** Audience of the projected token that an agent proves itself with; a token for the API server is refused. */
export const authorityAudience = 'weft-authority'

/** ServiceAccounts of the mesh's own pods, in the mesh's namespace. */
export const agentAccount = 'weft-agent'
export const controllerAccount = 'weft-controller'

/** ConfigMap that agents mount, and its keys. */
export const trustConfig = {
  name: 'weft-trust',
  /** PEM of every trusted root. */
  bundle: 'bundle.pem',
  /** SPIFFE ID of the controller, which also tells the trust domain. */
  controller: 'controller',
  /** Which root signs now: certificates signed by another one are renewed early. */
  signer: 'signer',
} as const

/** A parsed SPIFFE ID of the form `spiffe://<trust domain>/ns/<namespace>/sa/<account>`. */
export interface Identity {
  trustDomain: string
  namespace: string
  /** The ServiceAccount's bare name. */
  name: string
  /** `namespace/name` */
  account: Key
}

/** Body of `POST /v1/sign`; the token goes in the Authorization header. */
export interface SignRequest {
  /** The SPIFFE ID wanted. */
  identity: string
  /** PKCS #10 request, DER in base64: only its key and its signature count. */
  csr: string
}

/** What is answered with status 200. 403 says no more than `refused`, 503 asks to try again later. */
export interface SignResponse {
  /** PEM: the certificate, then intermediates; never the root. */
  chain: string[]
  /** The trust bundle as it is published. */
  bundle: string
  /** Which root signed: SHA-256 of its certificate, in hex. */
  signer: string
  /** Milliseconds since the epoch. */
  expires: number
}

// A trust domain and the path's segments as Kubernetes and the SPIFFE ID specification (section 2) allow both: no
// percent-encoding, no upper case, no empty or dot segments, no query.
const label = '[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?'
const subdomain = `${label}(?:\\.${label})*`
const pattern = new RegExp(`^spiffe://([a-z0-9](?:[-._a-z0-9]{0,253}[a-z0-9])?)/ns/(${label})/sa/(${subdomain})$`)

/** The SPIFFE ID of an account (`namespace/name`). */
export function formatIdentity(trustDomain: string, account: Key): string {
  const slash = account.indexOf('/')
  return `spiffe://${trustDomain}/ns/${account.slice(0, slash)}/sa/${account.slice(slash + 1)}`
}

/** Parses a SPIFFE ID strictly: what is not exactly of the mesh's form is null. */
export function parseIdentity(uri: string): Identity | null {
  if (uri.length > 700) return null
  const parts = pattern.exec(uri)
  if (parts === null) return null
  const [, trustDomain, namespace, name] = parts as unknown as [string, string, string, string]
  if (name.length > 253) return null
  return { trustDomain, namespace, name, account: `${namespace}/${name}` }
}
