// Control thread: the agents' DNS on UDP and TCP. Keeps nothing about a query once it is answered; what can be held open
// (TCP connections) or pile up (datagrams to send) is bounded.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, createServer, isIPv6, type Socket } from 'node:net'
import { listenOn } from '../address.ts'
import { errorFields, type Log } from '../observe/log.ts'
import { answerQuery, type Rcode } from './answer.ts'
import type { Zone } from './zone.ts'

export interface DnsOptions {
  readonly address: string
  /** 0: one that is free. */
  readonly port: number
  readonly zone: () => Zone
  readonly log: Log
}

export interface DnsServer {
  readonly port: number
  /** Queries answered, by the code of the response. */
  readonly answered: ReadonlyMap<Rcode, number>
  /** Queries not answered: responses, fragments, or too much to send. */
  readonly ignored: () => number
  close(): Promise<void>
}

/** CoreDNS keeps a few connections; anybody else has no reason to keep many. */
const maxConnections = 64
const idleMs = 10_000
/** Datagrams waiting in Node to be sent: beyond it the network is not taking them. */
const maxUnsent = 1000

/** Opens both ports. @throws if one can't be opened */
export async function serveDns({ address, port, zone, log }: DnsOptions): Promise<DnsServer> {
  const answered = new Map<Rcode, number>()
  let ignored = 0
  const respond = (query: Uint8Array, isStream: boolean): Buffer | null => {
    const answer = answerQuery(query, zone(), isStream)
    if (answer === null) ignored++
    else answered.set(answer.rcode, (answered.get(answer.rcode) ?? 0) + 1)
    return answer?.bytes ?? null
  }

  const connections = new Set<Socket>()
  const tcp = createServer((socket) => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    attend(socket, (query) => respond(query, true))
  })
  tcp.maxConnections = maxConnections
  tcp.listen(listenOn(address, port))
  await once(tcp, 'listening')
  const bound = (tcp.address() as AddressInfo).port

  const udp = createSocket(isIPv6(address) ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' })
  udp.on('message', (query, sender) => {
    if (udp.getSendQueueCount() >= maxUnsent) {
      ignored++
      return
    }
    const bytes = respond(query, false)
    // Nobody but the sender suffers if an answer can't be sent.
    if (bytes !== null) udp.send(bytes, sender.port, sender.address, () => {})
  })
  try {
    udp.bind(bound, address)
    await once(udp, 'listening')
  } catch (error) {
    tcp.close()
    throw error
  }
  for (const server of [tcp, udp]) server.on('error', (error) => log.warn(errorFields(error), 'DNS socket error'))

  return {
    port: bound,
    answered,
    ignored: () => ignored,
    async close() {
      for (const socket of connections) socket.destroy()
      await Promise.all([
        new Promise<void>((resolve) => udp.close(() => resolve())),
        new Promise<void>((resolve) => tcp.close(() => resolve())),
      ])
    },
  }
}

/** Messages on a stream, each with its length before it (RFC 1035 section 4.2.2), answered in their order. */
function attend(socket: Socket, respond: (query: Uint8Array) => Buffer | null): void {
  let held: Buffer = Buffer.alloc(0)
  socket.setTimeout(idleMs, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
      const end = 2 + held.readUInt16BE(0)
      const bytes = respond(held.subarray(2, end))
      held = held.subarray(end)
      // A message that deserves no answer ends the conversation: a stream has no other way to say so.
      if (bytes === null) {
        socket.destroy()
        return
      }
      const length = Buffer.alloc(2)
      length.writeUInt16BE(bytes.length)
      if (!socket.write(Buffer.concat([length, bytes]))) socket.pause()
    }
  })
  socket.on('drain', () => socket.resume())
}
