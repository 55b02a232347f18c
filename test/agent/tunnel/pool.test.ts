// Sessions of the tunnel: when one is shared and when another is opened, back-off, drain, and peers that fall silent.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect } from 'chai'
import { FakeClock } from '../../support/clock.ts'
import { listen, open, type TestTunnel, testTunnel } from '../../support/tunnel.ts'
import { until } from '../../support/until.ts'

describe('tunnel: sessions', () => {
  let tunnel: TestTunnel
  afterEach(() => tunnel.close())

  it('are shared by the streams of two accounts and a peer', async () => {
    tunnel = await testTunnel()
    await Promise.all(Array.from({ length: 50 }, () => tunnel.pair()))
    await open(tunnel.dialer, tunnel.target({ destination: 'shop/ratings' }))
    expect(tunnel.dialer.sessions().map(({ destination, streams }) => [destination, streams])).to.deep.equal([
      ['shop/reviews', 50],
      ['shop/ratings', 1],
    ])
  })

  it('are as many as the streams need', async () => {
    tunnel = await testTunnel({ dial: { streamLimit: 10 } })
    await Promise.all(Array.from({ length: 35 }, () => tunnel.pair()))
    const streams = tunnel.dialer.sessions().map((each) => each.streams)
    expect(streams.reduce((sum, each) => sum + each, 0)).to.equal(35)
    expect(Math.max(...streams)).to.equal(10)
    expect(streams.length).to.be.within(4, 5)
  })

  it('take new streams where others have ended', async () => {
    tunnel = await testTunnel({ dial: { streamLimit: 2 } })
    for (let count = 0; count < 20; count++) {
      const { near, far } = await tunnel.pair()
      const ear = listen(far)
      near.destroy()
      await until(() => ear.closed === null)
    }
    expect(tunnel.dialer.sessions()).to.have.length(1)
  })

  it('are closed when nobody has used them for long', async () => {
    const clock = new FakeClock()
    tunnel = await testTunnel({ dial: { clock, idleMs: 60_000 } })
    const { near, far } = await tunnel.pair()
    const ear = listen(far)
    // Over two minutes in small steps: the peer answers in between.
    for (let count = 0; count < 30; count++) {
      clock.tick(5_000)
      await new Promise((resolve) => setImmediate(resolve))
      near.writeText('.')
      await until(() => ear.received === count + 1)
    }
    expect(tunnel.dialer.sessions()).to.have.length(1)
    near.destroy()
    far.destroy()
    await until(() => tunnel.dialer.sessions()[0]?.streams === 0)
    clock.tick(5_000)
    expect(tunnel.dialer.sessions()[0]?.isDraining).to.equal(false)
    clock.tick(60_000)
    await until(() => tunnel.dialer.sessions().length === 0 && tunnel.server.openSessions === 0)
  })

  it('are not opened again at once where opening failed, and then less and less often', async () => {
    const clock = new FakeClock()
    let connects = 0
    const nobody = createServer((socket) => {
      connects++
      socket.on('error', () => {}).once('data', () => socket.resetAndDestroy())
    }).listen(0, '127.0.0.1')
    await once(nobody, 'listening')
    tunnel = await testTunnel({ dial: { clock } })
    const { port } = nobody.address() as AddressInfo
    const attempt = async () => (await open(tunnel.dialer, tunnel.target({ port }))).error?.reason
    const waits: number[] = []
    for (let round = 0; round < 4; round++) {
      expect(await attempt()).to.be.equal('tls_failed')
      const before = connects
      let waited = 0
      while (connects === before) {
        expect(await attempt()).to.be.equal('tls_failed')
        if (connects > before) break
        clock.tick(25)
        waited += 25
      }
      waits.push(waited)
      clock.tick(0)
    }
    expect(waits[0]).to.equal(75)
    expect(waits[1]).to.be.greaterThan(waits[0]!)
    expect(waits[3]).to.be.greaterThan(waits[2]!)
    nobody.close()
  })

  it('end in order when the server drains: streams go on, no new ones, then the connection closes', async () => {
    tunnel = await testTunnel()
    const { near, far } = await tunnel.pair()
    const nearEar = listen(near)
    const farEar = listen(far)
    let told = 0
    near.onDraining = () => told++
    tunnel.server.drain()
    await until(() => near.isDraining)
    expect(told).to.equal(1)
    near.writeText('late question')
    await until(() => farEar.text === 'late question')
    far.writeText('late answer')
    await until(() => nearEar.text === 'late answer')
    const { error } = await open(tunnel.dialer, tunnel.target())
    expect(error).to.include({ reason: 'no_peer', retryable: true })
    near.end()
    far.end()
    await until(() => nearEar.closed === null && farEar.closed === null)
    await until(() => tunnel.server.openSessions === 0 && tunnel.dialer.sessions().length === 0)
  })

  it('end in order when the client drains', async () => {
    tunnel = await testTunnel()
    const { near, far } = await tunnel.pair()
    const nearEar = listen(near)
    listen(far)
    tunnel.dialer.drain()
    expect((await open(tunnel.dialer, tunnel.target())).error).to.include({ reason: 'draining' })
    await until(() => far.isDraining)
    far.writeText('still')
    await until(() => nearEar.text === 'still')
    near.destroy()
    await until(() => tunnel.server.openSessions === 0)
  })

  describe('to a peer that falls silent', () => {
    let sockets: Socket[]
    let isSilent: boolean

    /** A relay that can stop to carry anything without closing. */
    async function relay(): Promise<number> {
      sockets = []
      isSilent = false
      const server = createServer((near) => {
        const far = connect(tunnel.port, '127.0.0.1')
        sockets.push(near, far)
        near.on('data', (chunk) => isSilent || far.write(chunk))
        far.on('data', (chunk) => isSilent || near.write(chunk))
        for (const socket of [near, far]) socket.on('error', () => {})
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      server.unref()
      return (server.address() as AddressInfo).port
    }

    afterEach(() => {
      for (const socket of sockets) socket.destroy()
    })

    it('are given up on both sides, their streams reset', async () => {
      const clock = new FakeClock()
      tunnel = await testTunnel({ dial: { clock }, serve: { clock } })
      const port = await relay()
      const { wire } = await open(tunnel.dialer, tunnel.target({ port }))
      const near = listen(wire!)
      const far = listen(tunnel.asks[0]!.wire)
      // A living peer answers pings for as long as nothing else is said.
      for (let count = 0; count < 20; count++) {
        clock.tick(5_000)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      expect(near.closed).to.equal(undefined)
      isSilent = true
      for (let count = 0; count < 8; count++) {
        clock.tick(5_000)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      await until(() => near.closed !== undefined && far.closed !== undefined)
      expect(String(near.closed)).to.include('silent')
      expect(far.closed).to.be.instanceOf(Error)
    })
  })
})
