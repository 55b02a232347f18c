// The tunnel's server side: other agents connect here, prove who their caller is, and ask for streams to pods of this
// node. Who may have which is decided by inbound/; here stands who they are.

import { once } from 'node:events'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { Identity } from '../../controller/contract/identity.ts'
import type { Key } from '../../controller/contract/resources.ts'
import type { Clock, Timer } from '../clock.ts'
import { plainAddress } from '../http1/tcp.ts'
import type { Credentials } from '../identity/credentials.ts'
import { tlsRules } from '../identity/key.ts'
import { peerIdentity } from '../identity/trust.ts'
import type { Header } from './hpack.ts'
import { Mux } from './mux.ts'
import type { Ask, Session, StartSession } from './session.ts'

/** A CONNECT, with what the handshake has proved. */
export interface TunnelAsk extends Ask {
  /** The caller's identity, from its certificate. The agents' own account stands for a caller without one. */
  readonly peer: Identity
  /** The account of this node whose certificate was shown: the pod that is asked for must be of it. */
  readonly account: Key
  /** Address of the peer agent. */
  readonly remoteAddress: string
}

export interface ServeOptions {
  credentials: Credentials
  clock: Clock
  onAsk(ask: TunnelAsk): void
  /** A connection that got no session, and why. */
  onRefused(message: string, remoteAddress: string): void
  /** Sent with each stream that is accepted. */
  answerHeaders?: readonly Header[]
  /** Connections at once; 0: no limit. */
  connectionLimit?: number
  handshakeMs?: number
  startSession?: StartSession
}

export interface TunnelServer {
  readonly server: Server
  listen(where: { address: string; port: number; reusePort?: boolean }): Promise<void>
  readonly openSessions: number
  /** Accounts that peers have sessions from and to, for policy changes and debug pages. */
  sessions(): { peer: Identity; account: Key; remoteAddress: string; streams: number }[]
  /** Takes no connections and no streams any more; sessions close when their streams have ended. */
  drain(): void
  /** Breaks everything. */
  close(): void
}

interface Live {
  readonly session: Session
  readonly peer: Identity
  readonly account: Key
  readonly remoteAddress: string
  /** When the peer's certificate or ours ends, ms since the epoch. */
  readonly expires: number
}

const checkMs = 1_000
const defaultHandshakeMs = 5_000

/** Makes the server of one data thread. */
export function serveTunnel(options: ServeOptions): TunnelServer {
  const { credentials, clock } = options
  const startSession: StartSession = options.startSession ?? ((socket, role, events) => new Mux(socket, role, events))
  const live = new Set<Live>()
  const sockets = new Set<TLSSocket>()
  let timer: Timer | null = null
  let isDraining = false

  const server = createServer({
    ...tlsRules,
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
    handshakeTimeout: options.handshakeMs ?? defaultHandshakeMs,
    noDelay: true,
    // No certificate of its own: without a name that is known the handshake ends with an alert, never with a default one.
    SNICallback: (name, answer) => answer(null, credentials.bySni(name)?.context),
  })
  if (options.connectionLimit !== undefined && options.connectionLimit > 0)
    server.maxConnections = options.connectionLimit
  server.on('tlsClientError', (error, socket) => {
    options.onRefused(error.message, plainAddress(socket.remoteAddress ?? ''))
    socket.destroy()
  })
  server.on('secureConnection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    try {
      begin(socket)
    } catch (thrown) {
      options.onRefused((thrown as Error).message, plainAddress(socket.remoteAddress ?? ''))
      socket.on('error', () => {})
      socket.destroy()
    }
  })

  function begin(socket: TLSSocket): void {
    if (socket.alpnProtocol !== 'h2') throw new Error('the peer does not speak HTTP/2')
    const peer = peerIdentity(socket, credentials.trustDomain)
    const own = credentials.bySni(typeof socket.servername === 'string' ? socket.servername : '')
    if (own === null) throw new Error('the identity that was asked for has left the node')
    const peerEnds = socket.getPeerX509Certificate()?.validToDate.getTime() ?? 0
    const remoteAddress = plainAddress(socket.remoteAddress ?? '')
    const { account } = own
    const session = startSession(socket, 'server', {
      onAsk: (ask) => options.onAsk({ ...ask, peer, account, remoteAddress }),
      answerHeaders: options.answerHeaders ?? [],
      onChange: () => {},
      onDraining: () => {},
      onClose: () => live.delete(each),
    })
    const each: Live = { session, peer, account, remoteAddress, expires: Math.min(peerEnds, own.expires) }
    live.add(each)
    if (isDraining) session.drain()
    arm()
  }

  function check(): void {
    timer = null
    for (const { session, expires } of [...live]) {
      session.check(clock.now())
      if (expires <= clock.wall()) session.drain()
    }
    arm()
  }

  function arm(): void {
    if (timer !== null || live.size === 0) return
    timer = clock.setTimeout(check, checkMs)
    timer.unref()
  }

  credentials.onForget((account) => {
    for (const each of [...live])
      if (each.account === account) each.session.destroy(new Error(`no pod of ${account} is left on this node`))
  })

  return {
    server,
    async listen({ address, port, reusePort = false }) {
      server.listen({ host: address, port, reusePort })
      await once(server, 'listening')
    },
    get openSessions() {
      return live.size
    },
    sessions: () =>
      [...live].map(({ peer, account, remoteAddress, session }) => ({
        peer,
        account,
        remoteAddress,
        streams: session.openStreams,
      })),
    drain() {
      isDraining = true
      server.close()
      for (const { session } of [...live]) session.drain()
    },
    close() {
      isDraining = true
      server.close()
      if (timer !== null) clock.clearTimeout(timer)
      for (const socket of sockets) socket.destroy()
    },
  }
}
