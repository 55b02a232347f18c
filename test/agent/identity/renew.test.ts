// The keeper of certificates under a clock that the test turns: when it asks, what it keeps, whom it forgets.

import { expect } from 'chai'
import type { Sign } from '../../../agent/identity/controller.ts'
import type { IdentityMessage } from '../../../agent/identity/messages.ts'
import { type Keeper, startKeeper } from '../../../agent/identity/renew.ts'
import { makeTrust } from '../../../agent/identity/trust.ts'
import { readRequest } from '../../../controller/authority/csr.ts'
import { issueCertificate } from '../../../controller/authority/issue.ts'
import { testRoot } from '../../support/certificates.ts'
import { FakeClock } from '../../support/clock.ts'

const hourMs = 3_600_000
const controllerId = 'spiffe://cluster.local/ns/weft-system/sa/weft-controller'
const own = 'weft-system/weft-agent'

/** Lets everything run that is ready to. */
const settle = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

describe('identity: keeper', () => {
  let clock: FakeClock
  let keeper: Keeper
  let published: IdentityMessage[]
  let asked: string[]
  let changes: number
  let root: ReturnType<typeof testRoot>
  let sign: Sign
  let inFlight: number
  let mostInFlight: number
  const trust = () => makeTrust(root.pem, controllerId, root.id)
  const account = (identity: string) => identity.replace('spiffe://cluster.local/ns/', '').replace('/sa/', '/')
  const certificates = () => published.filter((message) => message.type === 'certificate')

  const good: Sign = async (identity, csr) => {
    const { pem, expires } = issueCertificate(root, {
      identity,
      publicKey: readRequest(csr),
      now: clock.wall(),
      lifetimeMs: 24 * hourMs,
    })
    return { chain: [pem], bundle: root.pem, signer: root.id, expires }
  }

  function start(): void {
    keeper = startKeeper({
      trust: trust(),
      own,
      async sign(identity, csr) {
        asked.push(account(identity))
        inFlight++
        mostInFlight = Math.max(mostInFlight, inFlight)
        try {
          return await sign(identity, csr)
        } finally {
          inFlight--
        }
      },
      clock,
      random: () => 0.5,
      publish: (message) => published.push(message),
      changed: () => changes++,
      log: () => {},
    })
  }

  beforeEach(() => {
    clock = new FakeClock()
    root = testRoot(clock.wall(), 3650 * 24 * hourMs)
    published = []
    asked = []
    changes = 0
    inFlight = 0
    mostInFlight = 0
    sign = good
  })
  afterEach(() => keeper.stop())

  it("asks for the agent's own certificate first, and for each account once", async () => {
    start()
    await settle()
    keeper.want('shop/reviews', 'soon')
    keeper.want('shop/reviews', 'now')
    await settle()
    keeper.want('shop/reviews', 'now')
    await settle()
    expect(asked).to.deep.equal([own, 'shop/reviews'])
    expect(published.map(({ type }) => type)).to.deep.equal(['trust', 'certificate', 'certificate'])
    expect(changes).to.equal(2)
  })

  it('has a key of its own for each account and each renewal', async () => {
    start()
    keeper.want('shop/reviews', 'soon')
    await settle()
    clock.tick(13 * hourMs)
    await settle()
    const keys = certificates().map(({ key }) => key.export({ type: 'pkcs8', format: 'pem' }))
    expect(keys).to.have.length(4)
    expect(new Set(keys).size).to.equal(4)
  })

  it('renews at half of the lifetime', async () => {
    start()
    await settle()
    clock.tick(11.9 * hourMs)
    await settle()
    expect(asked).to.deep.equal([own])
    clock.tick(0.2 * hourMs)
    await settle()
    expect(asked).to.deep.equal([own, own])
    clock.tick(12.1 * hourMs)
    await settle()
    expect(asked).to.have.length(3)
  })

  it('keeps the old certificate while the authority is away for an hour around the renewal, and renews when it is back', async () => {
    start()
    await settle()
    sign = () => Promise.reject(new Error('connect ECONNREFUSED'))
    for (let minute = 0; minute < 13 * 60; minute++) {
      clock.tick(60_000)
      await settle()
    }
    expect(asked.length).to.be.greaterThan(20)
    expect(certificates()).to.have.length(1)
    expect(keeper.list()[0]!.expires).to.be.greaterThan(clock.wall())
    expect(keeper.list()[0]!.problem).to.include('ECONNREFUSED')
    sign = good
    clock.tick(150_000 * 1.2)
    await settle()
    expect(certificates()).to.have.length(2)
    expect(keeper.list()[0]).to.include({ failures: 0, problem: '' })
  })

  it('lets a certificate go when it has expired, and gets one again later', async () => {
    start()
    await settle()
    sign = () => Promise.reject(new Error('away'))
    for (let hour = 0; hour < 25; hour++) {
      clock.tick(hourMs)
      await settle()
    }
    expect(keeper.list()[0]!.expires).to.equal(0)
    expect(keeper.signers()).to.deep.equal([])
    sign = good
    clock.tick(150_000 * 1.2)
    await settle()
    expect(keeper.signers()).to.deep.equal([root.id])
  })

  it('backs off from half a second, doubling to 150 s, for each account by itself', async () => {
    sign = () => Promise.reject(new Error('away'))
    start()
    await settle()
    const waits: number[] = []
    for (let count = 0; count < 12; count++) {
      const { renewAt } = keeper.list()[0]!
      waits.push(renewAt - clock.wall())
      clock.tick(renewAt - clock.wall())
      await settle()
    }
    expect(waits).to.deep.equal([
      500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000, 150_000,
    ])
    sign = good
    keeper.want('shop/reviews', 'now')
    await settle()
    expect(keeper.list().find((each) => each.account === 'shop/reviews')!.expires).to.be.greaterThan(0)
  })

  it('asks at once for what failed when the authority can be reached again, and begins to back off anew', async () => {
    start()
    await settle()
    sign = () => Promise.reject(new Error('away'))
    keeper.want('shop/reviews', 'now')
    await settle()
    const entry = () => keeper.list().find((each) => each.account === 'shop/reviews')!
    while (entry().failures < 10) {
      clock.tick(entry().renewAt - clock.wall())
      await settle()
    }
    keeper.retry()
    await settle()
    expect(entry().renewAt - clock.wall()).to.equal(500)
    sign = good
    asked = []
    keeper.retry()
    await settle()
    expect(entry().expires).to.be.greaterThan(0)
    keeper.retry()
    await settle()
    expect(asked, 'nothing that did not fail').to.deep.equal(['shop/reviews'])
  })

  it('asks for eight at once, those that callers wait for first', async () => {
    const open: (() => void)[] = []
    sign = async (identity, csr) => {
      await new Promise<void>((resolve) => open.push(resolve))
      return good(identity, csr)
    }
    start()
    for (let number = 0; number < 20; number++) keeper.want(`shop/soon-${number}`, 'soon')
    keeper.want('shop/now', 'now')
    await settle()
    expect(asked).to.have.length(8)
    while (open.length > 0) {
      open.shift()!()
      await settle()
    }
    expect(asked).to.have.length(22)
    expect(mostInFlight).to.equal(8)
    expect(asked[8]).to.equal('shop/now')
  })

  it("forgets an account when its last pod has left the node, never the agent's own", async () => {
    start()
    keeper.want('shop/reviews', 'soon')
    keeper.want('shop/ratings', 'soon')
    await settle()
    keeper.retain(new Set(['shop/ratings']))
    expect(published.filter(({ type }) => type === 'forget')).to.deep.equal([
      { type: 'forget', account: 'shop/reviews' },
    ])
    expect(keeper.list().map((each) => each.account)).to.deep.equal([own, 'shop/ratings'])
    const replayed: IdentityMessage[] = []
    keeper.replay((message) => replayed.push(message))
    expect(replayed.map((message) => (message.type === 'certificate' ? message.account : message.type))).to.deep.equal([
      'trust',
      own,
      'shop/ratings',
    ])
    clock.tick(13 * hourMs)
    await settle()
    expect(asked.filter((each) => each === 'shop/reviews')).to.have.length(1)
  })

  it('throws away a certificate that comes for an account that is forgotten meanwhile', async () => {
    let open = () => {}
    sign = async (identity, csr) => {
      if (account(identity) === 'shop/reviews') await new Promise<void>((resolve) => (open = resolve))
      return good(identity, csr)
    }
    start()
    keeper.want('shop/reviews', 'now')
    await settle()
    keeper.retain(new Set())
    open()
    await settle()
    expect(certificates().map((each) => each.account)).to.deep.equal([own])
  })

  it('refuses an answer for another identity, another key, another trust domain, or out of date', async () => {
    const other = testRoot(clock.wall())
    const answers: Sign[] = [
      (_identity, csr) => good('spiffe://cluster.local/ns/shop/sa/admin', csr),
      (_identity, csr) => good('spiffe://evil.example/ns/weft-system/sa/weft-agent', csr),
      async (identity, csr) => ({ ...(await good(identity, csr)), expires: clock.wall() - 1 }),
      async (identity, csr) => ({ ...(await good(identity, csr)), bundle: '' }),
      async (identity, csr) => ({ ...(await good(identity, csr)), chain: [other.pem] }),
      async (identity, csr) => ({ ...(await good(identity, csr)), chain: [] }),
    ]
    sign = (identity, csr) => answers.shift()!(identity, csr)
    start()
    await settle()
    while (answers.length > 0) {
      expect(keeper.list()[0]!.expires).to.equal(0)
      clock.tick(150_000)
      await settle()
    }
    expect(certificates()).to.have.length(0)
  })

  it('follows a root that begins to sign, within a minute', async () => {
    start()
    keeper.want('shop/reviews', 'soon')
    await settle()
    const old = root
    root = testRoot(clock.wall(), 3650 * 24 * hourMs)
    keeper.setTrust(makeTrust(old.pem + root.pem, controllerId, old.id))
    expect(keeper.trust().hash).to.not.equal(makeTrust(old.pem, controllerId, '').hash)
    await settle()
    expect(asked).to.have.length(2)
    keeper.setTrust(makeTrust(old.pem + root.pem, controllerId, root.id))
    clock.tick(60_000)
    await settle()
    expect(keeper.signers()).to.deep.equal([root.id])
  })
})
