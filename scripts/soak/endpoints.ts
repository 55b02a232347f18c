// The pods of a soak: each does what the path asks for, good or bad.

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a response of `/large/N` consists of: byte i is the letter number i mod 26. */
export function pattern(bytes: number): Buffer {
  return Buffer.alloc(bytes, 'abcdefghijklmnopqrstuvwxyz')
}

const large = pattern(1 << 20)

type Behaviour = (request: IncomingMessage, response: ServerResponse, rest: string) => void

const behaviours: Record<string, Behaviour> = {
  // What was asked for is in the answer, so that an answer to somebody else's question is noticed.
  echo: (_request, response, id) => response.end(id),
  chunks: (_request, response, id) => {
    for (const letter of id) response.write(letter)
    response.end()
  },
  digest: (request, response, id) => {
    const hash = createHash('sha1')
    request.on('data', (chunk: Buffer) => hash.update(chunk))
    request.on('end', () => response.end(`${id} ${hash.digest('hex')}`))
  },
  large: (_request, response) => {
    response.writeHead(200, { 'content-length': large.length }).end(large)
  },
  status: (_request, response, status) => response.writeHead(Number(status)).end('failed'),
  slow: (_request, response, id) => {
    setTimeout(() => response.end(id), 200)
  },
  hang: () => {
    // Never answered.
  },
  reset: (_request, response) => {
    response.socket?.resetAndDestroy()
  },
  cut: (_request, response) => {
    response.writeHead(200, { 'content-length': 1000 }).write('x')
    setTimeout(() => response.socket?.destroy(), 5)
  },
  garbage: (_request, response) => {
    response.socket?.end('HTTP/1.1 2\0 what\r\n\r\n')
  },
  twice: (_request, response, id) => {
    response.socket?.write(`HTTP/1.1 200 OK\r\nContent-Length: ${id.length}\r\n\r\n${id}`.repeat(2))
  },
  early: (_request, response, id) => response.writeHead(413, { connection: 'close' }).end(id),
}

export interface Endpoint {
  readonly port: number
  stop(): Promise<void>
}

/** Starts one on an address of loopback. */
export async function startEndpoint(address: string): Promise<Endpoint> {
  const server: Server = createServer((request, response) => {
    request.on('error', () => {})
    response.on('error', () => {})
    const [, kind = '', rest = ''] = (request.url ?? '').split('/')
    const behaviour = behaviours[kind] ?? behaviours['echo']!
    behaviour(request, response, rest)
    if (kind !== 'digest') request.resume()
  })
  server.keepAliveTimeout = 60_000
  server.on('upgrade', (request, socket) => {
    socket.on('error', () => socket.destroy())
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\n`,
    )
    socket.pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
