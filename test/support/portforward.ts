// An API server's port-forward over WebSockets (v4.channel.k8s.io), as a kubelet answers it: for tests of what reads pods.

import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { Agent } from 'undici'
import type { Cluster } from '../../controller/observe/access.ts'

export interface PortForward {
  cluster: Cluster
  /** Paths asked for, with the headers that came along. */
  asked: { path: string; headers: Record<string, string | string[] | undefined> }[]
  close(): Promise<void>
}

/** RFC 6455 section 1.3. */
const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/**
 * Starts one.
 * @param reach gives the local port that a pod's port stands for; a text is the error that the kubelet reports
 */
export async function startPortForward(reach: (pod: string, port: number) => number | string): Promise<PortForward> {
  const asked: PortForward['asked'] = []
  const sockets = new Set<Socket>()
  const server = createServer((_request, response) => response.writeHead(403).end('{"message":"pods is forbidden"}'))
  server.on('upgrade', (request, raw) => {
    const socket = raw as Socket
    sockets.add(socket)
    const url = new URL(request.url ?? '', 'http://api')
    asked.push({ path: url.pathname + url.search, headers: request.headers })
    const pod = /\/pods\/([^/]+)\/portforward$/.exec(url.pathname)?.[1] ?? ''
    const port = Number(url.searchParams.get('ports'))
    const key = createHash('sha1')
      .update(request.headers['sec-websocket-key'] + guid)
      .digest('base64')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n`,
    )
    serve(socket, port, reach(pod, port))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const dispatcher = new Agent()
  return {
    asked,
    cluster: {
      server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      access: async () => ({
        dispatcher,
        headers: { authorization: 'Bearer secret', 'Impersonate-Group': ['a', 'b'] },
      }),
      close: () => dispatcher.destroy(),
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.closeAllConnections()
      await dispatcher.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function serve(socket: Socket, port: number, target: number | string): void {
  socket.on('error', () => {})
  const number = Buffer.alloc(2)
  number.writeUInt16LE(port)
  // Each channel begins with the port's number.
  for (const channel of [0, 1]) socket.write(frame(Buffer.concat([Buffer.of(channel), number])))
  if (typeof target === 'string') {
    socket.write(frame(Buffer.concat([Buffer.of(1), Buffer.from(target)])))
    return
  }
  const upstream = connect(target, '127.0.0.1')
  upstream.on('error', () => socket.destroy())
  upstream.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; at += 16_384) {
      socket.write(frame(Buffer.concat([Buffer.of(0), chunk.subarray(at, at + 16_384)])))
    }
  })
  upstream.on('end', () => socket.end(Buffer.of(0x88, 0)))
  let held = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    for (let message = unframe(held); message !== null; message = unframe(held)) {
      held = held.subarray(message.length)
      if (message.opcode === 8) upstream.end()
      else if (message.payload[0] === 0) upstream.write(message.payload.subarray(1))
    }
  })
  socket.on('close', () => upstream.destroy())
}

/** One frame of a server, of less than 64 KiB. */
function frame(payload: Buffer): Buffer {
  const head =
    payload.length < 126
      ? Buffer.of(0x82, payload.length)
      : Buffer.of(0x82, 126, payload.length >> 8, payload.length & 255)
  return Buffer.concat([head, payload])
}

/** One masked frame of a client, of less than 64 KiB. */
function unframe(bytes: Buffer): { opcode: number; payload: Buffer; length: number } | null {
  if (bytes.length < 6) return null
  const short = bytes[1]! & 0x7f
  const start = short === 126 ? 4 : 2
  const size = short === 126 ? bytes.readUInt16BE(2) : short
  if (bytes.length < start + 4 + size) return null
  const mask = bytes.subarray(start, start + 4)
  const payload = Buffer.from(bytes.subarray(start + 4, start + 4 + size)).map((byte, index) => byte ^ mask[index % 4]!)
  return { opcode: bytes[0]! & 15, payload: Buffer.from(payload), length: start + 4 + size }
}
