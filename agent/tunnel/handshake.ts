// The client's handshake with a peer: TCP, TLS with the caller's certificate, and the check that the other side is who was
// asked for.

import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { formatIdentity } from '../../controller/contract/identity.ts'
import type { Key } from '../../controller/contract/resources.ts'
import { joinPort } from '../address.ts'
import type { Clock } from '../clock.ts'
import { MeshError, type Reason } from '../errors.ts'
import type { Credential } from '../identity/credentials.ts'
import { sniLabel } from '../identity/sni.ts'
import { peerIdentity } from '../identity/trust.ts'

export interface HandshakeOptions {
  address: string
  port: number
  /** Address to connect from; the system chooses if it is absent. */
  localAddress?: string | undefined
  /** The account that the peer must prove. */
  destination: Key
  trustDomain: string
  credential: Credential
  clock: Clock
  timeoutMs: number
}

/**
 * Connects to a peer.
 * @param done called once: with a socket that speaks HTTP/2 and the time (ms since the epoch) when the first of both
 *   certificates ends, or with no_peer or tls_failed
 * @returns the socket, to be destroyed by whoever gives up
 */
export function handshake(
  options: HandshakeOptions,
  done: (error: MeshError | null, socket: TLSSocket, expires: number) => void,
): TLSSocket {
  const { address, port, localAddress, destination, trustDomain, credential, clock, timeoutMs } = options
  const socket = connect({
    host: address,
    port,
    ...(localAddress === undefined ? {} : { localAddress }),
    secureContext: credential.context,
    servername: sniLabel(formatIdentity(trustDomain, destination)),
    ALPNProtocols: ['h2'],
    rejectUnauthorized: true,
    // Names of hosts mean nothing here; `peerIdentity` looks at what does.
    checkServerIdentity: () => undefined,
    noDelay: true,
  } as ConnectionOptions)
  let isConnected = false

  const settle = (error: MeshError | null, expires = 0) => {
    clock.clearTimeout(late)
    for (const event of ['connect', 'error', 'close', 'secureConnect']) socket.removeAllListeners(event)
    if (error !== null) {
      // What it still has to say changes nothing.
      socket.on('error', () => {})
      socket.destroy()
    }
    done(error, socket, expires)
  }
  const refuse = (reason: Reason, what: string) =>
    settle(new MeshError(reason, `the agent at ${joinPort(address, port)}: ${what}`))
  const broken = (what: string) => refuse(isConnected ? 'tls_failed' : 'no_peer', what)
  const late = clock.setTimeout(
    () =>
      broken(
        isConnected
          ? `no TLS handshake within ${timeoutMs} ms`
          : `no connection within ${timeoutMs} ms; maybe a NetworkPolicy blocks port ${port}`,
      ),
    timeoutMs,
  )

  socket.once('connect', () => {
    isConnected = true
  })
  socket.once('error', (error) => broken(error.message))
  socket.once('close', () => broken('the connection was closed'))
  socket.once('secureConnect', () => {
    try {
      if (socket.alpnProtocol !== 'h2') throw new Error('it does not speak HTTP/2')
      const { account } = peerIdentity(socket, trustDomain)
      if (account !== destination) throw new Error(`its certificate is of ${account}, not of ${destination}`)
    } catch (thrown) {
      refuse('tls_failed', (thrown as Error).message)
      return
    }
    const peerEnds = socket.getPeerX509Certificate()?.validToDate.getTime() ?? 0
    settle(null, Math.min(credential.expires, peerEnds))
  })
  return socket
}
