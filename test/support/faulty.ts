// A server for pods of tests that can be told to misbehave: GET /fault/<mode> sets how every other request is answered:
// `none`: 200, `500`: that status, `hang`: never.

import http from 'node:http'

let mode = 'none'

const server = http.createServer((request, response) => {
  const { url = '/' } = request
  if (url.startsWith('/fault/')) mode = url.slice('/fault/'.length)
  const isControl = url.startsWith('/fault/') || url === '/healthz'
  if (mode === 'hang' && !isControl) return
  const status = mode === '500' && !isControl ? 500 : 200
  response.writeHead(status, { 'x-pod': process.env.HOSTNAME }).end('answer\n')
})
server.listen(9080)
process.on('SIGTERM', () => process.exit(0))
