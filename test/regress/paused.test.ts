// A connection whose caller was not known yet lost the bytes that came meanwhile: its wire read at once, though it was
// said to be paused.

import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { expect } from 'chai'
import { createTcpServer, type TcpWire } from '../../agent/http1/tcp.ts'

describe('regress: an accepted wire', () => {
  it('gives no byte before it is resumed, and all of them after', async () => {
    let wire: TcpWire | null = null
    let early = ''
    const server = createTcpServer((accepted) => {
      wire ??= accepted
      accepted.handler = {
        onBytes: (chunk, start, end) => {
          early += chunk.toString('latin1', start, end)
        },
        onEnd() {},
        onDrain() {},
        onClose() {},
      }
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    await new Promise<void>((resolve) => client.write('GET / HTTP/1.1\r\n', () => resolve()))
    // Whatever was going to be read has been after another connection's whole life.
    const other = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const first = await until(() => wire)
    await once(other, 'connect')
    other.destroy()
    await once(other, 'close')
    expect(early).to.equal('')

    const late = new Promise<string>((resolve) => {
      first.handler = {
        onBytes: (chunk, start, end) => resolve(chunk.toString('latin1', start, end)),
        onEnd() {},
        onDrain() {},
        onClose() {},
      }
    })
    first.resume()
    expect(await late).to.equal('GET / HTTP/1.1\r\n')
    client.destroy()
    server.close()
  })
})

async function until<T>(look: () => T | null): Promise<T> {
  for (;;) {
    const found = look()
    if (found !== null) return found
    await new Promise(setImmediate)
  }
}
