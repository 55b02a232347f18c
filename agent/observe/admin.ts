// Control thread: the two HTTP servers for people and machines that look after the agent: readiness and metrics for the
// kubelet and Prometheus, and the debug endpoints on loopback alone. Neither is ever reached through the mesh.

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { http } from '../client.ts'
import { type AgentConfig, isLogLevel, type LogLevel } from '../config.ts'
import type { Wanted } from '../mesh/store.ts'
import type { Question } from '../mesh/thread.ts'
import { readPermitQuestion } from './explain.ts'
import { type Metric, metricsPage, metricsType } from './metrics.ts'
import type { Ready } from './ready.ts'

/** What the endpoints show and do. */
export interface AdminSources {
  readonly config: AgentConfig
  readonly ready: Ready
  /** Why the process ought to be restarted; null if it need not. */
  readonly ailment: () => string | null
  readonly metrics: readonly Metric[]
  readonly inForce: () => Wanted
  /** Asks all data threads. */
  readonly ask: (what: Question) => Promise<{ thread: number; value: unknown }[]>
  /** The accounts that have certificates here, without any key. */
  readonly identities: () => unknown
  readonly level: () => LogLevel
  readonly setLevel: (level: LogLevel) => void
  /** @param thread null: the control thread. @throws if there is no such thread */
  readonly profile: (thread: number | null, ms: number) => Promise<string>
  readonly heap: (thread: number | null) => Promise<Readable>
}

/** The body of an answer: text, or pieces of it. */
type Body = string | Readable | AsyncIterable<string> | Iterable<string>

interface Answer {
  readonly status?: number
  /** Default: JSON. */
  readonly type?: string
  readonly body: Body
}

interface Route {
  readonly method: 'GET' | 'PUT'
  readonly answer: (query: URLSearchParams, body: string) => Answer | Promise<Answer>
}

type Routes = Readonly<Record<string, readonly Route[]>>

