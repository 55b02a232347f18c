// Certificates and roots change while requests run between two agents: none may fail.

import { expect } from 'chai'
import { testLeaf, testRoot } from '../support/certificates.ts'
import { FakeClock } from '../support/clock.ts'
import { Ear, give, listen, open, type TestTunnel, testCredentials, testTunnel } from '../support/tunnel.ts'
import { until } from '../support/until.ts'

const clientId = 'spiffe://cluster.local/ns/shop/sa/client'
const reviewsId = 'spiffe://cluster.local/ns/shop/sa/reviews'

describe('mesh: renewal and rotation', () => {
  let tunnel: TestTunnel
  afterEach(() => tunnel.close())

  /** Asks and answers on ever new streams, several at a time, until told to end; gives the failures. */
  function load(): { end(): Promise<{ failures: string[]; done: number }>; done(): number } {
    let isEnding = false
    let done = 0
    const failures: string[] = []
    const run = async () => {
      while (!isEnding) {
        const { error, wire } = await open(tunnel.dialer, tunnel.target())
        if (wire === null) {
          failures.push(error!.message)
          continue
        }
        const ear = listen(wire)
        wire.writeText('question')
        await until(() => ear.text === 'question' || ear.closed !== undefined)
        if (ear.closed !== undefined) failures.push(String(ear.closed))
        wire.destroy()
        done++
      }
    }
    const runs = [run(), run(), run(), run()]
    return {
      done: () => done,
      async end() {
        isEnding = true
        await Promise.all(runs)
        return { failures, done }
      },
    }
  }

  const echo: NonNullable<Parameters<typeof testTunnel>[0]>['onAsk'] = (ask) => {
    const ear = new Ear()
    ear.onBytes = (chunk, start, end) => ask.wire.writeCopy(chunk, start, end)
    ear.onEnd = () => ask.wire.end()
    ask.wire.handler = ear
    ask.wire.resume()
    ask.accept()
  }

  it('renew certificates on both sides without a failed request, or a lost connection', async () => {
    const root = testRoot()
    const client = testCredentials(root, 'shop/client')
    const server = testCredentials(root, 'shop/reviews')
    tunnel = await testTunnel({ root, client, server, onAsk: echo })
    const { wire } = await open(tunnel.dialer, tunnel.target())
    const ear = listen(wire!)
    const running = load()
    for (let count = 0; count < 10; count++) {
      const before = running.done()
      await until(() => running.done() > before + 5)
      give(client, 'shop/client', testLeaf(root, clientId))
      give(server, 'shop/reviews', testLeaf(root, reviewsId))
    }
    const { failures, done } = await running.end()
    expect(failures).to.deep.equal([])
    expect(done).to.be.greaterThan(50)
    wire!.writeText('still there')
    await until(() => ear.text === 'still there')
  })

  it('follow a rotation of the root without a failed request', async () => {
    const old = testRoot()
    const next = testRoot()
    const client = testCredentials(old, 'shop/client')
    const server = testCredentials(old, 'shop/reviews')
    // Sessions end when they have no streams: each burst shakes hands anew.
    tunnel = await testTunnel({ root: old, client, server, onAsk: echo, dial: { streamLimit: 1 } })
    const running = load()
    const burst = async () => {
      const before = running.done()
      const sessions = Promise.all(
        Array.from({ length: 6 }, async () => {
          const { error, wire } = await open(tunnel.dialer, tunnel.target())
          expect(error).to.equal(null)
          wire!.reset()
        }),
      )
      await sessions
      await until(() => running.done() > before + 5)
    }
    const trust = (bundle: string) => {
      for (const side of [client, server]) side.accept({ type: 'trust', bundle, trustDomain: 'cluster.local' })
    }
    await burst()
    // Trusted by one before the other, then by both; then signing; then the old one goes.
    client.accept({ type: 'trust', bundle: old.pem + next.pem, trustDomain: 'cluster.local' })
    await burst()
    trust(old.pem + next.pem)
    await burst()
    give(client, 'shop/client', testLeaf(next, clientId))
    await burst()
    give(server, 'shop/reviews', testLeaf(next, reviewsId))
    await burst()
    trust(next.pem)
    await burst()
    const { failures } = await running.end()
    expect(failures).to.deep.equal([])
    // The old root is worth nothing any more.
    give(client, 'shop/client', testLeaf(old, clientId))
    tunnel.dialer.drain()
    const late = await testTunnel({ root: old, client: testCredentials(old, 'shop/client'), server })
    const { error } = await open(late.dialer, late.target())
    expect(error).to.include({ reason: 'tls_failed' })
    late.close()
  })

  it('drain a connection whose certificate has ended, on the side of the client', async () => {
    const root = testRoot()
    const clock = new FakeClock(1_000, Date.now())
    const client = testCredentials(root)
    give(client, 'shop/client', testLeaf(root, clientId), clock.wall() + 12_000)
    tunnel = await testTunnel({ root, client, dial: { clock } })
    const { near, far } = await tunnel.pair()
    listen(near)
    const ear = listen(far)
    let isTold = false
    near.onDraining = () => {
      isTold = true
    }
    clock.tick(10_000)
    expect(near.isDraining).to.equal(false)
    clock.tick(5_000)
    expect(near.isDraining && isTold).to.equal(true)
    near.writeText('goes on')
    await until(() => ear.text === 'goes on')
    // The next one shakes hands with the renewed certificate.
    give(client, 'shop/client', testLeaf(root, clientId), clock.wall() + 3_600_000)
    const { near: newer } = await tunnel.pair()
    expect(newer.isDraining).to.equal(false)
    expect(tunnel.dialer.sessions().map(({ isDraining }) => isDraining)).to.deep.equal([true, false])
    near.destroy()
    far.destroy()
    await until(() => tunnel.server.openSessions === 1)
  })

  it('drain a connection whose certificate has ended, on the side of the server', async () => {
    const root = testRoot()
    const clock = new FakeClock(1_000, Date.now())
    const server = testCredentials(root)
    give(server, 'shop/reviews', testLeaf(root, reviewsId), Date.now() + 12_000)
    tunnel = await testTunnel({ root, server, serve: { clock } })
    const { near, far } = await tunnel.pair()
    listen(far)
    clock.tick(10_000)
    expect(near.isDraining).to.equal(false)
    clock.tick(5_000)
    await until(() => near.isDraining)
    near.destroy()
    await until(() => tunnel.server.openSessions === 0 && tunnel.dialer.sessions().length === 0)
  })

  it("end live connections of an account that has left, on either side, and no other's", async () => {
    const root = testRoot()
    const client = testCredentials(root, 'shop/client', 'shop/other')
    const server = testCredentials(root, 'shop/reviews', 'shop/ratings')
    tunnel = await testTunnel({ root, client, server })
    const ears = new Map<string, Ear>()
    for (const [source, destination] of [
      ['shop/client', 'shop/reviews'],
      ['shop/other', 'shop/reviews'],
      ['shop/other', 'shop/ratings'],
    ] as const) {
      const { wire } = await open(tunnel.dialer, tunnel.target({ source, destination }))
      ears.set(`${source} ${destination}`, listen(wire!))
    }
    client.accept({ type: 'forget', account: 'shop/client' })
    await until(() => ears.get('shop/client shop/reviews')!.closed instanceof Error)
    expect(tunnel.dialer.sessions()).to.have.length(2)
    server.accept({ type: 'forget', account: 'shop/ratings' })
    await until(() => ears.get('shop/other shop/ratings')!.closed instanceof Error)
    expect(ears.get('shop/other shop/reviews')!.closed).to.equal(undefined)
    const { error } = await open(tunnel.dialer, tunnel.target({ source: 'shop/other', destination: 'shop/ratings' }))
    expect(error).to.include({ reason: 'tls_failed' })
  })
})
