// TCP without any HTTP: bytes are written at will and read exactly, on either side of what is tested. All text is latin1,
// one character a byte.

import { connect, createServer, type Server, type Socket } from 'node:net'
import { until } from './until.ts'

/** How long a read waits unless told otherwise: long enough for a busy machine. */
const patienceMs = 15_000

/** One connection, from either side. What came is kept in `received`; reading moves a position in it. */
export class RawSocket {
  readonly socket: Socket
  received = ''
  /** The other side has sent its FIN. */
  hasEnded = false
  isReset = false
  isClosed = false
  private at = 0
  private readonly waiting = new Set<() => void>()

  constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1')
      this.changed()
    })
    socket.on('end', () => {
      this.hasEnded = true
      this.changed()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET') this.isReset = true
    })
    socket.on('close', () => {
      this.isClosed = true
      this.changed()
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

  /** Reads exactly so many bytes. @throws Error if they don't come in time, here as in all that reads */
  async read(count: number, withinMs = patienceMs): Promise<string> {
    await this.wait(() => this.received.length - this.at >= count, `${count} bytes`, withinMs)
    const text = this.received.slice(this.at, this.at + count)
    this.at += count
    return text
  }

  /** Reads up to and including a marker. */
  async readThrough(marker: string, withinMs = patienceMs): Promise<string> {
    await this.wait(() => this.received.includes(marker, this.at), JSON.stringify(marker), withinMs)
    const end = this.received.indexOf(marker, this.at) + marker.length
    const text = this.received.slice(this.at, end)
    this.at = end
    return text
  }

  /** Reads one whole message by its framing: head and body as they came. A head alone for `isBodiless`. */
  async readMessage(isBodiless = false, withinMs = patienceMs): Promise<string> {
    const head = await this.readThrough('\r\n\r\n', withinMs)
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
    await this.wait(() => this.hasEnded || this.isClosed, 'the end of the connection', patienceMs)
    const rest = this.unread
    this.at = this.received.length
    return { how: this.isReset ? 'reset' : 'end', rest }
  }

  /** Looks again with everything that comes: polling would cost each message a pause. */
  private async wait(condition: () => boolean, what: string, withinMs: number): Promise<void> {
    const isOver = () => condition() || this.isClosed || this.hasEnded
    if (!isOver()) {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const look = () => {
        // The agent shares this process: it finishes its turn first.
        if (isOver()) setImmediate(resolve)
      }
      this.waiting.add(look)
      const late = () =>
        reject(new Error(`${what} did not come within ${withinMs} ms, after ${JSON.stringify(this.unread)}`))
      const timer = withinMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(late, withinMs)
      await promise.finally(() => {
        clearTimeout(timer)
        this.waiting.delete(look)
      })
    }
    if (!condition()) throw new Error(`${what} did not come, but the end; unread: ${JSON.stringify(this.unread)}`)
  }

  private changed(): void {
    for (const look of this.waiting) look()
  }
}

/**
 * Connects.
 * @param localAddress the address to come from; by default the first one of loopback
 */
export async function rawConnect(
  port: number,
  address = '127.0.0.1',
  localAddress = address.includes(':') ? '::1' : '127.0.0.1',
): Promise<RawSocket> {
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
        // However late the next request is.
        await connection.readMessage(false, Number.POSITIVE_INFINITY)
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
