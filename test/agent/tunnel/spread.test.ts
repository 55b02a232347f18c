// Sessions over a peer's data threads: two servers on one port, as the threads of an agent are.

import { expect } from 'chai'
import { systemClock } from '../../../agent/clock.ts'
import type { Group, Live } from '../../../agent/tunnel/group.ts'
import { serveTunnel, type TunnelServer } from '../../../agent/tunnel/serve.ts'
import { meet, threadHeader, threadHeaders, wantsAnother } from '../../../agent/tunnel/spread.ts'
import { testRoot } from '../../support/certificates.ts'
import { Ear, open, type TestTunnel, testCredentials, testTunnel } from '../../support/tunnel.ts'
import { until } from '../../support/until.ts'

describe('tunnel: a peer with several data threads', () => {
  let tunnel: TestTunnel
  let threads: TunnelServer[]

  beforeEach(async () => {
    const root = testRoot()
    threads = [0, 1].map((thread) =>
      serveTunnel({
        credentials: testCredentials(root, 'shop/reviews'),
        clock: systemClock,
        onAsk(ask) {
          ask.wire.handler = new Ear()
          ask.accept()
        },
        onRefused: () => undefined,
        answerHeaders: threadHeaders(thread, 2),
      }),
    )
    tunnel = await testTunnel({ root })
    await threads[0]!.listen({ address: '127.0.0.1', port: 0, reusePort: true })
    const { port } = threads[0]!.server.address() as { port: number }
    await threads[1]!.listen({ address: '127.0.0.1', port, reusePort: true })
  })
  afterEach(() => {
    tunnel.close()
    for (const thread of threads) thread.close()
  })

  const port = () => (threads[0]!.server.address() as { port: number }).port
  const streams = () => threads.map((each) => each.sessions().reduce((sum, session) => sum + session.streams, 0))

  it('has streams on each of them, about as many, and one session to each in the end', async () => {
    for (let count = 0; count < 80; count++) {
      const { error } = await open(tunnel.dialer, tunnel.target({ port: port(), authority: `10.0.0.1:${count + 1}` }))
      expect(error).to.equal(null)
    }
    const [one, two] = streams()
    expect(one! + two!).to.equal(80)
    // Eight went to the first before the second was looked for, and some to sessions that led to the first again.
    expect(Math.abs(one! - two!)).to.be.at.most(16)
    const usable = tunnel.dialer.sessions().filter((session) => !session.isDraining)
    expect(usable).to.have.length(2)
  })

  it('has one session while few streams are open', async () => {
    for (let count = 0; count < 7; count++)
      await open(tunnel.dialer, tunnel.target({ port: port(), authority: `10.0.0.1:${count + 1}` }))
    expect(tunnel.dialer.sessions()).to.have.length(1)
    await until(() => streams().includes(7))
  })
})

describe('tunnel/spread', () => {
  const live = (streams: number, isDraining = false): Live => ({
    session: { openStreams: streams, isDraining } as Live['session'],
    expires: 0,
    idleSince: 0,
    thread: -1,
    threads: 1,
  })
  const group = (tries: number, ...all: Live[]): Group =>
    ({ live: new Set(all), dialing: 0, tries }) as unknown as Group

  it('looks for no other thread where the peer names none, or nonsense', () => {
    for (const text of ['', '1', '4/4', '1/1', '-1/2', '0/100', '0/65', 'a/b', '1/2, 1/2']) {
      const own = live(100)
      meet(own, [[threadHeader, text]])
      expect(wantsAnother(group(0, own)), text).to.equal(false)
    }
  })

  it('gives up after so many tries, and while a session is on its way or not heard of', () => {
    const own = live(100)
    meet(own, threadHeaders(0, 2))
    expect(wantsAnother(group(0, own))).to.equal(true)
    expect(wantsAnother(group(16, own))).to.equal(false)
    expect(wantsAnother({ ...group(0, own), dialing: 1 })).to.equal(false)
    expect(wantsAnother(group(0, own, live(0)))).to.equal(false)
    const other = live(0)
    meet(other, threadHeaders(1, 2))
    expect(wantsAnother(group(0, own, other))).to.equal(false)
    expect(wantsAnother(group(0, own, { ...other, session: { ...other.session, isDraining: true } }))).to.equal(true)
  })
})
