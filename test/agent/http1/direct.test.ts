// What is written past the stream: nothing lost, nothing twice, in order, whatever the other side does.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { expect } from 'chai'
import { DirectWriter } from '../../../agent/http1/direct.ts'

describe('agent/http1/direct', () => {
  let server: Server
  let near: Socket
  let far: Socket
  let drained = 0
  let writer: DirectWriter

  beforeEach(async () => {
    drained = 0
    server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const accepted = once(server, 'connection') as Promise<[Socket]>
    near = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
    near.on('error', () => undefined)
    writer = new DirectWriter(near, () => drained++)
    if (near.connecting) await once(near, 'connect')
    far = (await accepted)[0].pause()
    far.on('error', () => undefined)
  })

  afterEach(() => {
    near.destroy()
    far.destroy()
    server.close()
  })

  const readAll = async (socket: Socket): Promise<Buffer> => {
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    return Buffer.concat(chunks)
  }

  it('keeps the order of what is written before and after the connection is there', async () => {
    const early = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const own = new DirectWriter(early, () => undefined)
    own.text('one ')
    early.once('connect', () => {
      own.text('two ')
      own.bytes(Buffer.from('three'))
      early.end()
    })
    expect((await readAll((await accepted)[0])).toString()).to.equal('one two three')
  })

  it('leaves nothing behind and nothing twice at a reader that stands still, and says when it goes on', async () => {
    const piece = Buffer.alloc(100_000, 'a')
    let isQuick = true
    let count = 0
    while (isQuick) {
      isQuick = writer.bytes(piece)
      count++
    }
    expect(writer.backlogBytes).to.be.greaterThan(0)
    expect(writer.text('b'.repeat(50_000))).to.equal(false)
    near.end()
    const all = await readAll(far)
    expect(all.length).to.equal(count * 100_000 + 50_000)
    expect(all.indexOf('b')).to.equal(count * 100_000)
    expect(all.lastIndexOf('a')).to.equal(count * 100_000 - 1)
    expect(drained).to.equal(1)
    expect(writer.backlogBytes).to.equal(0)
  })

  it('writes characters above ASCII as one byte each', async () => {
    writer.text('é\u00ff')
    near.end()
    expect([...(await readAll(far))]).to.deep.equal([0xe9, 0xff])
  })

  it('closes the socket with the system error of a write that fails', async () => {
    let error: NodeJS.ErrnoException | null = null
    near.on('error', (thrown) => {
      error = thrown
    })
    near.pause()
    far.resetAndDestroy()
    await once(far, 'close')
    while (!near.destroyed) {
      writer.text('into the void')
      await new Promise(setImmediate)
    }
    while (!near.closed) await new Promise(setImmediate)
    expect((error as NodeJS.ErrnoException | null)?.code).to.be.oneOf(['ECONNRESET', 'EPIPE'])
    expect((error as NodeJS.ErrnoException | null)?.syscall).to.equal('write')
    // Written to a socket that is gone: no crash, no second close.
    expect(() => writer.text('late')).not.to.throw()
  })

  it('does not touch the socket again when it was destroyed with writes pending', async () => {
    while (writer.bytes(Buffer.alloc(100_000)));
    const closed = once(near, 'close') as Promise<[boolean]>
    near.destroy()
    expect((await closed)[0]).to.equal(false)
    expect(drained).to.equal(0)
  })
})
