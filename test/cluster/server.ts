// Runs in the pods of the fleet: answers HTTP with what it was asked (port 8080), echoes bytes (port 7000), and tells whoever
// comes past the mesh what it has seen (port 8081). Goes on for a while after SIGTERM, as well-behaved programs do. Only
// Node's own modules.

import http from 'node:http'
import net from 'node:net'

/** The answer to a request. */
export interface Echo {
  pod: string
  node: string
  method: string
  url: string
  headers: Record<string, string>
}

const { POD = '', NODE = '', LINGER_MS = '3000' } = process.env
/** How often each `x-mark` came, with the identities that the mesh named. */
const seen: Record<string, { count: number; identities: string[] }> = {}
let isEnding = false

const server = http.createServer({ keepAliveTimeout: 65_000, noDelay: true }, (request, response) => {
  request.resume()
  const { method = '', url = '', headers } = request
  const mark = headers['x-mark']
  if (typeof mark === 'string') {
    seen[mark] ??= { count: 0, identities: [] }
    seen[mark].count++
    const identity = String(headers['x-forwarded-client-cert'] ?? '')
    if (!seen[mark].identities.includes(identity)) seen[mark].identities.push(identity)
  }
  const body = JSON.stringify({ pod: POD, node: NODE, method, url, headers })
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-shop-service': 'echo',
    'x-shop-pod': POD,
    ...(isEnding ? { connection: 'close' } : {}),
  })
  response.end(method === 'HEAD' ? undefined : body)
})
server.listen(8080)

http.createServer((_request, response) => response.end(JSON.stringify(seen))).listen(8081)

net
  .createServer((socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  .listen(7000)

process.on('SIGTERM', () => {
  isEnding = true
  setTimeout(() => {
    server.close(() => process.exit(0))
    server.closeIdleConnections()
    setTimeout(() => process.exit(0), 10_000).unref()
  }, Number(LINGER_MS))
})
