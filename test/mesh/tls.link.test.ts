// Agent and controller over real TLS: the first certificate by token, the next over mutual TLS, and who is turned away.

import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:tls'
import { expect } from 'chai'
import { request } from 'undici'
import { systemClock } from '../../agent/clock.ts'
import { authoritySign, type ControllerAccess, openController } from '../../agent/identity/controller.ts'
import { identityContext, makeKey } from '../../agent/identity/key.ts'
import type { IdentityMessage } from '../../agent/identity/messages.ts'
import { startKeeper } from '../../agent/identity/renew.ts'
import { makeRequest } from '../../agent/identity/request.ts'
import { makeTrust } from '../../agent/identity/trust.ts'
import { linkTls } from '../../controller/authority/link.ts'
import { type Root, readRoot } from '../../controller/authority/root.ts'
import { signHandler } from '../../controller/authority/sign.ts'
import { agentPod, testAuthority, testLog, testPod, testPods } from '../support/authority.ts'
import { testLeaf, testRoot } from '../support/certificates.ts'
import { FakeClock } from '../support/clock.ts'

const controllerId = 'spiffe://cluster.local/ns/weft-system/sa/weft-controller'
const agentId = 'spiffe://cluster.local/ns/weft-system/sa/weft-agent'
const reviewsId = 'spiffe://cluster.local/ns/shop/sa/reviews'

