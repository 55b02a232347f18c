// The origin where nginx is missing: answers any complete request with the same bytes. Started by origin.ts with
// address, port, size of the large response and text of the small one.

import { createServer } from 'node:net'

const [address, port, largeBytes, small] = process.argv.slice(2) as [string, string, string, string]
const smallResponse = respond(Buffer.from(small), 'text/plain')
const largeResponse = respond(Buffer.alloc(Number(largeBytes), 'x'), 'application/octet-stream')

function respond(body: Buffer, type: string): Buffer {
  return Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`),
    body,
  ])
}

/** Bytes from a head's start to the end of its message, as its content-length says; chunked bodies end at the buffer's end. */
function messageLength(head: string, headEnd: number, available: number): number {
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)
  if (length !== null) return headEnd + 4 + Number(length[1])
  return /\r\ntransfer-encoding:/i.test(head) ? available : headEnd + 4
}

const server = createServer({ noDelay: true }, (socket) => {
  let waiting: Buffer = Buffer.alloc(0)
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: Buffer) => {
    waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk])
    for (;;) {
      const headEnd = waiting.indexOf('\r\n\r\n')
      if (headEnd === -1) return
      const head = waiting.toString('latin1', 0, headEnd)
      const length = messageLength(head, headEnd, waiting.length)
      if (waiting.length < length) return
      waiting = waiting.subarray(length)
      socket.write(head.startsWith('GET /large ') ? largeResponse : smallResponse)
    }
  })
})
server.listen({ port: Number(port), host: address, backlog: 4096 })
process.once('SIGTERM', () => process.exit(0))
