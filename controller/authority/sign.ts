// `POST /v1/sign` over HTTP: reads the request within bounds, answers `refused` and nothing more to whoever may not have
// what they ask for.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import { messageOf } from '../errors.ts'
import type { Authority } from './authority.ts'
import { Refusal, type RefusalReason } from './review.ts'

const maxBodyBytes = 16 << 10

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBodyBytes) throw new Refusal('invalid_request', `the body has more than ${maxBodyBytes} bytes`)
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown
  } catch {
    throw new Refusal('invalid_request', 'the body is not JSON')
  }
}

function answer(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  if (response.headersSent || response.destroyed) return
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...headers,
  })
  response.end(text)
}

/**
 * The handler of `POST /v1/sign`, to be mounted on the agents' link.
 * Answers 200 with a SignResponse, 403 `refused`, or 503 if nobody can decide now.
 * @param decided told of each request that was decided: why it was refused, or null
 */
export function signHandler(
  authority: Authority,
  log: Pick<Logger, 'warn'>,
  decided: (refusal: RefusalReason | null) => void = () => {},
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    const { remoteAddress } = request.socket
    try {
      const body = await readBody(request)
      const signed = await authority.sign(request.headers.authorization, body)
      decided(null)
      answer(response, 200, signed)
    } catch (thrown) {
      if (thrown instanceof Refusal) {
        decided(thrown.reason)
        log.warn({ reason: thrown.reason, detail: thrown.message, remoteAddress }, 'certificate refused')
        answer(response, 403, { error: 'refused' }, { connection: 'close' })
      } else {
        log.warn({ error: messageOf(thrown), remoteAddress }, 'certificate request can not be decided now')
        answer(response, 503, { error: 'unavailable' }, { 'retry-after': '1' })
      }
    }
  }
}
