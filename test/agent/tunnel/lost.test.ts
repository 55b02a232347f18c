// Peers that don't answer: who counts as lost, who is looked for, and when sessions end.

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect } from 'chai'
import { LostPeers, type PeerPlace } from '../../../agent/tunnel/lost.ts'
import { Pulse } from '../../../agent/tunnel/pulse.ts'
import { FakeClock } from '../../support/clock.ts'
import { until } from '../../support/until.ts'

describe('tunnel: lost peers', () => {
  let clock: FakeClock
  let ended: PeerPlace[]
  let found: PeerPlace[]
  let isPeer: boolean
  let lost: LostPeers

  beforeEach(() => {
    clock = new FakeClock()
    ended = []
    found = []
    isPeer = true
    lost = make()
  })
  afterEach(() => lost.close())

  const make = (localAddress?: string) =>
    new LostPeers({
      clock,
      localAddress,
      isPeer: () => isPeer,
      onLost: (place) => ended.push(place),
      onFound: (place) => found.push(place),
    })

  async function freePlace(): Promise<PeerPlace> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    return { address: '127.0.0.1', port }
  }

  /** Turns the hands until something is so. */
  const turning = (condition: () => boolean) =>
    until(() => {
      clock.tick(50)
      return condition()
    })

  it('are looked for until they take connections again', async () => {
    const place = await freePlace()
    lost.lose(place)
    expect([lost.has(place.address), lost.size, lost.version]).to.deep.equal([true, 1, 1])
    for (let count = 0; count < 20; count++) {
      clock.tick(250)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    expect(lost.has(place.address)).to.equal(true)
    const server = createServer((socket) => socket.on('error', () => {})).listen(place.port, place.address)
    await once(server, 'listening')
    await turning(() => !lost.has(place.address))
    server.close()
    expect([found.length, lost.version]).to.deep.equal([1, 2])
    expect(ended, 'sessions that were ended').to.deep.equal([])
  })

  it('are forgotten where there should be no agent any more', async () => {
    lost.lose(await freePlace())
    isPeer = false
    clock.tick(250)
    expect(lost.size).to.equal(0)
  })

  it('that are silent, and whose kernel answers, are not lost', async () => {
    const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const accepted = once(server, 'connection')
    lost.suspect({ address: '127.0.0.1', port: (server.address() as AddressInfo).port })
    await accepted
    server.close()
    expect([lost.size, ended.length]).to.deep.equal([0, 0])
  })

  it('that take no connections while they end keep their sessions', async () => {
    const place = await freePlace()
    lost.suspect(place)
    await turning(() => lost.has(place.address))
    expect(ended).to.deep.equal([])
  })

  it('that are silent, and whose kernel does not answer, lose their sessions', async () => {
    // No connection can be made from an address that is not ours.
    lost = make('203.0.113.1')
    const place = await freePlace()
    lost.suspect(place)
    await turning(() => lost.has(place.address))
    expect(ended).to.deep.equal([place])
  })
})

describe('tunnel: the pulse of a session', () => {
  const feel = (pulse: Pulse, times: number[], isBusy: boolean) => times.map((now) => pulse.check(now, isBusy))

  it('is asked for after half a second where there are streams, and suspicious after a second', () => {
    const pulse = new Pulse()
    expect(feel(pulse, [0, 250, 500, 750, 1000, 1250], true)).to.deep.equal([
      ...['alive', 'alive', 'ask', 'alive', 'suspicious', 'suspicious'],
    ])
    pulse.heard()
    expect(pulse.check(1500, true)).to.equal('alive')
  })

  it('is asked for after 15 s where there are none, and over after 30 s', () => {
    const pulse = new Pulse()
    expect(feel(pulse, [0, 14_000, 15_000, 29_000, 30_001], false)).to.deep.equal([
      ...['alive', 'alive', 'ask', 'alive', 'dead'],
    ])
  })
})
