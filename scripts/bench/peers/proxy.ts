// A plain reverse proxy on node:http and undici, to measure what they cost. Started by node.ts with a JSON file that says
// where to listen and where to send.

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type Dispatcher, Pool } from 'undici'
import { hostOf } from '../setting.ts'

interface Settings {
  port: number
  origin: { address: string; port: number }
  services: number
  observed: boolean
}

const settings = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Settings
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'expect',
])
const options = { connections: null, keepAliveTimeout: 60_000 }
const pools = new Map(
  Array.from({ length: settings.services }, (_, index) => [
    hostOf(index),
    new Pool(`http://${settings.origin.address}:${settings.origin.port}`, options),
  ]),
)
const first = pools.get(hostOf(0))!

let lines = ''
setInterval(() => {
  if (lines !== '') process.stdout.write(lines)
  lines = ''
}, 100).unref()

const server = createServer((request, response) => {
  const headers = forwardable(request.rawHeaders)
  headers.push('x-forwarded-for', request.socket.remoteAddress ?? '')
  if (settings.observed) headers.push('x-request-id', randomUUID())
  const hasBody =
    request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0
  const pool = pools.get(request.headers.host ?? '') ?? first
  pool.dispatch(
    { path: request.url!, method: request.method as Dispatcher.HttpMethod, headers, body: hasBody ? request : null },
    relay(request, response),
  )
})
server.keepAliveTimeout = 600_000
server.maxRequestsPerSocket = 0
server.listen({ port: settings.port, host: '127.0.0.1', backlog: 4096 })

function forwardable(raw: readonly string[]): string[] {
  const kept: string[] = []
  for (let at = 0; at < raw.length; at += 2) {
    if (!hopByHop.has(raw[at]!.toLowerCase())) kept.push(raw[at]!, raw[at + 1]!)
  }
  return kept
}

function relay(request: IncomingMessage, response: ServerResponse): Dispatcher.DispatchHandler {
  const startedAt = settings.observed ? performance.now() : 0
  return {
    onRequestStart() {
      // Nothing to keep: the caller's disappearance ends the response, and with it the upstream request.
    },
    onResponseStart(controller, status) {
      const raw = (controller.rawHeaders as Buffer[]).map((value) => value.toString('latin1'))
      response.writeHead(status, forwardable(raw))
      response.once('close', () => {
        if (!response.writableFinished) controller.abort(new Error('the caller has gone'))
      })
    },
    onResponseData(controller, chunk) {
      if (response.write(chunk)) return
      controller.pause()
      response.once('drain', () => controller.resume())
    },
    onResponseEnd() {
      response.end()
      if (settings.observed) log(request, response, performance.now() - startedAt)
    },
    onResponseError() {
      if (response.headersSent) response.destroy()
      else response.writeHead(502).end()
    },
  }
}

function log(request: IncomingMessage, response: ServerResponse, ms: number): void {
  const { method, url: path } = request
  const caller = request.socket.remoteAddress
  const fields = { time: new Date().toISOString(), caller, method, host: request.headers.host, path }
  lines += `${JSON.stringify({ ...fields, status: response.statusCode, ms })}\n`
}

process.once('SIGTERM', () => process.exit(0))
