// HTTP/2 as a tunnel needs it (RFC 9113, CONNECT alone) on one TLS connection: reads frames, keeps windows and streams,
// and leaves to Output that all which is written in a turn becomes one write.

import type { TLSSocket } from 'node:tls'
import { plainAddress } from '../http1/tcp.ts'
import { Channel, type ChannelHost } from './channel.ts'
import {
  codes,
  connectionWindowBytes,
  defaultWindowBytes,
  flags,
  H2Error,
  maxStreams,
  maxWindowBytes,
  ourSettings,
  preface,
  settings,
  types,
} from './frame.ts'
import { FloodGuard } from './guard.ts'
import { type Header, HeaderDecoder } from './hpack.ts'
import { Output } from './output.ts'
import { askProblem, checkPing, findHeader, readGoaway, readReset, readSettings, readWindowUpdate } from './payload.ts'
import { Pulse, silenceMs } from './pulse.ts'
import { FrameReader, type FrameSink } from './reader.ts'
import type { Answer, Session, SessionEvents } from './session.ts'
import { Turns } from './turns.ts'

/** How long a connection that is ended may take to send what is left. */
const closeMs = 5_000
/** What a peer that reads nothing may make us hold in answers to its own frames. */
const maxControlBytes = 4 << 20

export class Mux implements Session, ChannelHost, FrameSink {
  readonly output: Output
  readonly remoteAddress: string
  sendWindow = defaultWindowBytes
  /** Until its settings come, no limit is known (RFC 9113 section 6.5.2). */
  streamLimit = Number.POSITIVE_INFINITY
  isDraining = false
  isClosed = false
  isConfirmed = false
  readonly #socket: TLSSocket
  readonly #isClient: boolean
  readonly #events: SessionEvents
  readonly #streams = new Map<number, Channel>()
  readonly #reader: FrameReader
  readonly #decoder = new HeaderDecoder()
  readonly #guard = new FloodGuard()
  readonly #pulse = new Pulse()
  readonly #turns = new Turns(() => this.sendWindow > 0 && this.output.hasRoom && !this.isClosed)
  #nextId = 1
  /** Highest stream of the peer that we have looked at. */
  #lastId = 0
  #peerWindow = defaultWindowBytes
  #receiveWindow = connectionWindowBytes
  #unacknowledged = 0
  #error: Error | null = null

