// TCP without any HTTP: bytes are written at will and read exactly, on either side of what is tested. All text is latin1,
// one character a byte.

import { connect, createServer, type Server, type Socket } from 'node:net'
import { until } from './until.ts'

/** One connection, from either side. What came is kept in `received`; reading moves a position in it. */
export class RawSocket {
  readonly socket: Socket
  received = ''
  /** The other side has sent its FIN. */
  hasEnded = false
  isReset = false
  isClosed = false
  private at = 0

  constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1')
    })
    socket.on('end', () => {
      this.hasEnded = true
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET') this.isReset = true
    })
    socket.on('close', () => {
      this.isClosed = true
    })
  }

  /** What came and was not read yet. */
  get unread(): string {
    return this.received.slice(this.at)
  }

  send(text: string | Buffer): this {
    this.socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text)
    return this
  }

  /** Sends in pieces that arrive as such (each with a turn of the event loop, and more, in between). */
  async sendSlowly(text: string, pieceBytes = 1): Promise<void> {
    for (let at = 0; at < text.length; at += pieceBytes) {
      this.send(text.slice(at, at + pieceBytes))
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  /**
   * Sends until nobody takes any more: until this socket has been full for some turns.
   * @returns how many bytes
   * @throws Error if they are taken without end
   */
  async sendUntilStuck(): Promise<number> {
    const piece = Buffer.alloc(1 << 20, 'x')
    for (let sent = 1; sent <= 200; sent++) {
      this.send(piece)
      const full = this.socket.writableLength
      await new Promise((resolve) => setTimeout(resolve, 20))
      if (full > piece.length && this.socket.writableLength >= full) return sent * piece.length
    }
    throw new Error('nobody stops the sender')
  }

  /** Sends FIN; the other direction stays open. */
  end(): void {
    this.socket.end()
  }

  /** Sends RST. */
  reset(): void {
    this.socket.resetAndDestroy()
  }

  destroy(): void {
    this.socket.destroy()
  }

  /** Reads exactly so many bytes. */
  async read(count: number): Promise<string> {
    await this.wait(() => this.unread.length >= count, `${count} bytes`)
    const text = this.received.slice(this.at, this.at + count)
    this.at += count
    return text
  }

  /** Reads up to and including a marker. */
  async readThrough(marker: string): Promise<string> {
    await this.wait(() => this.unread.includes(marker), JSON.stringify(marker))
    const end = this.received.indexOf(marker, this.at) + marker.length
    const text = this.received.slice(this.at, end)
    this.at = end
    return text
  }

  /** Reads one whole message by its framing: head and body as they came. A head alone for `isBodiless`. */
  async readMessage(isBodiless = false): Promise<string> {
    const head = await this.readThrough('\r\n\r\n')
    if (isBodiless) return head
    if (/\r\ntransfer-encoding: *chunked\r\n/i.test(head)) return head + (await this.readChunks())
    const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(head)
    return length === null ? head : head + (await this.read(Number(length[1])))
  }

  private async readChunks(): Promise<string> {
    let text = ''
    for (;;) {
      const line = await this.readThrough('\r\n')
      text += line
      const size = Number.parseInt(line, 16)
      if (size > 0) {
        text += await this.read(size + 2)
        continue
      }
      for (;;) {
        const trailer = await this.readThrough('\r\n')
        text += trailer
        if (trailer === '\r\n') return text
      }
    }
  }

  /** Waits for the other side to go: how it went, with all that was not read before. */
  async gone(): Promise<{ how: 'end' | 'reset'; rest: string }> {
    await this.wait(() => this.hasEnded || this.isClosed, 'the end of the connection')
    const rest = this.unread
    this.at = this.received.length
    return { how: this.isReset ? 'reset' : 'end', rest }
  }

  private wait(condition: () => boolean, what: string): Promise<void> {
    return until(
      () => condition() || this.isClosed || this.hasEnded,
      () => `${what}, after ${JSON.stringify(this.unread)},`,
      5000,
    ).then(() => {
      if (!condition()) throw new Error(`${what} did not come, but the end; unread: ${JSON.stringify(this.unread)}`)
    })
  }
}

/**
 * Connects.
 * @param localAddress the address to come from
 */
export async function rawConnect(port: number, address = '127.0.0.1', localAddress = '127.0.0.1'): Promise<RawSocket> {
  const socket = connect({ port, host: address, localAddress, allowHalfOpen: true })
  const raw = new RawSocket(socket)
  await until(() => !socket.connecting, `a connection to ${address}:${port}`)
  return raw
}

/** A server that does nothing by itself: the test answers. */
export class RawServer {
  readonly connections: RawSocket[] = []
  private readonly server: Server
  private onConnection: (connection: RawSocket) => void = () => {}
  private taken = 0
  /** Also those that were forgotten. */
  private readonly all: RawSocket[] = []

  private constructor(server: Server) {
    this.server = server
    server.on('connection', (socket: Socket) => {
      const raw = new RawSocket(socket)
      this.connections.push(raw)
      this.all.push(raw)
      this.onConnection(raw)
    })
  }

  static async listen(address = '127.0.0.1', port = 0): Promise<RawServer> {
    const server = createServer({ allowHalfOpen: true })
    const raw = new RawServer(server)
    await new Promise<void>((resolve) => server.listen(port, address, resolve))
    return raw
  }

  get port(): number {
    const address = this.server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  /** All bytes of all connections. */
  get received(): string {
    return this.connections.map((connection) => connection.received).join('')
  }

  /** How many connections are open. */
  get open(): number {
    return this.connections.filter((connection) => !connection.isClosed).length
  }

  /** The next connection that was not taken before. */
  async next(): Promise<RawSocket> {
    await until(() => this.connections.length > this.taken, 'another connection', 5000)
    return this.connections[this.taken++]!
  }

  /** Forgets the connections there were. */
  rewind(): void {
    this.connections.length = 0
    this.taken = 0
  }

  /** Does something with each connection from now on. */
  each(use: (connection: RawSocket) => void): void {
    this.onConnection = use
  }

  /** Answers every whole request on every connection with the same bytes. */
  answerAll(response: string): void {
    const serve = async (connection: RawSocket) => {
      for (;;) {
        await connection.readMessage()
        connection.send(response)
      }
    }
    this.each((connection) => void serve(connection).catch(() => {}))
  }

  async stop(): Promise<void> {
    for (const connection of this.all) connection.destroy()
    await new Promise((resolve) => this.server.close(resolve))
  }
}
