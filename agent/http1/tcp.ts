// A wire over a TCP socket. Reads land in one buffer per thread (`onread`), which saves an allocation for each read
// (measured: a quarter of the CPU of a small request). For accepted sockets Node offers that only by wrapping the raw
// handle a second time, which stands here alone; `WEFT_NO_ONREAD=1` falls back to 'data' events.

import { connect, createServer, type LookupFunction, type NetConnectOpts, type Server, Socket } from 'node:net'
import { DirectWriter } from './direct.ts'
import { noHandler, type Wire, type WireHandler } from './wire.ts'

/** One read takes at most this much. */
const readBytes = 64 * 1024
const shared = Buffer.allocUnsafeSlow(readBytes)
const useOnread = process.env['WEFT_NO_ONREAD'] !== '1'

/** Strips the prefix of an IPv4 address that a dual-stack socket shows as IPv6 (RFC 4291 section 2.5.5.2). */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

export class TcpWire implements Wire {
  handler: WireHandler = noHandler
  readonly remoteAddress: string
  isClosed = false
  private readonly socket: Socket
  private error: Error | null = null
  private isPaused: boolean
  private readonly writer: DirectWriter

  constructor(socket: Socket, isPaused: boolean) {
    this.socket = socket
    this.writer = new DirectWriter(socket, () => this.handler.onDrain())
    this.isPaused = isPaused
    this.remoteAddress = plainAddress(socket.remoteAddress ?? '')
    socket.on('end', () => this.handler.onEnd())
    socket.on('drain', () => this.handler.onDrain())
    socket.on('error', (error) => {
      this.error = error
    })
    socket.on('close', () => {
      this.isClosed = true
      this.writer.close()
      this.handler.onClose(this.error)
    })
  }

  get backlogBytes(): number {
    return this.writer.backlogBytes
  }

  /** Address and port of our own side: where an accepted connection came in. */
  get localPort(): number {
    return this.socket.localPort ?? 0
  }

  /** For `onread`: hands a read to the handler; false stops reading. */
  take(count: number, buffer: Buffer): boolean {
    this.handler.onBytes(buffer, 0, count)
    return !this.isPaused
  }

  writeText(text: string): boolean {
    return this.writer.text(text)
  }

  writeCopy(chunk: Buffer, start: number, end: number): boolean {
    return this.writer.bytes(Buffer.copyBytesFrom(chunk, start, end - start))
  }

  writeBytes(bytes: Buffer): boolean {
    return this.writer.bytes(bytes)
  }

  pause(): void {
    if (this.isPaused) return
    this.isPaused = true
    this.socket.pause()
  }

  resume(): void {
    if (!this.isPaused) return
    this.isPaused = false
    this.socket.resume()
  }

  end(): void {
    this.writer.close()
    this.socket.end()
  }

  reset(): void {
    const { socket } = this
    this.writer.close()
    // resetAndDestroy() waits for what was written to be read, which a stuck peer never does: this is what it does then.
    // While our own end is on its way libuv refuses a reset, and Node would never close: what was written was whole.
    const isEnding = socket.writableEnded && !socket.writableFinished
    if (!isEnding) (socket as unknown as { resetAndClosing: boolean }).resetAndClosing = true
    socket.destroy()
  }

  destroy(): void {
    this.writer.close()
    this.socket.destroy()
  }
}

function listenToData(socket: Socket, wire: TcpWire): void {
  socket.on('data', (chunk: Buffer) => wire.take(chunk.length, chunk))
}

/** What Node keeps in a socket and does not publish; used here alone. */
interface SocketInside {
  _handle: object | null
  server: Server | null
  _server: Server | null
}

/**
 * Makes a server whose connections arrive as wires; they are paused: set the handler, then `resume`.
 * @param onWire gets each accepted connection
 */
export function createTcpServer(onWire: (wire: TcpWire) => void): Server {
  // pauseOnConnect: no byte is read before the wire has its handler. allowHalfOpen: an answer to a request that came
  // together with FIN must still go out.
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (accepted) => {
    if (!useOnread) {
      accepted.pause()
      const wire = new TcpWire(accepted, true)
      listenToData(accepted, wire)
      onWire(wire)
      return
    }
    const inside = accepted as unknown as SocketInside
    const handle = inside._handle
    if (handle === null) return
    let wire: TcpWire | null = null
    const socket = new Socket({
      handle,
      allowHalfOpen: true,
      // Else it would read at once, whatever pauseOnConnect says, and give the bytes to whoever keeps the wire waiting.
      pauseOnCreate: true,
      onread: { buffer: shared, callback: (count: number, buffer: Uint8Array) => wire!.take(count, buffer as Buffer) },
    } as ConstructorParameters<typeof Socket>[0])
    // The second socket owns the handle now, and is what the server counts.
    const owner = socket as unknown as SocketInside
    owner.server = server
    owner._server = server
    inside.server = null
    inside._server = null
    inside._handle = null
    wire = new TcpWire(socket, true)
    onWire(wire)
  })
  return server
}

/**
 * Opens a connection.
 * @param target.localAddress the address to connect from, or undefined for the system's choice
 * @param target.lookup finds the addresses of a name
 * @param done called once: with null when connected, else with the error (the wire is closed then)
 * @returns the wire; bytes may be written before it is connected
 */
export function connectTcp(
  target: { address: string; port: number; localAddress?: string; lookup?: LookupFunction },
  done: (error: Error | null) => void,
): TcpWire {
  let wire: TcpWire | null = null
  const socket = connect({
    host: target.address,
    port: target.port,
    ...(target.localAddress === undefined ? {} : { localAddress: target.localAddress }),
    ...(target.lookup === undefined ? {} : { lookup: target.lookup }),
    allowHalfOpen: true,
    noDelay: true,
    ...(useOnread
      ? {
          onread: {
            buffer: shared,
            callback: (count: number, buffer: Uint8Array) => wire!.take(count, buffer as Buffer),
          },
        }
      : {}),
  } as NetConnectOpts)
  wire = new TcpWire(socket, false)
  if (!useOnread) listenToData(socket, wire)
  let isDone = false
  const finish = (error: Error | null) => {
    if (isDone) return
    isDone = true
    done(error)
  }
  socket.once('connect', () => finish(null))
  socket.once('error', (error) => finish(error))
  socket.once('close', () => finish(new Error('closed before connected')))
  return wire
}
