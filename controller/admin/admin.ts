// The admin port: health for the kubelet, metrics for Prometheus, dumps for people.

import type { IncomingMessage, ServerResponse } from 'node:http'
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

/** Answers the paths of the admin port. */
export function openAdmin(options: AdminOptions): Handler {
  const { parts, ledger, metrics } = options
  const pages: Record<string, Page | undefined> = {
    '/livez': () => text(200, 'ok'),
    '/readyz': (url) => readiness(ledger.blockers(), url.searchParams.has('verbose')),
    '/metrics': async () => ({ status: 200, type: metrics.contentType, body: await metrics.text() }),
    '/debug/topology': () => topology(parts),
    '/debug/snapshot': (url) => snapshot(parts, url.searchParams.get('node') ?? ''),
    '/debug/authority': () => authority(parts),
    '/debug/agents': () => json(200, parts.transmitter?.agents() ?? []),
    '/debug/reflectors': () => json(200, reflectors(parts)),
  }

  return (request: IncomingMessage, response: ServerResponse) => {
    const url = URL.parse(request.url ?? '/', 'http://controller')
    const page = url === null ? undefined : pages[url.pathname]
    if (url === null || page === undefined) return false
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

function readiness(blockers: readonly string[], isVerbose: boolean): Answer {
  if (blockers.length === 0) return text(200, 'ok')
  return text(503, isVerbose ? blockers.map((each) => `waiting for: ${each}`).join('\n') : 'not ready')
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
    trouble: reflector.trouble,
  }))
}

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${body}\n` }
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value, null, 2)}\n` }
}