  constructor(socket: TLSSocket, role: 'client' | 'server', events: SessionEvents) {
    this.#socket = socket
    this.#events = events
    this.#isClient = role === 'client'
    this.#reader = new FrameReader(this, !this.#isClient)
    this.remoteAddress = plainAddress(socket.remoteAddress ?? '')
    this.output = new Output(socket, () => this.#turns.run())
    if (this.#isClient) this.output.raw(preface)
    this.output.frame(types.settings, 0, 0, ourSettings(this.#isClient))
    this.sendWindowUpdate(0, connectionWindowBytes - defaultWindowBytes)
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('end', () => socket.destroy())
    socket.on('error', (error) => {
      this.#error ??= error
    })
    socket.on('close', () => this.#failAll(new Error(`the connection to ${this.remoteAddress} was closed`)))
  }

  get openStreams(): number {
    return this.#streams.size
  }

  open(authority: string, headers: readonly Header[], done: (answer: Answer) => void): () => void {
    const id = this.#nextId
    this.#nextId += 2
    // Long before the numbers end, another connection takes over.
    if (this.#nextId > 2 ** 30) this.drain()
    const channel = this.#add(id, false)
    channel.opening = done
    this.output.headers(id, [[':method', 'CONNECT'], [':authority', authority], ...headers], false)
    return () => channel.reset()
  }

  drain(): void {
    if (this.isDraining || this.isClosed) return
    this.output.goaway(this.#lastId, codes.none, '')
    this.#setDraining()
  }

  destroy(error: Error): void {
    if (this.isClosed) return
    this.#error ??= error
    this.output.goaway(this.#lastId, codes.none, '')
    this.#close()
    this.#failAll(error)
  }

  check(now: number): boolean {
    const found = this.#pulse.check(now, this.#streams.size > 0)
    if (found === 'ask') this.output.frame(types.ping, 0, 0, Buffer.alloc(8))
    if (found === 'dead') {
      this.#error ??= new Error(`the peer ${this.remoteAddress} has been silent for ${2 * silenceMs} ms`)
      this.#socket.destroy()
    }
    return found !== 'suspicious'
  }

  // What channels ask for

  waitForRoom(channel: Channel): void {
    this.#turns.add(channel)
  }

  sendReset(id: number, code: number): void {
    if (!this.isClosed) this.output.reset(id, code)
  }

  sendWindowUpdate(id: number, bytes: number): void {
    if (!this.isClosed) this.output.windowUpdate(id, bytes)
  }

  credit(bytes: number): void {
    this.#unacknowledged += bytes
    if (this.#unacknowledged < connectionWindowBytes / 4) return
    this.#receiveWindow += this.#unacknowledged
    this.sendWindowUpdate(0, this.#unacknowledged)
    this.#unacknowledged = 0
  }

  forget(channel: Channel): void {
    if (!this.#streams.delete(channel.id)) return
    this.#turns.remove(channel)
    if (this.isDraining && this.#streams.size === 0) this.#endSoon()
    this.#events.onChange()
  }

  // Reading

  #read(chunk: Buffer): void {
    this.#pulse.heard()
    if (this.isClosed) return
    try {
      this.#reader.read(chunk)
      if (this.#socket.writableLength > maxControlBytes)
        throw new H2Error(codes.calm, 'the peer does not read what it asks for')
    } catch (thrown) {
      this.#fatal(thrown as Error)
    }
  }

  onDataFrame(stream: number, length: number, isEmpty: boolean): void {
    this.#requireKnown(stream)
    this.#receiveWindow -= length
    if (this.#receiveWindow < 0) throw new H2Error(codes.flowControl, "DATA beyond the connection's window")
    if (isEmpty) this.#guard.noise()
  }

  onData(stream: number, chunk: Buffer, start: number, end: number): void {
    const channel = this.#streams.get(stream)
    const isTaken = channel !== undefined && !channel.isRemoteEnded && channel.receive(chunk, start, end)
    if (!isTaken) this.credit(end - start)
    if (!isTaken && channel !== undefined)
      this.#breakStream(channel, codes.flowControl, 'DATA after the end or beyond the window')
  }

  onPadding(stream: number, bytes: number): void {
    this.credit(bytes)
    const channel = this.#streams.get(stream)
    if (channel?.receivePadding(bytes) === false)
      this.#breakStream(channel, codes.flowControl, 'padding beyond the window')
  }

  onDataEnd(stream: number): void {
    this.#streams.get(stream)?.receiveEnd()
  }

  onHeaders(stream: number, block: Buffer, isEnd: boolean): void {
    // Also for a stream that is gone: the state of the compression must not be lost.
    const headers = this.#decoder.decode(block)
    const channel = this.#streams.get(stream)
    if (channel !== undefined) this.#moreHeaders(channel, headers, isEnd)
    else if (this.#isClient || stream <= this.#lastId) this.#requireKnown(stream)
    else this.#ask(stream, headers, isEnd)
  }

  onFrame(type: number, flag: number, stream: number, payload: Buffer): void {
    this.isConfirmed = true
    if (type === types.windowUpdate) this.#windowUpdate(stream, payload)
    else if (type === types.reset) this.#reset(stream, payload)
    else if (type === types.settings) this.#settings(flag, stream, payload)
    else if (type === types.ping) this.#ping(flag, stream, payload)
    else if (type === types.goaway) this.#peerGoaway(stream, payload)
    else if (type === types.push) throw new H2Error(codes.protocol, 'PUSH_PROMISE')
    // PRIORITY, and what later extensions may bring, means nothing here.
    else this.#guard.noise()
  }

  /** The answer to our CONNECT, or trailers, whose end is all that counts. */
  #moreHeaders(channel: Channel, headers: readonly Header[], ends: boolean): void {
    const { opening } = channel
    if (opening !== null) {
      const status = Number(findHeader(headers, ':status'))
      if (status >= 100 && status < 200) return
      channel.opening = null
      const isOpen = status === 200 && !ends
      if (isOpen) opening({ wire: channel, headers })
      else opening({ status: status === 200 ? 502 : status, reason: findHeader(headers, 'x-weft-error') })
      if (ends) channel.receiveEnd()
      if (!isOpen) channel.destroy()
    } else if (ends) {
      channel.receiveEnd()
    }
  }

  /** A CONNECT of the peer. */
  #ask(id: number, headers: readonly Header[], ends: boolean): void {
    if (id % 2 === 0) throw new H2Error(codes.protocol, 'a stream with an even number')
    this.#lastId = id
    this.#guard.opened()
    if (this.isDraining || this.#streams.size >= maxStreams) {
      // Whoever has not seen our GOAWAY or our limit yet may try again elsewhere.
      this.sendReset(id, codes.refused)
      return
    }
    const channel = this.#add(id, true)
    const problem = askProblem(headers, ends)
    if (problem !== null) {
      this.#refuse(channel, problem.status, problem.reason)
      return
    }
    this.#events.onAsk({
      authority: findHeader(headers, ':authority'),
      headers,
      wire: channel,
      accept: () => {
        const answer: Header[] = [[':status', '200'], ...(this.#events.answerHeaders ?? [])]
        if (!channel.isClosed) this.output.headers(id, answer, false)
      },
      refuse: (status, reason) => this.#refuse(channel, status, reason),
    })
  }

  #refuse(channel: Channel, status: number, reason: string): void {
    if (channel.isClosed) return
    const headers: Header[] = [[':status', `${status}`]]
    if (reason !== '') headers.push(['x-weft-error', reason])
    this.output.headers(channel.id, headers, true)
    channel.endedByHeaders()
  }

  #reset(stream: number, payload: Buffer): void {
    const code = readReset(payload)
    this.#requireKnown(stream)
    const channel = this.#streams.get(stream)
    if (channel === undefined) {
      // It crossed our own end of the stream.
      this.#guard.noise()
      return
    }
    // One that closes after its end does no harm; whoever opens only to reset does.
    if (code !== codes.none || !channel.isRemoteEnded) this.#guard.reset()
    channel.receiveReset(code)
  }

  #settings(flag: number, stream: number, payload: Buffer): void {
    const isAck = (flag & flags.ack) !== 0
    const pairs = readSettings(stream, isAck, payload)
    this.#guard.noise()
    if (isAck) return
    for (const [name, value] of pairs) {
      if (name === settings.initialWindow) this.#resize(value)
      if (name === settings.maxStreams) this.streamLimit = value
    }
    this.output.frame(types.settings, flags.ack, 0, null)
    this.#events.onChange()
  }

  /** The peer gives streams another window, also those that are open. */
  #resize(window: number): void {
    for (const channel of [...this.#streams.values()]) this.#widen(channel, window - this.#peerWindow)
    this.#peerWindow = window
  }

  #widen(channel: Channel, bytes: number): void {
    if (channel.sendWindow + bytes > maxWindowBytes) {
      this.#breakStream(channel, codes.flowControl, 'a window too large')
    } else {
      channel.sendWindow += bytes
      channel.pump(false)
    }
  }

  #ping(flag: number, stream: number, payload: Buffer): void {
    checkPing(stream, payload)
    if ((flag & flags.ack) !== 0) return
    this.#guard.noise()
    this.output.frame(types.ping, flags.ack, 0, payload)
  }

  #peerGoaway(stream: number, payload: Buffer): void {
    const { last, code, text } = readGoaway(stream, payload)
    const error = new Error(`the peer ends the connection (HTTP/2 code ${code}) ${text}`)
    if (code !== codes.none) this.#error ??= error
    this.#setDraining()
    // Those it has not looked at may be tried again.
    if (this.#isClient)
      for (const channel of [...this.#streams.values()]) if (channel.id > last) channel.fail(error, true)
  }

  #windowUpdate(stream: number, payload: Buffer): void {
    const bytes = readWindowUpdate(payload)
    if (stream === 0) {
      this.sendWindow += bytes
      if (bytes === 0 || this.sendWindow > maxWindowBytes)
        throw new H2Error(codes.flowControl, 'a window of 0 or one too large')
      this.#turns.run()
      return
    }
    this.#requireKnown(stream)
    const channel = this.#streams.get(stream)
    if (channel === undefined) return
    if (bytes === 0) this.#breakStream(channel, codes.protocol, 'a window update of 0')
    else this.#widen(channel, bytes)
  }

  // Streams

  #add(id: number, isPaused: boolean): Channel {
    const channel = new Channel(this, id, { sendWindow: this.#peerWindow, isPaused })
    this.#streams.set(id, channel)
    return channel
  }

  /** @throws H2Error for a stream that was never opened: one that is closed is passed over */
  #requireKnown(stream: number): void {
    const isOurs = stream % 2 === 1 && this.#isClient
    const last = isOurs ? this.#nextId - 2 : this.#isClient ? 0 : this.#lastId
    if (stream === 0 || stream > last) throw new H2Error(codes.protocol, `a frame on stream ${stream}, which is idle`)
  }

  /** The peer broke a rule on one stream. */
  #breakStream(channel: Channel, code: number, message: string): void {
    this.#guard.reset()
    this.sendReset(channel.id, code)
    channel.fail(new Error(`the peer broke a rule of HTTP/2: ${message}`))
  }

  // Ending

  #setDraining(): void {
    if (this.isDraining) return
    this.isDraining = true
    for (const channel of [...this.#streams.values()]) channel.tellDraining()
    this.#events.onDraining()
    if (this.#streams.size === 0) this.#endSoon()
  }

  /** Closes in order once nothing is carried any more. */
  #endSoon(): void {
    setImmediate(() => {
      if (!this.isClosed && this.#streams.size === 0) this.#close()
    })
  }

  /** Sends what is there, then closes; a peer that does not read has a few seconds. */
  #close(): void {
    this.output.flush()
    this.#socket.destroySoon()
    this.#socket.setTimeout(closeMs, () => this.#socket.destroy())
  }

  /** The peer broke a rule that ends the connection. */
  #fatal(thrown: Error): void {
    if (this.isClosed) return
    const isTheirs = thrown instanceof H2Error
    this.#error ??= thrown
    this.output.goaway(this.#lastId, isTheirs ? thrown.h2 : codes.internal, isTheirs ? thrown.message : '')
    this.#close()
    this.#failAll(thrown)
    if (!isTheirs) throw thrown
  }

  #failAll(error: Error): void {
    if (this.isClosed) return
    this.isClosed = true
    this.isDraining = true
    this.#reader.stop()
    for (const channel of [...this.#streams.values()]) channel.fail(this.#error ?? error)
    this.#events.onClose(this.#error)
  }
}
