// A list/watch server for benchmarks: what the controller asks of an API server, over HTTPS, for clusters that the API of
// local mode is too thorough for. Objects are kept as text, so that a list of 50,000 costs the server next to nothing.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { selfSigned } from '../local/api/certificate.ts'
import { mergePatch } from '../local/api/patch.ts'
import { groups, reviewToken } from './discovery.ts'

export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string; uid?: string; resourceVersion?: string; [field: string]: unknown }
  [field: string]: unknown
}

/** What a client did, for the look for request storms. */
export interface Asked {
  /** Milliseconds since the epoch. */
  at: number
  /** `list`, `watch`, or the HTTP method. */
  verb: string
  collection: string
}

export interface ListWatch {
  readonly url: string
  readonly certificate: string
  /** Requests since the last call. */
  asked(): Asked[]
  /** Adds or replaces. @returns milliseconds since the epoch when the watchers had been written to */
  put(collection: string, object: KubeObject): number
  remove(collection: string, namespace: string, name: string): number
  get(collection: string, namespace: string, name: string): KubeObject | undefined
  /** Forgets the history: watches from before get 410. */
  compact(): void
  /** Nothing listens, and all connections are cut. */
  leave(): Promise<void>
  /** Listens again where it did. */
  comeBack(): Promise<void>
}

interface Held {
  text: string
}

interface Watcher {
  collection: string
  response: ServerResponse
}

/** Changes that a watch may be behind. */
const historyLength = 10_000

const now = () => performance.timeOrigin + performance.now()

