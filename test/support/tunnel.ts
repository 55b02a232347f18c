// Both ends of a tunnel in one process, on real TLS connections; and wires that remember what they heard.

import type { AddressInfo } from 'node:net'
import { systemClock } from '../../agent/clock.ts'
import type { MeshError } from '../../agent/errors.ts'
import type { Wire, WireHandler } from '../../agent/http1/wire.ts'
import { type Credentials, makeCredentials } from '../../agent/identity/credentials.ts'
import { type Dialer, type DialOptions, makeDialer, type TunnelTarget } from '../../agent/tunnel/dial.ts'
import { type ServeOptions, serveTunnel, type TunnelAsk, type TunnelServer } from '../../agent/tunnel/serve.ts'
import type { TunnelWire } from '../../agent/tunnel/session.ts'
import { formatIdentity } from '../../controller/contract/identity.ts'
import { type Pair, testLeaf, testRoot } from './certificates.ts'

export type TestRoot = ReturnType<typeof testRoot>

/** Credentials of a data thread with certificates for some accounts. */
export function testCredentials(root: TestRoot, ...accounts: string[]): Credentials {
  const credentials = makeCredentials(systemClock, () => {})
  credentials.accept({ type: 'trust', bundle: root.pem, trustDomain: 'cluster.local' })
  for (const account of accounts) give(credentials, account, testLeaf(root, formatIdentity('cluster.local', account)))
  return credentials
}

/** Hands a data thread a certificate. */
export function give(credentials: Credentials, account: string, pair: Pair, expires = Date.now() + 3_600_000): void {
  credentials.accept({ type: 'certificate', account, key: pair.key, chain: pair.pem, expires })
}

/** Remembers what a wire said. */
export class Ear implements WireHandler {
  bytes = Buffer.alloc(0)
  received = 0
  isEnded = false
  drains = 0
  /** undefined: not closed. */
  closed: Error | null | undefined = undefined
  keep = true

  onBytes(chunk: Buffer, start: number, end: number): void {
    this.received += end - start
    if (this.keep) this.bytes = Buffer.concat([this.bytes, chunk.subarray(start, end)])
  }

  onEnd(): void {
    this.isEnded = true
  }

  onDrain(): void {
    this.drains++
  }

  onClose(error: Error | null): void {
    if (this.closed !== undefined) throw new Error('closed twice')
    this.closed = error
  }

  get text(): string {
    return this.bytes.toString('latin1')
  }
}

/** Gives a wire an ear. */
export function listen(wire: Wire): Ear {
  const ear = new Ear()
  wire.handler = ear
  wire.resume()
  return ear
}

export interface TestTunnel {
  root: TestRoot
  client: Credentials
  dialer: Dialer
  server: TunnelServer
  /** Port of the server, on 127.0.0.1. */
  port: number
  /** CONNECTs that came. */
  asks: TunnelAsk[]
  refused: string[]
  target(change?: Partial<TunnelTarget>): TunnelTarget
  /** Opens a stream that the server accepts; both its ends. */
  pair(): Promise<{ near: TunnelWire; far: TunnelWire }>
  close(): void
}

/** What becomes of an `open`. */
export function open(
  dialer: Dialer,
  target: TunnelTarget,
): Promise<{ error: MeshError | null; wire: TunnelWire | null }> {
  return new Promise((resolve) => {
    dialer.open(target, (error, wire) => resolve({ error, wire }))
  })
}

/**
 * Starts both ends: `shop/client` calls `shop/reviews`.
 * @param options.onAsk what the server does with a CONNECT; by default it accepts, with an Ear at its wire
 */
export async function testTunnel(
  options: {
    root?: TestRoot
    client?: Credentials
    server?: Credentials
    dial?: Partial<DialOptions>
    serve?: Partial<ServeOptions>
    onAsk?: (ask: TunnelAsk) => void
  } = {},
): Promise<TestTunnel> {
  const root = options.root ?? testRoot()
  const client = options.client ?? testCredentials(root, 'shop/client')
  let pairs = 0
  const asks: TunnelAsk[] = []
  const refused: string[] = []
  const server = serveTunnel({
    credentials: options.server ?? testCredentials(root, 'shop/reviews', 'shop/ratings'),
    clock: systemClock,
    onAsk(ask) {
      asks.push(ask)
      if (options.onAsk !== undefined) return options.onAsk(ask)
      ask.wire.handler = new Ear()
      ask.accept()
    },
    onRefused: (message) => refused.push(message),
    ...options.serve,
  })
  await server.listen({ address: '127.0.0.1', port: 0 })
  const { port } = server.server.address() as AddressInfo
  const dialer = makeDialer({
    credentials: client,
    clock: systemClock,
    random: () => 0.5,
    connectMs: 2_000,
    ...options.dial,
  })
  const target = (change: Partial<TunnelTarget> = {}): TunnelTarget => ({
    source: 'shop/client',
    destination: 'shop/reviews',
    address: '127.0.0.1',
    port,
    authority: '10.0.0.1:9080',
    ...change,
  })
  return {
    root,
    client,
    dialer,
    server,
    port,
    asks,
    refused,
    target,
    async pair() {
      const authority = `10.0.0.1:${++pairs}`
      const { error, wire } = await open(dialer, target({ authority }))
      if (wire === null) throw error
      return { near: wire, far: asks.find((ask) => ask.authority === authority)!.wire }
    },
    close() {
      dialer.close()
      server.close()
    },
  }
}
