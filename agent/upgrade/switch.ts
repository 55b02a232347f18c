// The switch of protocols itself, by http-proxy's ws() on wires that are given. What it is known to get wrong is put right
// here: a caller that leaves early, an endpoint that never answers, a refusal that would be tunnelled, a path that would
// be rewritten (RFC 9110 section 7.8). Loaded at the first upgrade.

import { Agent, type ClientRequest, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ServerOptions } from 'http-proxy'
import { MeshError } from '../errors.ts'
import { readTokens } from '../http1/fields.ts'
import type { WireDuplex } from './duplex.ts'
import { loadHttpProxy } from './load.ts'

/** A switch that is asked for, and how it has come out: one of the three is called, once. */
export interface Switch {
  /** The caller's wire, not open yet. */
  readonly down: WireDuplex
  /** The endpoint's, open. */
  readonly up: WireDuplex
  /** The request's head as it goes to the endpoint, with its Connection and Upgrade lines, latin1. */
  readonly head: string
  /** The endpoint has agreed: from here on bytes go both ways, unless an error is returned. */
  onSwitched(): MeshError | null
  /** The endpoint has refused; its answer is passed on by whoever is told. */
  onRefused(response: IncomingMessage): void
  /** No answer has come, or none that can be understood. */
  onFailed(error: MeshError): void
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

const proxy = loadHttpProxy().createProxyServer({})
// The first pass refuses all protocols but websocket; which upgrades are let through was decided before.
;(proxy as unknown as { wsPasses: unknown[] }).wsPasses.shift()

/** http-proxy hands its options to its listeners: ours is among them. */
interface SwitchOptions extends ServerOptions {
  readonly onAsk: (ask: ClientRequest) => void
}

// Before http-proxy adds its own listeners, so that ours come first.
proxy.on('proxyReqWs', (ask: ClientRequest, _request, _socket, options) => (options as SwitchOptions).onAsk(ask))

/**
 * Begins a switch.
 * @returns gives up; nothing is called after it
 */
export function switchProtocols(wanted: Switch): () => void {
  const { down, up, head } = wanted
  // What breaks one side breaks the other; http-proxy would end it as if it were done.
  up.on('error', (error) => down.destroy(error))
  down.on('error', (error) => up.destroy(error))
  // http-proxy writes the head as text; header values are latin1.
  down.setDefaultEncoding('latin1')
  let isOver = false
  const once = (tell: () => void) => {
    if (isOver) return
    isOver = true
    tell()
  }
  const guarded: Switch = {
    down,
    up,
    head,
    onSwitched: () => wanted.onSwitched(),
    onRefused: (response) => once(() => wanted.onRefused(response)),
    onFailed: (error) => once(() => wanted.onFailed(error)),
  }
  const request = readRequest(head)
  let asked: ClientRequest | null = null
  const options: SwitchOptions = {
    // Parsed already: http-proxy would use url.parse, which is deprecated.
    target: { protocol: 'http:', host: 'endpoint', hostname: 'endpoint', port: 80 },
    toProxy: true,
    agent: new OneConnection(up),
    onAsk: (ask) => {
      asked = ask
      guard(ask, request.url!, guarded)
    },
  }
  proxy.ws(request, down, Buffer.alloc(0), options, (error: Error) => {
    guarded.onFailed(new MeshError('upstream_reset', error.message, { cause: error }))
  })
  // http-proxy would write a refusal's body without its framing and leave the connection open.
  const ask = asked as ClientRequest | null
  ask?.removeAllListeners('response').once('response', (response) => guarded.onRefused(response))
  return () => {
    isOver = true
    up.destroy(new Error('given up'))
  }
}

/** The part of an IncomingMessage that http-proxy reads: names as they were sent, lines of one name together. */
function readRequest(head: string): IncomingMessage {
  const lines = head.split('\r\n')
  const [method, url] = lines[0]!.split(' ')
  const headers = new Map<string, { name: string; values: string[] }>()
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(':')
    if (colon === -1) continue
    const name = line.slice(0, colon)
    const known = headers.get(name.toLowerCase())
    const value = line.slice(colon + 1).trim()
    if (known === undefined) headers.set(name.toLowerCase(), { name, values: [value] })
    else known.values.push(value)
  }
  // There is no body to hold back; and node:http would send the head before `guard` has seen it.
  headers.delete('expect')
  const entries = Array.from(headers.values(), ({ name, values }) => [name, values.length === 1 ? values[0] : values])
  return { method, url, headers: Object.fromEntries(entries) } as IncomingMessage
}

function guard(ask: ClientRequest, target: string, { down, up, head, onSwitched, onFailed }: Switch): void {
  // After a refusal the agent would break the connection off; its end is ours to decide.
  ask.once('socket', () => up.removeAllListeners('free'))
  // http-proxy writes `http:/` in a path as `http://`; what was permitted is what goes out.
  ask.path = target
  ask.once('upgrade', (response: IncomingMessage) => {
    const flaw = flawOf(response, head) ?? onSwitched()
    if (flaw !== null) {
      down.release()
      up.destroy()
      onFailed(flaw)
      return
    }
    clean(response.headers)
    down.open()
    // http-proxy writes the head next, and then says so: what follows counts.
    proxy.once('open', () => {
      down.bytesWritten = 0
    })
  })
  ask.on('information', ({ statusCode }) => {
    if (statusCode === 101) onFailed(new MeshError('upstream_invalid', 'a 101 that names no protocol'))
  })
}

/** RFC 9110 section 7.8: an endpoint may switch to what it was asked for, and to nothing else. */
function flawOf({ headers }: IncomingMessage, head: string): MeshError | null {
  const asked = readTokens(/\r\nupgrade: ([^\r\n]*)/i.exec(head)?.[1] ?? '')
  const chosen = readTokens(headers.upgrade ?? '')
  if (chosen.length > 0 && chosen.every((protocol) => asked.includes(protocol))) return null
  return new MeshError('upstream_invalid', `a switch to ${chosen.join(', ')} where ${asked.join(', ')} was asked for`)
}

/** What an endpoint has no say in. */
function clean(headers: IncomingMessage['headers']): void {
  const { upgrade } = headers
  for (const name of ['keep-alive', 'proxy-connection', 'te', 'x-forwarded-client-cert', 'x-weft-error']) {
    delete headers[name]
  }
  headers.connection = 'upgrade'
  headers.upgrade = upgrade
}
