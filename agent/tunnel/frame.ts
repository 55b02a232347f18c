// The numbers of HTTP/2 frames (RFC 9113 section 4 to 7), and what this implementation allows.

/** Frame types. */
export const types = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const flags = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const

export const settings = {
  headerTableSize: 1,
  enablePush: 2,
  maxStreams: 3,
  initialWindow: 4,
  maxFrame: 5,
  maxHeaderList: 6,
} as const

export const codes = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  streamClosed: 5,
  frameSize: 6,
  refused: 7,
  cancel: 8,
  compression: 9,
  calm: 11,
} as const

export type Code = (typeof codes)[keyof typeof codes]

/** What ends a whole connection, with the code that its GOAWAY carries. */
export class H2Error extends Error {
  override name = 'H2Error'
  readonly h2: Code

  constructor(code: Code, message: string) {
    super(message)
    this.h2 = code
  }
}

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
export const headBytes = 9

/** Of one frame, ours and theirs: the protocol's least, since nothing is gained by more. */
export const maxFrameBytes = 16_384
/** Of one header block. */
export const maxHeaderBytes = 16_384
/** What a peer may send on a stream that nobody reads: the bound of what one stuck exchange costs. */
export const streamWindowBytes = 256 << 10
/** What a peer may send on a connection: enough for many stuck streams beside the ones that flow. */
export const connectionWindowBytes = 16 << 20
export const defaultWindowBytes = 65_535
export const maxWindowBytes = 2 ** 31 - 1
/** Streams that a peer may have open on one connection; they live long, one for each pooled connection. */
export const maxStreams = 1_000

/** Writes a frame head. */
export function writeHead(into: Buffer, at: number, length: number, type: number, flag: number, stream: number): void {
  into[at] = length >>> 16
  into[at + 1] = length >>> 8
  into[at + 2] = length
  into[at + 3] = type
  into[at + 4] = flag
  into.writeUInt32BE(stream, at + 5)
}

/** The payload of our first SETTINGS. */
export function ourSettings(isClient: boolean): Buffer {
  const pairs: [number, number][] = [
    [settings.enablePush, 0],
    [settings.initialWindow, streamWindowBytes],
    [settings.maxHeaderList, maxHeaderBytes],
    ...(isClient ? [] : [[settings.maxStreams, maxStreams] as [number, number]]),
  ]
  const bytes = Buffer.alloc(pairs.length * 6)
  for (const [index, [name, value]] of pairs.entries()) {
    bytes.writeUInt16BE(name, index * 6)
    bytes.writeUInt32BE(value, index * 6 + 2)
  }
  return bytes
}
