// The agent's connection to the controller, for the link and for requests for certificates: the controller must prove its
// identity, the agent proves its own by token and, once it has one, by certificate as well.

import type { SecureContext } from 'node:tls'
import { certificateIdentity } from '../../controller/contract/certificate.ts'
import { formatIdentity, type SignRequest, type SignResponse } from '../../controller/contract/identity.ts'
import { Agent, type Dispatcher } from '../client.ts'
import type { Trust } from './trust.ts'

/** What requests to the controller are sent with. */
export interface ControllerAccess {
  /** Takes the trust and the agent's own certificate in force from now on; connections that stand go on. */
  use(trust: Trust, own: SecureContext | null): void
  /** The current dispatcher: ask for it with each request. */
  dispatcher(): Dispatcher
  close(): Promise<void>
}

/** The controller answered a request for a certificate with something else. */
export class SignError extends Error {
  override name = 'SignError'
  /** HTTP status: 403 is a refusal, everything else may pass. */
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** Opens the access; nothing is sent before `use` has told whom to trust. */
export function openController(): ControllerAccess {
  let agent: Dispatcher | null = null
  return {
    use(trust, own) {
      const old = agent
      agent = new Agent({
        allowH2: false,
        keepAliveTimeout: 60_000,
        connect: {
          timeout: 5_000,
          // A resumed session would skip the check of the identity.
          maxCachedSessions: 0,
          allowH2: false,
          servername: 'weft-controller',
          minVersion: 'TLSv1.3',
          ca: trust.bundle,
          ...(own === null ? {} : { secureContext: own }),
          checkServerIdentity: (_host: string, certificate: { raw: Buffer }) => wrongIdentity(certificate.raw, trust),
        },
      })
      // Ends when the requests in flight do.
      old?.close().catch(() => {})
    },
    dispatcher() {
      if (agent === null) throw new Error('whom to trust is not known yet')
      return agent
    },
    async close() {
      await agent?.destroy()
    },
  }
}

function wrongIdentity(certificate: Buffer, trust: Trust): Error | undefined {
  try {
    const { account } = certificateIdentity(certificate, trust.trustDomain)
    const found = formatIdentity(trust.trustDomain, account)
    return found === trust.controller ? undefined : new Error(`the controller's certificate is of ${found}`)
  } catch (thrown) {
    return new Error(`the controller's certificate is refused: ${(thrown as Error).message}`)
  }
}

/** Asks the authority for a certificate: gives an identity (SPIFFE ID) and a request (DER). */
export type Sign = (identity: string, csr: Buffer) => Promise<SignResponse>

const maxAnswerBytes = 256 << 10

/**
 * The way to the authority.
 * @param url the controller's origin
 * @param token gives the current bearer token: kubelets replace it every hour or so
 */
export function authoritySign(access: ControllerAccess, url: string, token: () => string): Sign {
  return async (identity, csr) => {
    const body: SignRequest = { identity, csr: csr.toString('base64') }
    const response = await access.dispatcher().request({
      origin: new URL(url).origin,
      path: '/v1/sign',
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token().trim()}` },
      body: JSON.stringify(body),
      headersTimeout: 10_000,
      bodyTimeout: 10_000,
    })
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > maxAnswerBytes) throw new SignError(response.statusCode, 'the answer of the authority is too long')
      chunks.push(chunk)
    }
    if (response.statusCode !== 200)
      throw new SignError(response.statusCode, `the authority answered ${response.statusCode}`)
    return JSON.parse(Buffer.concat(chunks).toString()) as SignResponse
  }
}