/** Starts it on a free port of an address. */
export async function startListWatch(address: string): Promise<ListWatch> {
  const { cert, key } = selfSigned(address)
  const collections = new Map<string, Map<string, Held>>()
  const watchers = new Set<Watcher>()
  let history: { revision: number; collection: string; line: string }[] = []
  let revision = 1
  let oldest = 1
  let asked: Asked[] = []
  let port = 0
  let server = make()

  function shelf(collection: string): Map<string, Held> {
    const found = collections.get(collection) ?? new Map<string, Held>()
    collections.set(collection, found)
    return found
  }

  function announce(collection: string, type: string, text: string): number {
    const line = `{"type":"${type}","object":${text}}\n`
    history.push({ revision, collection, line })
    if (history.length > 2 * historyLength) {
      history = history.slice(-historyLength)
      oldest = history[0]!.revision - 1
    }
    for (const watcher of watchers) if (watcher.collection === collection) watcher.response.write(line)
    return now()
  }

  function put(collection: string, object: KubeObject): number {
    const id = idOf(object.metadata.namespace ?? '', object.metadata.name)
    const held = shelf(collection)
    const type = held.has(id) ? 'MODIFIED' : 'ADDED'
    object.metadata.uid ??= `uid-${collection}-${id}`
    object.metadata['creationTimestamp'] ??= '2026-11-01T00:00:00Z'
    object.metadata.resourceVersion = String(++revision)
    const text = JSON.stringify(object)
    held.set(id, { text })
    return announce(collection, type, text)
  }

  function get(collection: string, namespace: string, name: string): KubeObject | undefined {
    const held = collections.get(collection)?.get(idOf(namespace, name))
    return held === undefined ? undefined : (JSON.parse(held.text) as KubeObject)
  }

  function remove(collection: string, namespace: string, name: string): number {
    const object = get(collection, namespace, name)
    if (object === undefined) return now()
    shelf(collection).delete(idOf(namespace, name))
    object.metadata.resourceVersion = String(++revision)
    return announce(collection, 'DELETED', JSON.stringify(object))
  }

  function list(collection: string, query: URLSearchParams, response: ServerResponse): void {
    const all = [...(collections.get(collection)?.values() ?? [])]
    const [start = 0, at = revision] = (query.get('continue') ?? '').split('.').filter(Boolean).map(Number)
    const limit = Number(query.get('limit') ?? 0) || all.length
    const next = start + limit < all.length ? `,"continue":"${start + limit}.${at}"` : ''
    const items = all.slice(start, start + limit).map(({ text }) => text)
    send(response, 200, `{"kind":"List","metadata":{"resourceVersion":"${at}"${next}},"items":[${items.join(',')}]}`)
  }

  function watch(collection: string, query: URLSearchParams, response: ServerResponse): void {
    const from = Number(query.get('resourceVersion') ?? revision)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    if (from < oldest) {
      const status = { kind: 'Status', code: 410, reason: 'Expired', message: `too old: ${from} (${oldest})` }
      response.end(`{"type":"ERROR","object":${JSON.stringify(status)}}\n`)
      return
    }
    for (const each of history) if (each.revision > from && each.collection === collection) response.write(each.line)
    const watcher = { collection, response }
    watchers.add(watcher)
    const timer = setTimeout(() => response.end(), Number(query.get('timeoutSeconds') ?? 600) * 1000)
    response.once('close', () => {
      clearTimeout(timer)
      watchers.delete(watcher)
    })
  }

  /** One object: read, replaced, patched, or deleted. */
  async function single(request: IncomingMessage, response: ServerResponse, { collection, namespace, name }: Place) {
    const held = get(collection, namespace, name)
    if (held === undefined) return refuse(response, 404, 'NotFound')
    if (request.method === 'GET') return send(response, 200, JSON.stringify(held))
    const body = (await readJson(request)) as KubeObject
    if (request.method === 'DELETE') {
      remove(collection, namespace, name)
      return send(response, 200, '{"kind":"Status","status":"Success"}')
    }
    const next = request.method === 'PATCH' ? (mergePatch(held as never, body) as KubeObject) : body
    const wanted = next.metadata.resourceVersion
    if (wanted !== undefined && wanted !== held.metadata.resourceVersion) return refuse(response, 409, 'Conflict')
    put(collection, { ...next, metadata: { ...next.metadata, uid: held.metadata.uid! } })
    send(response, 200, JSON.stringify(get(collection, namespace, name)))
  }

  async function create(request: IncomingMessage, response: ServerResponse, { collection, namespace }: Place) {
    const body = (await readJson(request)) as KubeObject
    if (collection === 'authentication.k8s.io/tokenreviews') return send(response, 201, reviewToken(body, get))
    if (namespace !== '') body.metadata.namespace = namespace
    if (get(collection, namespace, body.metadata.name) !== undefined) return refuse(response, 409, 'AlreadyExists')
    put(collection, furnish(collection, body))
    send(response, 201, JSON.stringify(get(collection, namespace, body.metadata.name)))
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://api')
    const found = groups(url.pathname)
    if (found !== null) return send(response, 200, found)
    const place = placeOf(url.pathname)
    if (place === null) return refuse(response, 404, 'NotFound')
    const isWatch = url.searchParams.has('watch')
    const verb = request.method === 'GET' && place.name === '' ? (isWatch ? 'watch' : 'list') : (request.method ?? '')
    asked.push({ at: now(), verb, collection: place.collection })
    if (verb === 'watch') return watch(place.collection, url.searchParams, response)
    if (verb === 'list') return list(place.collection, url.searchParams, response)
    return place.name === '' ? create(request, response, place) : single(request, response, place)
  }

  function make() {
    const made = createServer({ cert, key, keepAliveTimeout: 60_000, requestTimeout: 0 }, (request, response) => {
      answer(request, response).catch((error: Error) => refuse(response, 500, error.message))
    })
    made.on('secureConnection', (socket) => socket.setNoDelay(true))
    return made
  }

  async function listen(): Promise<void> {
    await new Promise<void>((resolve) => server.listen(port, address, resolve))
    port = (server.address() as AddressInfo).port
  }

  await listen()
  return {
    get url() {
      return `https://${address}:${port}`
    },
    certificate: cert,
    asked() {
      const taken = asked
      asked = []
      return taken
    },
    put,
    remove,
    get,
    async leave() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
    compact() {
      history = []
      oldest = revision
    },
    async comeBack() {
      server = make()
      await listen()
    },
  }
}

interface Place {
  collection: string
  namespace: string
  name: string
}

/** `/api/v1/…` and `/apis/GROUP/VERSION/…`; all versions of a kind are one collection, `GROUP/PLURAL`. */
function placeOf(path: string): Place | null {
  const parts = path.split('/').slice(1)
  const isCore = parts[0] === 'api'
  const group = isCore ? '' : (parts[1] ?? '')
  const rest = parts.slice(isCore ? 2 : 3)
  const namespace = rest[0] === 'namespaces' && rest.length > 2 ? rest[1]! : ''
  const [plural = '', name = ''] = namespace === '' ? rest : rest.slice(2)
  return plural === '' ? null : { collection: group === '' ? plural : `${group}/${plural}`, namespace, name }
}

function idOf(namespace: string, name: string): string {
  return `${namespace}/${name}`
}

let addresses = 0

/** What an API server gives to a new Service. */
function furnish(collection: string, object: KubeObject): KubeObject {
  const spec = object['spec'] as { type?: string; clusterIP?: string } | undefined
  if (collection !== 'services' || spec === undefined || spec.type === 'ExternalName') return object
  addresses++
  spec.clusterIP ??= `10.254.${addresses >> 8}.${addresses & 255}`
  return object
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString() || '{}')
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(text)
}

function refuse(response: ServerResponse, code: number, reason: string): void {
  send(response, code, JSON.stringify({ kind: 'Status', status: 'Failure', code, reason, message: reason }))
}
