// Peers that break the rules of HTTP/2, by hand on a real TLS connection: each ends its own connection, costs little, and
// harms no other.

import { connect, type TLSSocket } from 'node:tls'
import { expect } from 'chai'
import { sniLabel } from '../../../agent/identity/sni.ts'
import { codes, flags, headBytes, preface, types, writeHead } from '../../../agent/tunnel/frame.ts'
import { encodeHeaders } from '../../../agent/tunnel/hpack.ts'
import { testLeaf, testRoot } from '../../support/certificates.ts'
import { listen, type TestTunnel, testTunnel } from '../../support/tunnel.ts'
import { until } from '../../support/until.ts'

const root = testRoot()
const pair = testLeaf(root, 'spiffe://cluster.local/ns/shop/sa/client')

function frame(type: number, flag: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(headBytes + payload.length)
  writeHead(bytes, 0, payload.length, type, flag, stream)
  payload.copy(bytes, headBytes)
  return bytes
}

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const hello = Buffer.concat([preface, frame(types.settings, 0, 0)])
const block = encodeHeaders([
  [':method', 'CONNECT'],
  [':authority', '10.0.0.1:80'],
])
const ask = (stream: number) => frame(types.headers, flags.endHeaders, stream, block)

describe('tunnel: peers that break the rules', () => {
  let tunnel: TestTunnel
  let socket: TLSSocket
  let received: Buffer
  let isClosed: boolean

  beforeEach(async () => {
    tunnel = await testTunnel({ root })
    received = Buffer.alloc(0)
    isClosed = false
    socket = connect({
      host: '127.0.0.1',
      port: tunnel.port,
      key: pair.keyPem,
      cert: pair.pem,
      ca: root.pem,
      servername: sniLabel('spiffe://cluster.local/ns/shop/sa/reviews'),
      ALPNProtocols: ['h2'],
      checkServerIdentity: () => undefined,
    })
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      isClosed = true
    })
    await until(() => received.length > 0)
  })
  afterEach(() => {
    socket.destroy()
    tunnel.close()
  })

  /** The code of the GOAWAY received, or -1. */
  function goaway(): number {
    for (let at = 0; at + headBytes <= received.length; at += headBytes + received.readUIntBE(at, 3))
      if (received[at + 3] === types.goaway) return received.readUInt32BE(at + headBytes + 4)
    return -1
  }

  const cases: [what: string, code: number, bytes: () => Buffer][] = [
    ['no preface', codes.protocol, () => Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n')],
    ['another frame before SETTINGS', codes.protocol, () => Buffer.concat([preface, ask(1)])],
    ['a frame too large', codes.frameSize, () => Buffer.concat([hello, frame(types.data, 0, 1, Buffer.alloc(16_385))])],
    ['DATA on an idle stream', codes.protocol, () => Buffer.concat([hello, frame(types.data, 0, 1)])],
    ['DATA on stream 0', codes.protocol, () => Buffer.concat([hello, frame(types.data, 0, 0)])],
    ['HEADERS on an even stream', codes.protocol, () => Buffer.concat([hello, ask(2)])],
    ['HEADERS on stream 0', codes.protocol, () => Buffer.concat([hello, ask(0)])],
    ['RST_STREAM on an idle stream', codes.protocol, () => Buffer.concat([hello, frame(types.reset, 0, 5, u32(8))])],
    ['RST_STREAM of another length', codes.frameSize, () => Buffer.concat([hello, ask(1), frame(types.reset, 0, 1)])],
    ['PING of another length', codes.frameSize, () => Buffer.concat([hello, frame(types.ping, 0, 0, u32(1))])],
    ['PING on a stream', codes.protocol, () => Buffer.concat([hello, frame(types.ping, 0, 1, Buffer.alloc(8))])],
    ['SETTINGS on a stream', codes.protocol, () => Buffer.concat([hello, frame(types.settings, 0, 1)])],
    ['SETTINGS of another length', codes.frameSize, () => Buffer.concat([hello, frame(types.settings, 0, 0, u32(1))])],
    [
      'a window beyond the largest',
      codes.flowControl,
      () => Buffer.concat([hello, frame(types.windowUpdate, 0, 0, u32(2 ** 31 - 1))]),
    ],
    ['a window update of 0', codes.flowControl, () => Buffer.concat([hello, frame(types.windowUpdate, 0, 0, u32(0))])],
    ['PUSH_PROMISE', codes.protocol, () => Buffer.concat([hello, frame(types.push, 0, 1, u32(2))])],
    ['CONTINUATION alone', codes.protocol, () => Buffer.concat([hello, frame(types.continuation, 0, 1, block)])],
    [
      'a frame amid a header block',
      codes.protocol,
      () => Buffer.concat([hello, frame(types.headers, 0, 1, block), frame(types.ping, 0, 0, Buffer.alloc(8))]),
    ],
    [
      'padding larger than the frame',
      codes.protocol,
      () => Buffer.concat([hello, ask(1), frame(types.data, flags.padded, 1, Buffer.from([9, 1, 2]))]),
    ],
    [
      'headers that do not decode',
      codes.compression,
      () => Buffer.concat([hello, frame(types.headers, 4, 1, Buffer.from([0x80]))]),
    ],
    [
      '7.43 a header block without end',
      codes.calm,
      () =>
        Buffer.concat([
          hello,
          frame(types.headers, 0, 1, block),
          ...Array.from({ length: 100 }, () => frame(types.continuation, 0, 1)),
        ]),
    ],
    [
      '7.41 rapid resets',
      codes.calm,
      () =>
        Buffer.concat([
          hello,
          ...Array.from({ length: 20_000 }, (_, n) => [
            ask(2 * n + 1),
            frame(types.reset, 0, 2 * n + 1, u32(8)),
          ]).flat(),
        ]),
    ],
    [
      '7.42 resets that it provokes',
      codes.calm,
      () =>
        Buffer.concat([
          hello,
          ...Array.from({ length: 20_000 }, (_, n) => [
            ask(2 * n + 1),
            frame(types.windowUpdate, 0, 2 * n + 1, u32(0)),
          ]).flat(),
        ]),
    ],
    ...(
      [
        ['PING', () => frame(types.ping, 0, 0, Buffer.alloc(8))],
        ['SETTINGS', () => frame(types.settings, 0, 0)],
        ['PRIORITY', () => frame(types.priority, 0, 1, Buffer.alloc(5))],
        ['unknown', () => frame(99, 0, 0)],
      ] as const
    ).map(([what, make]): [string, number, () => Buffer] => [
      `7.44 a flood of ${what} frames`,
      codes.calm,
      () => Buffer.concat([hello, ...Array.from({ length: 20_000 }, make)]),
    ]),
    [
      '7.44 a flood of empty DATA frames',
      codes.calm,
      () => Buffer.concat([hello, ask(1), ...Array.from({ length: 20_000 }, () => frame(types.data, 0, 1))]),
    ],
  ]

  for (const [what, code, bytes] of cases) {
    it(`ends the connection of one that sends: ${what}`, async () => {
      const other = await tunnel.pair()
      const ear = listen(other.far)
      socket.write(bytes())
      await until(() => isClosed)
      expect(goaway()).to.equal(code)
      other.near.writeText('unharmed')
      await until(() => ear.text === 'unharmed')
      await until(() => tunnel.server.openSessions === 1)
    })
  }

  it('resets a stream that exceeds its window, and only that', async () => {
    socket.write(Buffer.concat([hello, ask(1), ask(3)]))
    await until(() => tunnel.asks.length === 2)
    const ears = tunnel.asks.map(({ wire }) => listen(wire))
    tunnel.asks[0]!.wire.pause()
    for (let count = 0; count < 17; count++) socket.write(frame(types.data, 0, 1, Buffer.alloc(16_384)))
    await until(() => ears[0]!.closed instanceof Error)
    socket.write(frame(types.data, flags.endStream, 3, Buffer.from('fine')))
    await until(() => ears[1]!.isEnded)
    expect(ears[1]!.text).to.equal('fine')
  })

  it('takes frames a byte at a time, with padding, priority and trailers', async () => {
    const priority = Buffer.concat([Buffer.from([3]), Buffer.alloc(5), block, Buffer.alloc(3)])
    const bytes = Buffer.concat([
      hello,
      frame(types.headers, flags.endHeaders | flags.padded | flags.priority, 1, priority),
      frame(types.data, flags.padded, 1, Buffer.concat([Buffer.from([2]), Buffer.from('padded'), Buffer.alloc(2)])),
      frame(types.data, flags.padded, 1, Buffer.from([1, 0])),
      frame(types.data, 0, 1, Buffer.from(' bytes')),
      frame(types.headers, flags.endHeaders | flags.endStream, 1, encodeHeaders([['x-trailer', 'y']])),
    ])
    for (const byte of bytes) {
      socket.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until(() => tunnel.asks.length === 1)
    const ear = listen(tunnel.asks[0]!.wire)
    await until(() => ear.isEnded)
    expect(ear.text).to.equal('padded bytes')
  })

  it('refuses streams beyond the limit, which may be tried again', async () => {
    socket.write(Buffer.concat([hello, ...Array.from({ length: 1_001 }, (_, n) => ask(2 * n + 1))]))
    const refused = frame(types.reset, 0, 2_001, u32(codes.refused))
    await until(() => received.includes(refused))
    expect(tunnel.asks).to.have.length(1_000)
    expect(isClosed).to.equal(false)
  })
})
