// From an HTTP request to its answer: who asks, what for, and which part of the API answers.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import type { Backend } from '../backend.ts'
import { badRequest, methodNotAllowed, unauthorized } from '../errors.ts'
import type { AnyObject } from '../object.ts'
import type { IncludeObject } from '../table.ts'
import type { Tokens, User } from '../tokens.ts'
import { type Answering, acceptedForm, sendError, sendJson, shapeList, shapeObject } from './answer.ts'
import { mediaType, patchTypes, readBody } from './body.ts'
import { discover } from './discovery.ts'
import { answerForward, type Reach } from './forward.ts'
import { createLister } from './list.ts'
import { openapi } from './openapi.ts'
import { parsePath, type Target } from './path.ts'
import { act, review } from './reviews.ts'
import { streamWatch } from './stream.ts'
import { create, getOne, type Outcome, patch, remove, removeAll, replace, type Write } from './verbs.ts'

export interface LogRequest {
  pod: AnyObject
  container: string | undefined
  follow: boolean
  previous: boolean
  tailLines: number | undefined
}

export interface Serving {
  backend: Backend
  tokens: Tokens
  /** The token of the administrator. */
  adminToken: string
  /** Where `kubectl logs` reads; set by the kubelet stand-in. */
  logs: () => ((request: LogRequest) => Readable) | undefined
}

const version = {
  major: '1',
  minor: '33',
  gitVersion: 'v1.33.0+weft.local',
  gitTreeState: 'clean',
  platform: 'linux/amd64',
}

/** The handler of all requests. */
export function createHandler(serving: Serving): (request: IncomingMessage, response: ServerResponse) => void {
  const lister = createLister(serving.backend)
  return (request, response) => {
    answer(serving, lister, request, response).catch((error) => sendError(request, response, error))
  }
}

/** The handler of requests to upgrade: connections to pods. */
export function createForwarder(serving: Serving): (request: IncomingMessage, socket: Duplex) => void {
  const pods = serving.backend.kinds.named('Pod')
  const reach: Reach = ({ namespace, name }, port) => {
    const pod = serving.backend.storage.get(pods.storage, namespace, name)
    const { podIP } = (pod?.['status'] ?? {}) as { podIP?: string }
    return podIP === undefined ? `pod ${namespace}/${name} is not running` : { host: podIP, port }
  }
  return (request, socket) => answerForward(request, socket, isKnown(serving, request.headers.authorization), reach)
}

function isKnown(serving: Serving, header: string | undefined): boolean {
  try {
    authenticate(serving, header)
    return true
  } catch {
    return false
  }
}

type Lister = ReturnType<typeof createLister>

async function answer(serving: Serving, lister: Lister, request: IncomingMessage, response: ServerResponse) {
  const url = new URL(request.url ?? '/', 'http://local')
  if (['/healthz', '/livez', '/readyz'].includes(url.pathname)) {
    response.writeHead(200, { 'content-type': 'text/plain' }).end('ok')
    return
  }
  const user = authenticate(serving, request.headers.authorization)
  const document = describe(serving, url.pathname, request.headers.accept)
  if (document !== undefined) return sendJson(response, 200, document.body, document.contentType)
  const target = parsePath(url.pathname, serving.backend.kinds)
  if (target.subresource === 'portforward') throw badRequest('Upgrade request required')
  if (target.subresource === 'log') return sendLog(serving, target, url.searchParams, response)
  const answering: Answering = {
    kind: target.kind,
    form: acceptedForm(request.headers.accept),
    include: (url.searchParams.get('includeObject') as IncludeObject | null) ?? 'Metadata',
  }
  if (request.method === 'GET' || request.method === 'HEAD') {
    return read(serving, lister, target, url.searchParams, answering, response)
  }
  const body = await readBody(request)
  const write: Write = {
    backend: serving.backend,
    target,
    query: url.searchParams,
    body,
    agent: (request.headers['user-agent'] ?? 'unknown').split('/')[0]!,
    warn: (text) => response.appendHeader('warning', `299 - ${JSON.stringify(text)}`),
  }
  if (request.method === 'DELETE' && target.name === undefined) {
    const page = lister.list(target.kind, target.namespace, url.searchParams)
    removeAll(write, page.objects)
    return sendJson(response, 200, shapeList(answering, page.objects, page.metadata))
  }
  const { code, object } = change(serving, request, write, user)
  const isPlain = object.kind === 'Status' || target.subresource === 'scale' || target.subresource === 'token'
  sendJson(response, code, isPlain ? object : shapeObject(answering, object as AnyObject))
}

/** @throws ApiError 401 */
function authenticate({ adminToken, tokens }: Serving, header: string | undefined): User {
  const token = /^Bearer (.+)$/i.exec(header ?? '')?.[1]
  if (token === adminToken) return { username: 'admin', groups: ['system:masters', 'system:authenticated'] }
  const user = token === undefined ? undefined : tokens.authenticate(token)
  if (user === undefined) throw unauthorized()
  return user
}

function describe({ backend }: Serving, path: string, accept: string | undefined) {
  const contentType = 'application/json'
  if (path === '/version') return { body: version, contentType }
  const document = openapi(backend.kinds, path)
  return document === undefined ? discover(backend.kinds, path, accept) : { body: document, contentType }
}

function read(
  { backend }: Serving,
  lister: Lister,
  target: Target,
  query: URLSearchParams,
  answering: Answering,
  response: ServerResponse,
): void {
  const { kind, namespace } = target
  if (kind.isReview === true) throw methodNotAllowed()
  if (target.name !== undefined) {
    const object = getOne(backend, target)
    sendJson(response, 200, target.subresource === 'scale' ? object : shapeObject(answering, object))
    return
  }
  const watch = query.get('watch')
  if (watch === 'true' || watch === '1') {
    streamWatch(backend, answering, namespace, query, response)
    return
  }
  const page = lister.list(kind, namespace, query)
  sendJson(response, 200, shapeList(answering, page.objects, page.metadata))
}

function change({ backend, tokens }: Serving, request: IncomingMessage, write: Write, user: User): Outcome {
  const { target, body } = write
  switch (request.method) {
    case 'POST':
      if (target.kind.isReview === true) return review(target, body, user, tokens)
      return target.subresource === undefined ? create(write) : act(backend, target, body, tokens)
    case 'PUT':
      return replace(write)
    case 'PATCH':
      return patch(write, patchTypes[mediaType(request) as keyof typeof patchTypes])
    case 'DELETE':
      return remove(write)
    default:
      throw methodNotAllowed()
  }
}

function sendLog({ backend, logs }: Serving, target: Target, query: URLSearchParams, response: ServerResponse): void {
  const pod = getOne(backend, target)
  const provide = logs()
  if (provide === undefined) throw badRequest('no kubelet has offered the logs of pods')
  const tail = query.get('tailLines')
  const stream = provide({
    pod,
    container: query.get('container') ?? undefined,
    follow: query.get('follow') === 'true',
    previous: query.get('previous') === 'true',
    tailLines: tail === null ? undefined : Number(tail),
  })
  response.writeHead(200, { 'content-type': 'text/plain' })
  stream.once('error', () => response.destroy())
  response.once('close', () => stream.destroy())
  stream.pipe(response)
}
