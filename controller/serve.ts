// One HTTP server of the controller: the agents' link and the admin port are two of them.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { type TlsOptions, Server as TlsServer } from 'node:tls'
import { ConfigError } from './errors.ts'

export interface Server {
  readonly port: number
  /** Stops listening; connections that are left after the grace are cut. */
  close(graceMs: number): Promise<void>
}

/** Answers a request, or returns false if the path is not its own. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => boolean

/** TLS of a server: what to begin with, and who keeps it up to date. */
export interface ServerTls {
  options(): TlsOptions
  attach(server: TlsServer): void
}

const limits = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 65_000, maxHeaderSize: 16 << 10 }

/**
 * Listens and hands requests to the first handler that wants them; what none wants gets 404.
 * @param address empty: all of this machine's
 * @throws ConfigError if the address can't be used
 */
export async function startServer(
  address: string,
  port: number,
  handlers: readonly Handler[],
  tls?: ServerTls,
): Promise<Server> {
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    if (handlers.some((handle) => handle(request, response))) return
    response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n')
  }
  const server =
    tls === undefined ? createServer(limits, answer) : createTlsServer({ ...limits, ...tls.options() }, answer)
  if (server instanceof TlsServer) tls?.attach(server)
  // Also those that have not finished their handshake, which HTTP does not know of.
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (thrown: NodeJS.ErrnoException) => {
      reject(new ConfigError(`can't listen on ${address || '*'}:${port}: ${thrown.code ?? thrown.message}`))
    })
    // Node itself takes IPv4 alone where there is no IPv6.
    server.listen({ port, ...(address === '' ? {} : { host: address }) }, resolve)
  })

  async function close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeIdleConnections()
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy()
    }, graceMs)
    await closed
    clearTimeout(timer)
  }

  return { port: (server.address() as AddressInfo).port, close }
}
