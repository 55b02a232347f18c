// The validating webhook over HTTP: reads a review within bounds, answers it. It has no side effects, and whoever it turns
// away for its own sake (too large, too many) is an API server that goes on without it: `failurePolicy: Ignore`.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import { messageOf } from '../errors.ts'
import type { Settings } from '../resolve/settings.ts'
import type { Handler } from '../serve.ts'
import { type ReviewAnswer, ReviewError, review } from './review.ts'

/** Where the webhook is asked; the ValidatingWebhookConfiguration says the same. */
export const admissionPath = '/v1/admission'

/** `warned`: allowed, with warnings. `failed`: no answer could be given. */
export type ReviewResult = 'allowed' | 'warned' | 'denied' | 'failed'

/** Reviews since the start of this replica, for metrics. */
export type ReviewCounts = Record<ReviewResult, number>

export interface Admission {
  readonly handle: Handler
  readonly counts: Readonly<ReviewCounts>
}

/** An API server takes objects of 3 MiB at most, and sends the one before and the one after. */
const limitBytes = 7 << 20
/** At once; each is judged in milliseconds, so that more are no API server's doing. */
const limitInFlight = 16
/** As the webhook's own time-out: nobody waits longer. */
const bodyMs = 5_000
/**
 * Anybody in the cluster can connect, and the largest objects take half a second: of the replica's time reviews get a
 * fifth, and this much at once. An ordinary one takes a fraction of a millisecond.
 */
const shareOfTime = 0.2
const allowanceMs = 500

/** Makes the handler. */
export function openAdmission(parts: { settings: Settings; clock: Clock; log: Pick<Logger, 'warn'> }): Admission {
  const { settings, clock, log } = parts
  const counts: ReviewCounts = { allowed: 0, warned: 0, denied: 0, failed: 0 }
  let inFlight = 0
  let spentMs = 0
  let spentAt = clock.now()

  /** Reviews, and remembers what it took. */
  function judge(text: string): ReviewAnswer {
    const startedAt = clock.now()
    try {
      return review(JSON.parse(text), settings)
    } finally {
      spentMs += clock.now() - startedAt
    }
  }

  function isOverBudget(): boolean {
    const now = clock.now()
    spentMs = Math.max(0, spentMs - (now - spentAt) * shareOfTime)
    spentAt = now
    return spentMs > allowanceMs
  }

  function fail(response: ServerResponse, status: number, message: string): void {
    counts.failed++
    send(response, status, { error: message })
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const text = await readBody(request)
      if (text === null) {
        log.warn({ remoteAddress: request.socket.remoteAddress }, 'a review exceeds the limit')
        fail(response, 413, `the review exceeds ${limitBytes} bytes`)
        return
      }
      const answer = judge(text)
      counts[resultOf(answer)]++
      send(response, 200, answer)
    } catch (thrown) {
      const isTheirs = thrown instanceof ReviewError || thrown instanceof SyntaxError
      if (!isTheirs) log.warn({ error: messageOf(thrown) }, 'a review can not be answered')
      fail(response, isTheirs ? 400 : 500, isTheirs ? thrown.message : 'internal')
    }
  }

  return {
    counts,
    handle(request, response) {
      // API servers add ?timeout=5s.
      if (request.url?.split('?', 1)[0] !== admissionPath) return false
      if (request.method !== 'POST') response.writeHead(405, { allow: 'POST' }).end()
      else if (inFlight >= limitInFlight || isOverBudget()) fail(response, 503, 'too many reviews at once')
      else {
        inFlight++
        void serve(request, response).finally(() => inFlight--)
      }
      return true
    },
  }
}

function resultOf({ response: { allowed, warnings } }: ReviewAnswer): ReviewResult {
  if (!allowed) return 'denied'
  return warnings === undefined ? 'allowed' : 'warned'
}

/** @returns null if it is too large */
async function readBody(request: IncomingMessage): Promise<string | null> {
  const timer = setTimeout(() => request.destroy(), bodyMs)
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    // The answer still goes out on this connection.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > limitBytes) return null
      chunks.push(chunk)
    }
  } finally {
    clearTimeout(timer)
  }
  return Buffer.concat(chunks).toString()
}

function send(response: ServerResponse, status: number, body: object): void {
  if (response.destroyed) return
  const text = JSON.stringify(body)
  const close = status === 200 ? {} : { connection: 'close' }
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...close,
  })
  response.end(text)
}
