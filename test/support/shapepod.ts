// What the pods of the shapes suite run: servers on the ports of the command line, `8080` for HTTP and `8080:tcp` for opaque
// bytes. Serves on for a while after SIGTERM, as any pod that wants to lose no request, and ends when nothing is open.

import http from 'node:http'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** After SIGTERM new connections are still served for so long. */
const lingerMs = Number(process.env.LINGER_MS ?? 700)
const pod = process.env.HOSTNAME ?? ''
const servers: (http.Server | net.Server)[] = []
let isEnding = false

/** Says who answers and on which port; `/slow?500` takes its time, in two pieces. */
function httpServer(port: number): http.Server {
  return http.createServer((request, response) => {
    const [path, ms = '0'] = (request.url ?? '/').split('?')
    if (path === '/never') return void response.writeHead(503).end()
    response.writeHead(200, isEnding ? { connection: 'close' } : {})
    const text = JSON.stringify({ pod, port, host: request.headers.host })
    if (path !== '/slow') return void response.end(text)
    response.write(text.slice(0, 1))
    void sleep(Number(ms)).then(() => response.end(text.slice(1)))
  })
}

/** Greets with its name and port, then sends back what comes. */
function tcpServer(port: number): net.Server {
  return net.createServer((socket) => {
    socket.on('error', () => {})
    socket.write(`${pod} ${port}\n`)
    socket.pipe(socket)
  })
}

for (const word of process.argv.slice(2)) {
  const [number = '', kind = 'http'] = word.split(':')
  const port = Number(number)
  const server = kind === 'tcp' ? tcpServer(port) : httpServer(port)
  servers.push(server.listen(port))
}

process.on('SIGTERM', () => {
  isEnding = true
  setTimeout(() => {
    for (const server of servers) {
      server.close()
      if (server instanceof http.Server) server.closeIdleConnections()
    }
  }, lingerMs)
})
