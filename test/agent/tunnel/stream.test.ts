// Streams of the tunnel between our own two ends: bytes, ends, resets, stalls and drains as a wire promises them.

import { expect } from 'chai'
import { held } from '../../../agent/tunnel/channel.ts'
import { listen, open, type TestTunnel, testTunnel } from '../../support/tunnel.ts'
import { until } from '../../support/until.ts'

describe('tunnel: streams', () => {
  let tunnel: TestTunnel
  beforeEach(async () => {
    tunnel = await testTunnel()
  })
  afterEach(async () => {
    tunnel.close()
    await until(() => held.receivedBytes === 0 && held.queuedBytes === 0, 'that nothing is held')
  })

  it('carry bytes both ways, and know who asked', async () => {
    const { near, far } = await tunnel.pair()
    const nearEar = listen(near)
    const farEar = listen(far)
    near.writeText('GET / HTTP/1.1\r\n')
    near.writeCopy(Buffer.from('xxhost: a\r\n\r\nxx'), 2, 13)
    await until(() => farEar.text === 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    far.writeBytes(Buffer.from('HTTP/1.1 204 \xe9\r\n\r\n', 'latin1'))
    await until(() => nearEar.text === 'HTTP/1.1 204 \xe9\r\n\r\n')
    const [ask] = tunnel.asks
    expect(ask!.peer.account).to.equal('shop/client')
    expect(ask!.account).to.equal('shop/reviews')
    expect(ask!.authority).to.equal('10.0.0.1:1')
    expect(ask!.remoteAddress).to.equal('127.0.0.1')
    expect(near.remoteAddress).to.equal('127.0.0.1')
  })

  it('send no frames for nothing', async () => {
    const { near, far } = await tunnel.pair()
    const ear = listen(far)
    for (let count = 0; count < 20_000; count++) {
      near.writeText('')
      near.writeBytes(Buffer.alloc(0))
      near.writeCopy(Buffer.from('x'), 1, 1)
    }
    near.writeText('something')
    await until(() => ear.text === 'something')
  })

  it('carry a half-close each way', async () => {
    const { near, far } = await tunnel.pair()
    const nearEar = listen(near)
    const farEar = listen(far)
    near.writeText('question')
    near.end()
    await until(() => farEar.isEnded)
    expect(farEar.text).to.equal('question')
    expect(farEar.closed).to.equal(undefined)
    far.writeText('answer')
    far.end()
    await until(() => nearEar.closed !== undefined && farEar.closed !== undefined)
    expect(nearEar).to.include({ text: 'answer', isEnded: true, closed: null })
    expect(farEar.closed).to.equal(null)
    expect(near.isClosed && far.isClosed).to.equal(true)
  })

  for (const side of ['near', 'far'] as const) {
    it(`show a reset of the ${side} side as a reset, never as an end`, async () => {
      const both = await tunnel.pair()
      const here = both[side]
      const there = side === 'near' ? both.far : both.near
      const hereEar = listen(here)
      const thereEar = listen(there)
      here.writeText('part of a body')
      here.reset()
      await until(() => thereEar.closed !== undefined)
      expect(thereEar.closed).to.be.instanceOf(Error)
      expect(thereEar.isEnded).to.equal(false)
      await until(() => hereEar.closed === null)
    })

    it(`show the loss of the connection on the ${side} side as a reset of all streams`, async () => {
      const pairs = await Promise.all([tunnel.pair(), tunnel.pair(), tunnel.pair()])
      const ears = pairs.flatMap(({ near, far }) => [listen(near), listen(far)])
      if (side === 'near') tunnel.dialer.close()
      else tunnel.server.close()
      await until(() => ears.every((ear) => ear.closed !== undefined))
      for (const ear of ears) {
        expect(ear.closed).to.be.instanceOf(Error)
        expect(ear.isEnded).to.equal(false)
      }
    })

    it(`close in order from the ${side} side where both have said all`, async () => {
      const both = await tunnel.pair()
      const hereEar = listen(both[side])
      const thereEar = listen(side === 'near' ? both.far : both.near)
      both[side].writeText('all')
      both[side].destroy()
      await until(() => thereEar.closed !== undefined && hereEar.closed !== undefined)
      expect(thereEar).to.include({ text: 'all', isEnded: true, closed: null })
      expect(hereEar.closed).to.equal(null)
    })

    it(`show a close of the ${side} side amid its own bytes as a reset`, async () => {
      const both = await tunnel.pair()
      const there = side === 'near' ? both.far : both.near
      const thereEar = listen(there)
      there.pause()
      // More than any window: some of it is still here.
      both[side].writeBytes(Buffer.alloc(1 << 20))
      both[side].destroy()
      await until(() => thereEar.closed !== undefined)
      expect(thereEar.closed).to.be.instanceOf(Error)
      expect(thereEar.isEnded).to.equal(false)
    })
  }

  it('tell of the end only when all bytes before it were taken', async () => {
    const { near, far } = await tunnel.pair()
    listen(near)
    const ear = listen(far)
    far.pause()
    near.writeText('before')
    near.end()
    const other = await tunnel.pair()
    const otherEar = listen(other.far)
    other.near.writeText('later')
    await until(() => otherEar.text === 'later')
    expect(ear).to.include({ text: '', isEnded: false })
    far.resume()
    await until(() => ear.isEnded)
    expect(ear.text).to.equal('before')
    far.destroy()
    await until(() => ear.closed === null)
  })

  it('bring every byte of large messages, both ways at once, in order', async () => {
    const { near, far } = await tunnel.pair()
    const nearEar = listen(near)
    const farEar = listen(far)
    const big = Buffer.alloc(3 << 20)
    for (let at = 0; at < big.length; at += 4) big.writeUInt32BE(at, at)
    for (const wire of [near, far]) {
      const copy = Buffer.from(big)
      wire.writeBytes(copy.subarray(0, 1_000_001))
      wire.writeCopy(copy, 1_000_001, 2_000_000)
      wire.writeText(copy.toString('latin1', 2_000_000))
      wire.end()
    }
    await until(() => nearEar.closed === null && farEar.closed === null)
    expect(nearEar.bytes.equals(big)).to.equal(true)
    expect(farEar.bytes.equals(big)).to.equal(true)
  })

  it('tell a writer to wait for a slow reader, and when to go on', async () => {
    const { near, far } = await tunnel.pair()
    const nearEar = listen(near)
    const farEar = listen(far)
    farEar.keep = false
    far.pause()
    let refused = 0
    for (let count = 0; count < 40; count++) if (!near.writeBytes(Buffer.alloc(16_384))) refused++
    expect(refused).to.be.greaterThan(20)
    // The window of one stream, not a byte more.
    await until(() => held.receivedBytes === 256 << 10)
    expect(near.backlogBytes).to.equal(40 * 16_384 - (256 << 10))
    expect(nearEar.drains).to.equal(0)
    far.resume()
    await until(() => nearEar.drains === 1)
    expect(near.backlogBytes).to.equal(0)
    await until(() => farEar.received === 40 * 16_384)
  })

  it('are not delayed by 300 that are stalled, nor is their session ended', async () => {
    const stalled = await Promise.all(Array.from({ length: 300 }, () => tunnel.pair()))
    const uploads = stalled.map(({ near, far }) => {
      listen(near)
      const ear = listen(far)
      ear.keep = false
      far.pause()
      for (let count = 0; count < 20; count++) near.writeBytes(Buffer.alloc(16_384))
      return ear
    })
    const downloads = stalled.slice(0, 100).map(({ near, far }) => {
      const ear = listen(near)
      ear.keep = false
      near.pause()
      for (let count = 0; count < 20; count++) far.writeBytes(Buffer.alloc(16_384))
      return ear
    })
    // Bounded by the streams' windows, whatever is written.
    await until(() => held.receivedBytes === 400 * (256 << 10))
    const { near, far } = await tunnel.pair()
    const nearEar = listen(near)
    const farEar = listen(far)
    near.writeText('through')
    await until(() => farEar.text === 'through')
    far.writeText('and back')
    await until(() => nearEar.text === 'and back')
    const all = [...uploads, ...downloads]
    expect(all.every((ear) => ear.closed === undefined)).to.equal(true)
    for (const pair of stalled) {
      pair.near.resume()
      pair.far.resume()
    }
    await until(() => all.every((ear) => ear.received === 20 * 16_384))
    expect(held).to.deep.equal({ receivedBytes: 0, queuedBytes: 0 })
  })

  it('are refused with the status and reason of the other side', async () => {
    tunnel.close()
    tunnel = await testTunnel({ onAsk: (ask) => ask.refuse(403, 'denied') })
    for (let count = 0; count < 3; count++) {
      const { error } = await open(tunnel.dialer, tunnel.target())
      expect(error).to.include({ reason: 'denied', status: 403 })
    }
    expect(tunnel.dialer.sessions()).to.have.length(1)
    await until(() => tunnel.dialer.sessions()[0]!.streams === 0 && tunnel.server.sessions()[0]!.streams === 0)
  })

  it('are given up when the other side does not answer in time, and it hears of that', async () => {
    tunnel.close()
    const ears: ReturnType<typeof listen>[] = []
    tunnel = await testTunnel({ dial: { connectMs: 200 }, onAsk: (ask) => ears.push(listen(ask.wire)) })
    const { error } = await open(tunnel.dialer, tunnel.target())
    expect(error).to.include({ reason: 'connect_failed', retryable: true })
    await until(() => ears[0]?.closed instanceof Error)
  })

  it('can be given up before there is an answer', async () => {
    let isDone = false
    const cancel = tunnel.dialer.open(tunnel.target(), () => {
      isDone = true
    })
    cancel()
    await tunnel.pair()
    expect(isDone).to.equal(false)
    expect(tunnel.server.sessions()[0]!.streams).to.equal(1)
  })
})
