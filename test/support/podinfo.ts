// The application that canary tools are tried with: it says its version, fails when it is told to, and after SIGTERM goes on
// serving for a moment, because callers learn of its end later than it does.

import { createServer } from 'node:http'

const lingerMs = 1_000

let status = 200
const { VERSION: version = '', POD: pod = '' } = process.env
const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://podinfo')
  if (pathname === '/status') status = Number(searchParams.get('code') ?? 200)
  const isControl = pathname === '/status' || pathname === '/healthz'
  response.writeHead(isControl ? 200 : status, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ version, pod }))
})
server.listen(Number(process.env['PORT'] ?? 9898))
process.once('SIGTERM', () => {
  setTimeout(() => {
    server.close(() => process.exit(0))
    server.closeIdleConnections()
  }, lingerMs)
})