describe('mesh: TLS between agent and controller', () => {
  let server: Server
  let url: string
  let opened: Awaited<ReturnType<typeof testAuthority>>
  let log: ReturnType<typeof testLog>
  let access: ControllerAccess
  const paths: { path: string; isMutual: boolean }[] = []
  const trust = () => makeTrust(opened.authority.trust(), controllerId, opened.authority.signer())
  const ask = (identity = reviewsId, token = 'agent.n1') =>
    authoritySign(access, url, () => `${token}\n`)(identity, makeRequest(makeKey()))
  const rootOf = (): Root => {
    const { data } = opened.store.objects.get('secrets/weft-root')!
    return readRoot({ 'tls.crt': data['tls.crt']!, 'tls.key': data['tls.key']! })
  }

  beforeEach(async () => {
    opened = await testAuthority({
      // Behind the real time, by which OpenSSL judges, so that it can be turned.
      clock: new FakeClock(0, Date.now() - 600_000),
      pods: testPods(
        agentPod('n1'),
        testPod('shop/reviews-1', 'n1', 'reviews'),
        testPod('shop/ratings-1', 'n2', 'ratings'),
      ),
    })
    log = testLog()
    paths.length = 0
    const tls = linkTls(opened.authority, {
      namespace: 'weft-system',
      trustDomain: 'cluster.local',
      clock: opened.clock,
      log,
    })
    const handle = signHandler(opened.authority, log)
    server = createServer(tls.options(), (incoming, response) => {
      paths.push({ path: incoming.url!, isMutual: (incoming.socket as import('node:tls').TLSSocket).authorized })
      if (incoming.url === '/v1/sign') void handle(incoming, response)
      else response.end('hello')
    })
    tls.attach(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    access = openController()
    access.use(trust(), null)
  })

  afterEach(async () => {
    await access.close()
    server.closeAllConnections()
    server.close()
  })

  it('gives the first certificate by token, and takes the next request over mutual TLS', async () => {
    const published: IdentityMessage[] = []
    const keeper = startKeeper({
      trust: trust(),
      own: 'weft-system/weft-agent',
      sign: authoritySign(access, url, () => 'agent.n1'),
      clock: systemClock,
      random: () => 0.5,
      publish: (message) => published.push(message),
      changed: () => {},
      log: () => {},
    })
    await keeper.whenReady('weft-system/weft-agent')
    const own = published.find((message) => message.type === 'certificate')!
    access.use(keeper.trust(), identityContext(own.key, own.chain, keeper.trust().bundle))
    await keeper.whenReady('shop/reviews')
    keeper.stop()
    expect(paths).to.deep.equal([
      { path: '/v1/sign', isMutual: false },
      { path: '/v1/sign', isMutual: true },
    ])
    expect(keeper.signers()).to.deep.equal([opened.authority.signer()])
    expect(keeper.list().map(({ account }) => account)).to.deep.equal(['weft-system/weft-agent', 'shop/reviews'])
  })

  it('says `refused` and no more, and logs the reason', async () => {
    const cases = [
      ['spiffe://cluster.local/ns/shop/sa/ratings', 'agent.n1', 'not_on_node'],
      [reviewsId, 'nonsense', 'token_invalid'],
    ] as const
    for (const [identity, token, reason] of cases) {
      const response = await request(`${url}/v1/sign`, {
        method: 'POST',
        dispatcher: access.dispatcher(),
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify({ identity, csr: makeRequest(makeKey()).toString('base64') }),
      })
      expect(response.statusCode).to.equal(403)
      expect(await response.body.text()).to.equal('{"error":"refused"}')
      expect(log.lines.at(-1)?.fields['reason']).to.equal(reason)
    }
    const huge = await request(`${url}/v1/sign`, {
      method: 'POST',
      dispatcher: access.dispatcher(),
      body: 'x'.repeat(100_000),
    })
    expect(huge.statusCode).to.equal(403)
    expect(log.lines.at(-1)?.fields['reason']).to.equal('invalid_request')
  })

  it('never listens to a controller that can not prove itself', async () => {
    const fail = async (message: RegExp) => {
      const thrown = await ask().then(
        () => null,
        (error) => error,
      )
      expect(thrown, 'it was listened to').to.be.instanceOf(Error)
      expect(`${thrown.message} ${thrown.cause?.message ?? ''}`).to.match(message)
      expect(paths).to.have.length(0)
    }
    const serve = (pair: ReturnType<typeof testLeaf>) => {
      server.setSecureContext({ key: pair.keyPem, cert: pair.pem, minVersion: 'TLSv1.3' })
      return access.use(trust(), null)
    }
    serve(testLeaf(rootOf(), reviewsId))
    await fail(/certificate is of spiffe:.*reviews/)
    serve(testLeaf(rootOf(), controllerId.replace('cluster.local', 'evil.example')))
    await fail(/trust domain is evil.example/)
    serve(testLeaf(testRoot(), controllerId))
    await fail(/self.signed|unable to (verify|get)/i)
    serve(testLeaf(rootOf(), controllerId, Date.now() - 7_200_000, 3_600_000))
    await fail(/expired/)
  })

  it("turns away a certificate that is not an agent's", async () => {
    const use = (pair: ReturnType<typeof testLeaf>) =>
      access.use(trust(), identityContext(pair.key, pair.pem, opened.authority.trust()))
    const refused = async (message: RegExp) => {
      await ask().then(
        () => expect.fail('it was answered'),
        () => {},
      )
      expect(log.lines.at(-1)?.message).to.equal("not an agent's certificate")
      expect(String(log.lines.at(-1)?.fields['error'])).to.match(message)
      expect(paths).to.have.length(0)
    }
    use(testLeaf(rootOf(), reviewsId))
    await refused(/it is of shop\/reviews/)
    use(testLeaf(testRoot(), agentId))
    await refused(/chain is not trusted/)
    use(testLeaf(rootOf(), agentId, Date.now() - 7_200_000, 3_600_000))
    await refused(/CERT_HAS_EXPIRED/)
    use(testLeaf(rootOf(), agentId))
    expect((await ask()).chain).to.have.length(1)
  })

  it('speaks TLS 1.3 alone', async () => {
    const socket = connect({
      host: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
      maxVersion: 'TLSv1.2',
      rejectUnauthorized: false,
    })
    const [error] = await once(socket, 'error')
    expect(error.code).to.match(/PROTOCOL_VERSION/)
  })

  it('shows a new certificate when the root has rotated, while the server runs', async () => {
    const before = opened.authority.signer()
    await ask()
    await opened.authority.rotate()
    await opened.authority.tick()
    const report = {
      node: 'n1',
      pod: 'weft-agent-n1',
      version: '1',
      error: null,
      trust: trust().hash,
      signers: [before],
    }
    opened.authority.acknowledge(report)
    opened.clock.tick(61_000)
    await opened.authority.tick()
    expect(opened.authority.signer()).to.not.equal(before)
    // Whoever trusts the new root alone sees a certificate that it signed.
    opened.authority.acknowledge({ ...report, signers: [opened.authority.signer()] })
    opened.clock.tick(61_000)
    await opened.authority.tick()
    expect(opened.authority.status().phase).to.equal('steady')
    access.use(trust(), null)
    expect((await ask()).signer).to.equal(opened.authority.signer())
  })
})
