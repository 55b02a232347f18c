// What can be asked of a controller: health and metrics by whoever reaches the pod, for the kubelet and Prometheus; dumps of
// what it knows of all tenants only over loopback, which is to say by those who may `kubectl port-forward`.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import type { Handler } from '../serve.ts'
import { authorityFacts } from './authority.ts'
import type { Metrics, Parts } from './metrics.ts'
import type { Ledger } from './ready.ts'

export interface AdminOptions {
  parts: Parts
  ledger: Ledger
  metrics: Metrics
}

type Page = (url: URL) => Answer | Promise<Answer>

interface Answer {
  status: number
  type: string
  body: string
}

type Pages = Record<string, Page | undefined>

/** Answers the paths of the stats port. */
export function openStats(options: AdminOptions): Handler {
  return serve(statsPages(options), () => true)
}

/** Answers the paths of the admin port: those of the stats port, and the dumps. */
export function openAdmin(options: AdminOptions): Handler {
  return serve({ ...statsPages(options), ...debugPages(options) }, isDirect)
}

function statsPages({ ledger, metrics }: AdminOptions): Pages {
  return {
    '/livez': () => text(200, 'ok'),
    // The name that older probes ask for.
    '/healthz': () => text(200, 'ok'),
    '/readyz': () => readiness(ledger.blockers()),
    '/metrics': async () => ({ status: 200, type: metrics.contentType, body: await metrics.text() }),
  }
}

function debugPages({ parts }: AdminOptions): Pages {
  return {
    '/debug/topology': () => topology(parts),
    '/debug/snapshot': (url) => snapshot(parts, url.searchParams.get('node') ?? ''),
    '/debug/authority': () => authority(parts),
    '/debug/agents': () => json(200, parts.transmitter?.agents() ?? []),
    '/debug/reflectors': () => json(200, reflectors(parts)),
  }
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

function serve(pages: Pages, mayAsk: (request: IncomingMessage) => boolean): Handler {
  return (request: IncomingMessage, response: ServerResponse) => {
    const url = URL.parse(request.url ?? '/', 'http://controller')
    const page = url !== null && Object.hasOwn(pages, url.pathname) ? pages[url.pathname] : undefined
    if (url === null || page === undefined) return false
    if (!mayAsk(request)) {
      response.writeHead(403, { 'content-type': 'text/plain' }).end('ask by address or localhost\n')
      return true
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end()
      return true
    }
    Promise.resolve()
      .then(() => page(url))
      .catch((thrown) => text(500, String(thrown)))
      .then(({ status, type, body }) => {
        response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
        response.end(request.method === 'HEAD' ? undefined : body)
      })
    return true
  }
}

function readiness(blockers: readonly string[]): Answer {
  if (blockers.length === 0) return text(200, 'ok')
  return text(503, blockers.map((each) => `waiting for: ${each}`).join('\n'))
}

function topology({ pipeline }: Parts): Answer {
  if (pipeline?.last == null) return json(503, { error: 'no pass was made yet' })
  return json(200, { ...pipeline.last.topology, problems: pipeline.last.translation.problems })
}

/** What agents have: the common part, and with `?node=` that node's own. */
function snapshot({ transmitter }: Parts, node: string): Answer {
  const target = transmitter?.target(node) ?? null
  if (target === null) return json(503, { error: 'no snapshot was made yet' })
  const resources = [...target.common.lines.values(), ...target.node.lines.values()].map(({ resource }) => resource)
  return json(200, { version: target.common.version, node, nodeVersion: target.node.version, resources })
}

function authority({ authority }: Parts): Answer {
  const facts = authority === null ? null : authorityFacts(authority)
  return facts === null ? json(503, { error: authority?.trouble() ?? 'it has not started' }) : json(200, facts)
}

function reflectors({ observer, clock }: Parts) {
  return (observer?.reflectors() ?? []).map(({ reflector, objects }) => ({
    kind: reflector.kind,
    path: reflector.path,
    objects,
    hasSynced: reflector.hasSynced,
    silentMs: Math.round(clock.now() - reflector.liveAt),
    lists: reflector.lists,
    failures: reflector.failures,
    rejected: reflector.rejected,
    trouble: reflector.trouble,
  }))
}

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${body}\n` }
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value, null, 2)}\n` }
}
