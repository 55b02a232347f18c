// `pods/portforward`: a connection to a pod's port over a WebSocket, as the kubelet answers it (v4.channel.k8s.io): each message
// begins with a channel's number, 0 for data and 1 for errors, and the first of each channel carries the port. What
// `weft agents` reads pods by; kubectl speaks another protocol.

import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'

/** Where a port of a pod is reached on this machine; a text is the error that whoever asks is told. */
export type Reach = (pod: { namespace: string; name: string }, port: number) => { host: string; port: number } | string

const protocol = 'v4.channel.k8s.io'
const path = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)\/portforward$/
/** RFC 6455 section 1.3. */
const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const closeOpcode = 8
const mostBytes = 16_384

/** Answers a request to upgrade. @param isAllowed whether whoever asks may */
export function answerForward(request: IncomingMessage, socket: Duplex, isAllowed: boolean, reach: Reach): void {
  socket.on('error', () => {})
  const url = new URL(request.url ?? '/', 'http://local')
  const [, namespace = '', name = ''] = path.exec(url.pathname) ?? []
  const key = request.headers['sec-websocket-key']
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((each) => each.trim())
  const refusal = refusalOf(isAllowed, name, key, offered)
  if (refusal !== '' || key === undefined) {
    socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
    return
  }
  const accept = createHash('sha1')
    .update(key + guid)
    .digest('base64')
  const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade']
  socket.write(
    `${[...head, `Sec-WebSocket-Accept: ${accept}`, `Sec-WebSocket-Protocol: ${protocol}`].join('\r\n')}\r\n\r\n`,
  )
  const port = Number(url.searchParams.get('ports'))
  carry(socket, port, reach({ namespace, name }, port))
}

function refusalOf(isAllowed: boolean, name: string, key: string | undefined, offered: string[]): string {
  if (!isAllowed) return '401 Unauthorized'
  if (name === '') return '404 Not Found'
  return key === undefined || !offered.includes(protocol) ? '400 Bad Request' : ''
}

function carry(socket: Duplex, port: number, target: { host: string; port: number } | string): void {
  const number = Buffer.alloc(2)
  number.writeUInt16LE(port)
  for (const channel of [0, 1]) send(socket, channel, number)
  if (typeof target === 'string') {
    send(socket, 1, Buffer.from(target))
    return
  }

  const upstream = connect(target.port, target.host)
  upstream.on('error', (error) => send(socket, 1, Buffer.from(error.message)))
  upstream.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; at += mostBytes) send(socket, 0, chunk.subarray(at, at + mostBytes))
  })
  upstream.on('end', () => socket.end(Buffer.of(0x80 | closeOpcode, 0)))
  socket.on('close', () => upstream.destroy())
  let held: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    for (let frame = readFrame(held); frame !== null; frame = readFrame(held)) {
      held = held.subarray(frame.length)
      if (frame.opcode === closeOpcode) upstream.end()
      else if (frame.payload[0] === 0) upstream.write(frame.payload.subarray(1))
    }
  })
}

/** One binary frame of a server: final, unmasked. */
function send(socket: Duplex, channel: number, data: Buffer): void {
  const length = data.length + 1
  const head = length < 126 ? Buffer.of(0x82, length) : Buffer.of(0x82, 126, length >> 8, length & 255)
  if (socket.writable) socket.write(Buffer.concat([head, Buffer.of(channel), data]))
}

/** The next frame of a client, which masks what it sends; null while it is not whole. Ours sends none above 64 KiB. */
function readFrame(bytes: Buffer): { opcode: number; payload: Buffer; length: number } | null {
  if (bytes.length < 2) return null
  const short = bytes[1]! & 0x7f
  const start = short === 126 ? 4 : 2
  if (bytes.length < start + 4) return null
  const size = short === 126 ? bytes.readUInt16BE(2) : short
  const length = start + 4 + size
  if (bytes.length < length) return null
  const mask = bytes.subarray(start, start + 4)
  const payload = Buffer.from(bytes.subarray(start + 4, length))
  for (let index = 0; index < size; index++) payload[index]! ^= mask[index % 4]!
  return { opcode: bytes[0]! & 15, payload, length }
}
