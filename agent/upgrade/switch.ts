// The switch of protocols itself, by http-proxy's ws() on wires that are given. Its known leaks are guarded here: a
// caller that leaves early, an endpoint that never answers, a refusal that would be tunnelled (RFC 9110 section 7.8).
// Loaded at the first upgrade; node:http is strict about everything else.

import { Agent, type ClientRequest, createServer, type IncomingMessage, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import httpProxy from 'http-proxy'
import type { WireDuplex } from './duplex.ts'

/** How the switch has come out. */
export interface SwitchEvents {
  /** The endpoint has agreed: from here on bytes go both ways. */
  onSwitched(): void
  /** The endpoint has refused with this status, and the refusal was passed on. */
  onRefused(status: number): void
  /** No answer has come. */
  onFailed(error: Error): void
}

interface Pending {
  readonly up: WireDuplex
  readonly events: SwitchEvents
}

/** Gives the one connection that it was made for. */
class OneConnection extends Agent {
  private readonly duplex: Duplex

  constructor(duplex: Duplex) {
    super({ keepAlive: false })
    this.duplex = duplex
  }

  override createConnection(): Duplex {
    return this.duplex
  }
}

const proxy = httpProxy.createProxyServer({ changeOrigin: false, xfwd: false })
// The first pass refuses all protocols but websocket; which upgrades are let through was decided before.
const passes = (proxy as unknown as { wsPasses: unknown[] }).wsPasses
passes.shift()
const pending = new WeakMap<object, Pending>()
const server: Server = createServer()
// The head was parsed and limited by our engine already.
server.maxHeadersCount = 0
server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
  const own = pending.get(socket)
  if (own !== undefined) forward(request, socket, head, own)
})
server.on('clientError', (_error: Error, socket: Duplex) => {
  socket.destroy()
})

/**
 * Begins the switch.
 * @param down the caller's wire
 * @param up the endpoint's wire, connected
 * @param head the request's head as it goes to the endpoint, with its Connection and Upgrade lines, latin1
 */
export function switchProtocols(down: WireDuplex, up: WireDuplex, head: string, events: SwitchEvents): void {
  pending.set(down, { up, events })
  up.once('close', () => up.destroyed && down.destroy())
  down.unshift(Buffer.from(head, 'latin1'))
  server.emit('connection', down)
}

proxy.on('proxyReqWs', (ask: ClientRequest, _request: IncomingMessage, socket: Duplex) => {
  const own = pending.get(socket)
  if (own !== undefined) guard(ask, socket, own.up, own.events)
})

function forward(request: IncomingMessage, socket: Duplex, head: Buffer, { up, events }: Pending): void {
  proxy.ws(request, socket, head, { target: 'http://endpoint', agent: new OneConnection(up) }, (error: Error) => {
    events.onFailed(error)
  })
}

/** Runs before http-proxy adds its own listeners. */
function guard(ask: ClientRequest, socket: Duplex, up: WireDuplex, events: SwitchEvents): void {
  // A caller that leaves before the answer: the endpoint's connection goes with it.
  const leave = () => {
    ask.destroy()
    up.destroy(new Error('the caller has gone'))
  }
  socket.once('close', leave)
  ask.once('upgrade', () => {
    socket.off('close', leave)
    socket.once('close', () => up.destroy())
    events.onSwitched()
  })
  ask.once('response', (response) => {
    // http-proxy skips its own handling, which writes the body without its framing and leaves the connection open.
    ;(response as unknown as { upgrade: boolean }).upgrade = true
    refuse(response, socket)
    events.onRefused(response.statusCode ?? 502)
  })
}

/** Passes a refusal on as a response that ends with the connection. */
function refuse(response: IncomingMessage, socket: Duplex): void {
  const skipped = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'content-length'])
  let head = `HTTP/1.1 ${response.statusCode} ${response.statusMessage}\r\n`
  for (let at = 0; at + 1 < response.rawHeaders.length; at += 2) {
    const name = response.rawHeaders[at]!
    if (!skipped.has(name.toLowerCase())) head += `${name}: ${response.rawHeaders[at + 1]}\r\n`
  }
  socket.write(`${head}connection: close\r\n\r\n`, 'latin1')
  response.pipe(socket)
}