/** A request that can't be answered as it is asked. */
class Refusal extends Error {
  override name = 'Refusal'
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const plain = 'text/plain; charset=utf-8'
const bodyLimit = 1024

/** Serves /readyz, /livez, /healthz and /metrics; not listening yet. */
export function statsServer(sources: AdminSources): Server {
  return serve(statsRoutes(sources), () => true)
}

/** Serves these and /debug; not listening yet. Only requests that name an address or localhost are answered. */
export function adminServer(sources: AdminSources): Server {
  return serve({ ...statsRoutes(sources), ...debugRoutes(sources) }, isDirect)
}

/**
 * Whether a request comes from somebody who knows where he is: not from a page in a browser whose name was made to resolve
 * to loopback, nor across origins.
 */
function isDirect({ headers }: IncomingMessage): boolean {
  const host = (headers.host ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  const site = headers['sec-fetch-site'] ?? 'none'
  return (host === 'localhost' || isIP(host) !== 0) && headers.origin === undefined && site === 'none'
}

function get(answer: Route['answer']): Route[] {
  return [{ method: 'GET', answer }]
}

function json(value: unknown): Answer {
  return { body: `${JSON.stringify(value, null, 2)}\n` }
}

function statsRoutes({ ready, ailment, metrics }: AdminSources): Routes {
  const live = get(() => {
    const reason = ailment()
    return { status: reason === null ? 200 : 503, type: plain, body: `${reason ?? 'ok'}\n` }
  })
  return {
    '/readyz': get((query) => ({ status: ready.isReady ? 200 : 503, type: plain, body: readyText(ready, query) })),
    '/livez': live,
    '/healthz': live,
    '/metrics': get(() => ({ type: metricsType, body: metricsPage(metrics) })),
  }
}

function readyText({ isReady, blockers }: Ready, query: URLSearchParams): string {
  if (isReady) return 'ok\n'
  if (!query.has('verbose')) return `not ready: ${[...blockers.keys()].join(', ')}\n`
  return [...blockers].map(([name, waitsFor]) => `${name}: ${waitsFor}\n`).join('')
}

function debugRoutes(sources: AdminSources): Routes {
  const { config, inForce, ask, identities, level, setLevel, profile, heap } = sources
  const question = (what: Question) => get(async () => json(await ask(what)))
  return {
    '/debug/config': get(() => json(config)),
    '/debug/snapshot': get(() => ({ type: 'application/x-ndjson', body: snapshotLines(inForce()) })),
    '/debug/fuses': question('fuses'),
    '/debug/exchanges': question('exchanges'),
    '/debug/pools': question('pools'),
    '/debug/permit': get(async (query) => {
      const asked = readPermitQuestion(query)
      if (typeof asked === 'string') throw new Refusal(400, asked)
      // All threads go by the same rules.
      const [first] = await ask({ permit: asked })
      if (first === undefined) throw new Refusal(503, 'no data thread has answered')
      return json(first.value)
    }),
    '/debug/identities': get(() => json(identities())),
    '/debug/log-level': [
      ...get(() => ({ type: plain, body: `${level()}\n` })),
      {
        method: 'PUT',
        answer: (_query, body) => {
          const wanted = body.trim()
          if (!isLogLevel(wanted)) throw new Refusal(400, 'the body is no log level: error, warn, info, debug or trace')
          setLevel(wanted)
          return { type: plain, body: `${wanted}\n` }
        },
      },
    ],
    '/debug/cpu-profile': get(async (query) => {
      const seconds = Number(query.get('seconds') ?? '10')
      if (!(seconds >= 1 && seconds <= 60)) throw new Refusal(400, 'seconds must be from 1 to 60')
      return { body: await oneAtATime(() => profile(threadOf(query), seconds * 1000)) }
    }),
    '/debug/heap-snapshot': get(async (query) => ({ body: await oneAtATime(() => heap(threadOf(query))) })),
  }
}

/** `?thread=N`: a data thread, by default the first; `control`: the control thread. */
function threadOf(query: URLSearchParams): number | null {
  const thread = query.get('thread') ?? '0'
  if (thread === 'control') return null
  if (!/^\d{1,3}$/.test(thread)) throw new Refusal(400, 'thread must be a number or control')
  return Number(thread)
}

let isBusy = false

/** What costs the agent its breath is not done twice at once. */
async function oneAtATime<T>(run: () => Promise<T>): Promise<T> {
  if (isBusy) throw new Refusal(409, 'a profile or heap snapshot is being taken')
  isBusy = true
  try {
    return await run()
  } finally {
    isBusy = false
  }
}

function* snapshotLines({ version, lines }: Wanted): Generator<string> {
  yield `${JSON.stringify({ version, resources: lines.size })}\n`
  for (const line of lines.values()) yield `${line}\n`
}

function serve(routes: Routes, isAllowed: (request: IncomingMessage) => boolean): Server {
  const server = http.createServer(
    // A scraper and the kubelet need two connections; no one may take the control thread's memory by opening thousands.
    { maxHeaderSize: 8192, headersTimeout: 5000, requestTimeout: 10_000, connectionsCheckingInterval: 2000 },
    (request, response) => {
      handle(routes, isAllowed, request, response).catch(() => response.destroy())
    },
  )
  server.maxConnections = 64
  return server
}

async function handle(
  routes: Routes,
  isAllowed: (request: IncomingMessage) => boolean,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader('cache-control', 'no-store')
  response.setHeader('x-content-type-options', 'nosniff')
  try {
    if (!isAllowed(request)) throw new Refusal(403, 'only for direct requests to this address')
    const answer = await answerOf(routes, request, response)
    response.writeHead(answer.status ?? 200, { 'content-type': answer.type ?? 'application/json' })
    if (typeof answer.body === 'string') response.end(answer.body)
    else await pipeline(answer.body, response)
  } catch (error) {
    if (response.headersSent) throw error
    const status = error instanceof Refusal ? error.status : 500
    // What was not read must not be taken for the next request.
    response.writeHead(status, { 'content-type': plain, connection: 'close' })
    response.end(`${error instanceof Error ? error.message : String(error)}\n`)
  }
}

async function answerOf(routes: Routes, request: IncomingMessage, response: ServerResponse): Promise<Answer> {
  const [path = '', search = ''] = (request.url ?? '').split('?', 2)
  const known = Object.hasOwn(routes, path) ? routes[path]! : null
  if (known === null) throw new Refusal(404, `no such path; there are ${Object.keys(routes).join(', ')}`)
  const route = known.find(({ method }) => method === request.method)
  if (route === undefined) {
    const allowed = known.map((candidate) => candidate.method).join(', ')
    response.setHeader('allow', allowed)
    throw new Refusal(405, `allowed: ${allowed}`)
  }
  return route.answer(new URLSearchParams(search), route.method === 'PUT' ? await bodyOf(request) : '')
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  request.setEncoding('utf8')
  for await (const part of request as AsyncIterable<string>) {
    body += part
    if (body.length > bodyLimit) throw new Refusal(413, `the body is longer than ${bodyLimit} bytes`)
  }
  return body
}
